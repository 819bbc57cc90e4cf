import stat
from pathlib import Path

import pytest

from polymode.errors import ConfigError, DataNotFoundError, WriteError
from polymode.web.keys import KEYS_VARIABLE, SHARE, Caller, Keys, check_binding, hash_of, is_local, new_key, read_keys

# printf %s secret | sha256sum
SECRET = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"


def test_only_hashes_are_kept_and_the_right_key_is_known() -> None:
    assert hash_of("secret") == SECRET
    anna, ben = Caller("anna"), Caller("ben")
    keys = Keys({SECRET: anna, hash_of("other"): ben})
    assert [keys.owner(key) for key in ("secret", "other", "Secret", "")] == [anna, ben, None, None]
    assert keys.owner("\udcff") is None  # what a header may hold
    assert "secret" not in str(vars(keys))
    assert keys and not Keys()


def name_of(keys: Keys, key: str) -> str | None:
    owner = keys.owner(key)
    return None if owner is None else owner.name


@pytest.mark.parametrize(
    ("words", "scopes", "share"),
    [
        ("", {"ask"}, SHARE),
        ("ask", {"ask"}, SHARE),
        ("review operate", {"review", "operate"}, SHARE),
        ("operate ask share=0.25", {"ask", "operate"}, 0.25),
        ("share=1", {"ask"}, 1.0),
    ],
)
def test_a_line_says_what_its_key_allows(tmp_path: Path, words: str, scopes: set[str], share: float) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(f"anna {SECRET} {words}\n")
    keys = read_keys(path)
    assert keys.owner("secret") == Caller("anna", frozenset(scopes), share)
    assert keys.without_scopes() == (("anna",) if scopes == {"ask"} else ())


def test_a_made_key_has_its_scopes(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    owner = read_keys_of(path, new_key(path, "anna", ["review", "ask", "review"]))
    assert owner == Caller("anna", frozenset({"ask", "review"}))
    with pytest.raises(ConfigError, match="scope = 'all' is not allowed: use ask, review, operate"):
        new_key(path, "ben", ["all"])


def read_keys_of(path: Path, key: str) -> Caller | None:
    return read_keys(path).owner(key)


def test_the_file_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys.txt"
    first = new_key(path, "anna")
    keys = read_keys(path)
    second = new_key(path, "ben", ["review"])
    assert keys.owner(second) == Caller("ben", frozenset({"review"}))
    path.write_text(path.read_text().replace("anna", "anna oops"))  # half edited: those of before remain
    assert (name_of(keys, first), name_of(keys, second)) == ("anna", "ben")
    path.unlink()
    assert name_of(keys, first) == "anna"
    assert [record.levelname for record in caplog.records if "remain in use" in record.message] == ["ERROR"] * 2
    path.write_text("# nobody\n")  # every key was taken away: nobody is let in, rather than everybody
    assert keys.owner(first) is None and keys.are_required
    new_key(path, "anna")
    assert keys.owner(first) is None and len(keys) == 1


def test_a_made_key_is_known_and_its_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    first, second = new_key(path, "anna"), new_key(path, "ben")
    assert first != second and len(first) > 40
    keys = read_keys(path)
    assert (name_of(keys, first), name_of(keys, second), len(keys)) == ("anna", "ben", 2)
    assert first not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_without_a_last_line_end_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(f"# ours\n\nanna {SECRET}")
    key = new_key(path, "ben")
    assert name_of(read_keys(path), key) == "ben"


def test_the_environment_holds_keys_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, f"env {SECRET}, two {hash_of('2')}")
    assert name_of(read_keys(None), "2") == "two"
    path = tmp_path / "keys.txt"
    key = new_key(path, "file")
    both = read_keys(path)
    assert (name_of(both, key), name_of(both, "secret")) == ("file", "env")
    monkeypatch.setenv(KEYS_VARIABLE, "")
    assert not read_keys(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("secret\n", r"line 1: NAME SHA256 is needed"),
        (
            f"# x\nanna {SECRET} x\n",
            r"line 2: what follows the hash of 'anna' is not allowed: use ask, review, operate",
        ),
        (f"anna {SECRET} ask share=0\n", r"what follows the hash of 'anna' is not allowed: .* above 0, up to 1"),
        (f"anna {SECRET} share=1.5\n", r"what follows the hash of 'anna' is not allowed"),
        (f"anna {SECRET} ask=secret\n", r"what follows the hash of 'anna' is not allowed"),
        (f"anna {SECRET} Review\n", r"what follows the hash of 'anna' is not allowed"),
        (f"anna {SECRET}\nben {SECRET}\n", r"line 2: 'ben' has the key of 'anna': make a key for each"),
        (f"anna {SECRET.upper()}\n", r"line 1: NAME SHA256 is needed"),
        (f"anna {SECRET}\nanna {SECRET}\n", r"line 2: the name 'anna' stands there already"),
        ("# nothing\n", r"holds no key: make one with polymode serve --new-key NAME"),
    ],
)
def test_a_file_that_is_none_is_refused_without_repeating_it(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        read_keys(path)
    assert "secret" not in str(caught.value) and SECRET not in str(caught.value)


def test_a_missing_file_and_a_bad_name_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="cannot be read"):
        read_keys(tmp_path / "none")
    with pytest.raises(ConfigError, match="new_key = 'a b' is not allowed"):
        new_key(tmp_path / "keys", "a b")
    key_file = tmp_path / "keys"
    new_key(key_file, "anna")
    with pytest.raises(ConfigError, match="new_key = 'anna' is taken"):
        new_key(key_file, "anna")
    with pytest.raises(WriteError, match="cannot write"):
        new_key(tmp_path / "no folder" / "keys", "anna")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_other_machines_are_let_in_only_with_keys(host: str, local: bool) -> None:
    assert is_local(host) == local
    check_binding(host, Keys({SECRET: Caller("anna")}), allow_without_keys=False)
    check_binding(host, Keys(), allow_without_keys=True)
    if local:
        check_binding(host, Keys(), allow_without_keys=False)
    else:
        with pytest.raises(ConfigError, match="lets other machines ask, and there are no API keys"):
            check_binding(host, Keys(), allow_without_keys=False)
