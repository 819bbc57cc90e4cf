import gzip
import json
import zipfile
from pathlib import Path

import pytest

from polymode.errors import DataNotFoundError, RecordError
from polymode.tasks.data_files import data_folder, find_file, missing_folder, need_file, open_text, read_json_file


def write_as(path: Path, text: str, member: str = "inside") -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


def test_a_named_folder_comes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all" / "ddxplus").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("POLYMODE_DATA", str(tmp_path / "all"))
    assert data_folder("ddxplus", tmp_path / "mine") == tmp_path / "mine"
    assert data_folder("ddxplus") == tmp_path / "all" / "ddxplus"
    assert data_folder("hotpotqa") is None
    monkeypatch.delenv("POLYMODE_DATA")
    assert data_folder("ddxplus") is None


def test_a_named_folder_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"nowhere.*does not exist"):
        data_folder("ddxplus", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataNotFoundError, match="is a file, not a folder"):
        data_folder("ddxplus", str(tmp_path / "file"))


def test_the_missing_folder_error_names_files_and_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    message = str(missing_folder("ddxplus", ("a.json", "b.csv")))
    assert "a.json, b.csv" in message and "--data DIR" in message and "POLYMODE_DATA is not set" in message
    monkeypatch.setenv("POLYMODE_DATA", "/some/where")
    assert "'/some/where' holds no folder 'ddxplus'" in str(missing_folder("ddxplus", ("a.json",)))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zip"])
def test_text_reads_the_same_plain_and_compressed(tmp_path: Path, suffix: str) -> None:
    write_as(tmp_path / f"names.csv{suffix}", "é\r\nb\n")
    path = need_file(tmp_path, ("official", "names.csv"))
    with open_text(path) as handle:
        assert handle.read() == "é\r\nb\n"  # line ends kept for the csv module


def test_the_first_name_wins_and_a_missing_file_lists_all(tmp_path: Path) -> None:
    write_as(tmp_path / "second.zip", "2")
    assert find_file(tmp_path, ("first", "second")) == tmp_path / "second.zip"
    write_as(tmp_path / "first", "1")
    assert find_file(tmp_path, ("first", "second")) == tmp_path / "first"
    assert find_file(tmp_path, ("third",)) is None
    with pytest.raises(DataNotFoundError, match=r"holds none of third, fourth \(each also as \.gz or \.zip\)"):
        need_file(tmp_path, ("third", "fourth"))


def test_broken_files_say_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"x" * 10_000)[:40])
    (tmp_path / "not.gz").write_bytes(b"plain")
    (tmp_path / "not.zip").write_bytes(b"plain")
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    for name in ("cut.gz", "not.gz", "not.zip"):
        with pytest.raises(RecordError, match=rf"{name}: broken archive"), open_text(tmp_path / name) as handle:
            handle.read()
    with pytest.raises(RecordError, match="not UTF-8 text"), open_text(tmp_path / "latin.txt") as handle:
        handle.read()
    with pytest.raises(DataNotFoundError, match="does not exist"), open_text(tmp_path / "none.txt") as handle:
        handle.read()
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("b", "2")
    with pytest.raises(RecordError, match="one file is expected inside, found a, b"), open_text(tmp_path / "two.zip"):
        pass


def test_json_files(tmp_path: Path) -> None:
    assert read_json_file(write_as(tmp_path / "ok.json.gz", json.dumps({"a": 1}))) == {"a": 1}
    with pytest.raises(RecordError, match=r"bad\.json, line 2: not valid JSON"):
        read_json_file(write_as(tmp_path / "bad.json", '{"a": 1,\n!'))


def test_what_macos_and_windows_add_to_an_archive_is_no_member(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/", "")
        archive.writestr("data/q.jsonl", "inside")
        for name in ("__MACOSX/data/._q.jsonl", "__MACOSX/._data", "data/._q.jsonl", "data/.DS_Store", "Thumbs.db"):
            archive.writestr(name, b"\x00\x05\x16\x07")
    with open_text(path) as handle:
        assert handle.read() == "inside"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data/other.jsonl", "")
    with pytest.raises(RecordError, match=r"found data/q\.jsonl, data/other\.jsonl;"), open_text(path):
        pass
