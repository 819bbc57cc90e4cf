"""One table for each kind: built-in names, entry points, module:Name, and every mistake in one line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from polymode.errors import ConfigError, MissingExtraError
from polymode.plugins import Entry, Registry, importable

SOURCE = """
from polymode.errors import MissingExtraError

class Bell:
    volume = 3
    def __init__(self, pitch, *, size=1): self.pitch, self.size = pitch, size
    def ring(self, times): return f"{self.pitch}x{times}"
class Any(Bell):
    def __init__(self, **options): self.options = options
class Silent:
    volume = 0
class Weightless:
    def ring(self, times): return ""
class Cracked(Bell):
    def __init__(self): raise OSError("cracked\\nin two")
class Priced(Bell):
    def __init__(self): raise MissingExtraError("bronze", "metal", "ringing")
class Outer:
    class Inner(Bell): pass
def make(pitch): return Bell(pitch)
number = 7
"""


class Rings(Protocol):
    volume: int

    def ring(self, times: int) -> str:
        """Once for each time."""
        ...


@pytest.fixture
def bells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Rings]:
    (tmp_path / "bells.py").write_text(SOURCE)
    (tmp_path / "broken_bells.py").write_text("raise ValueError('no metal')")
    (tmp_path / "leaving_bells.py").write_text("import sys\nsys.exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("bells", "broken_bells", "leaving_bells"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return Registry("bell", {"small": Entry("bells:Bell", "a small bell", {"size": 0})}, Rings)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a package with entry points of the group polymode.bells on the path."""

    def written(package: str, **points: str) -> None:
        folder = tmp_path / "site" / f"{package}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {address}" for name, address in points.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[polymode.bells]", *lines]))
        monkeypatch.syspath_prepend(str(folder.parent))

    return written


def test_a_name_opens_with_its_own_options_and_those_given(bells: Registry[Rings]) -> None:
    made = bells.open("small", pitch="c")
    assert (made.ring(2), vars(made)) == ("cx2", {"pitch": "c", "size": 0})
    assert vars(bells.open("small", pitch="c", size=5))["size"] == 5


def test_an_address_opens_also_inside_a_class_and_with_any_option(bells: Registry[Rings]) -> None:
    assert bells.open("bells:Outer.Inner", pitch="d").ring(1) == "dx1"
    assert vars(bells.open("bells:Any", colour="red"))["options"] == {"colour": "red"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("large", {}, "bell = 'large' is not known: use one of small, or module:Name"),
        ("bells:", {}, "bell = 'bells:' is not known"),
        ("bells:Bell:x", {}, "bell = 'bells:Bell:x' is not known"),
        (7, {}, "bell = 7 is not known"),
        (
            "no_bells:Bell",
            {},
            "bell 'no_bells:Bell' cannot be imported (ModuleNotFoundError: No module named 'no_bells')",
        ),
        ("broken_bells:Bell", {}, "bell 'broken_bells:Bell' cannot be imported (ValueError: no metal): install"),
        ("leaving_bells:Bell", {}, "bell 'leaving_bells:Bell' cannot be imported (SystemExit: 3)"),
        ("bells:Gong", {}, "bell 'bells:Gong' does not exist: module 'bells' has no 'Gong'; correct the name"),
        ("bells:Silent", {}, "bell 'bells:Silent' has no method ring(times): add what"),
        ("bells:Weightless", {}, "bell 'bells:Weightless' has no attribute volume: add what"),
        ("bells:number", {}, "bell 'bells:number' is not a class: name one"),
        ("bells:make", {"pitch": "c"}, "bell 'bells:make' is not a class: name one"),
        ("bells:Bell", {}, "bell 'bells:Bell': pitch must be given as bell options"),
        ("bells:Bell", {"pitch": "c", "tone": 1}, "bell 'bells:Bell': unknown option 'tone'; known: pitch, size"),
        ("bells:Cracked", {"size": 1}, "bell 'bells:Cracked': unknown option 'size'; it has none"),
        ("bells:Cracked", {}, "bell 'bells:Cracked' cannot be made (OSError: cracked in two): correct its options or"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(bells: Registry[Rings], name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bells.open(name, **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_error_of_ours_passes_as_it_is(bells: Registry[Rings]) -> None:
    with pytest.raises(MissingExtraError, match="bronze"):
        bells.open("bells:Priced")


def test_an_installed_package_adds_names(bells: Registry[Rings], install: Callable[..., None]) -> None:
    install("ringers", great="bells:Bell", made="bells:make")
    assert list(bells) == ["small", "great", "made"]
    assert bells.open("great", pitch="e").ring(3) == "ex3"
    assert bells.open("made", pitch="f").ring(1) == "fx1"  # what is installed may be a function
    assert bells.summaries() == {
        "small": "a small bell",
        "great": "bells:Bell (ringers)",
        "made": "bells:make (ringers)",
    }
    assert "great" in bells and "bells:Bell" in bells and "other" not in bells


def test_an_installed_package_cannot_change_what_a_built_in_name_means(
    bells: Registry[Rings], install: Callable[..., None]
) -> None:
    install("impostors", small="bells:Any")
    assert vars(bells.open("small", pitch="c")) == {"pitch": "c", "size": 0}
    assert bells.summaries() == {
        "small": "a small bell",
        "small of bells:Any (impostors)": "hidden by the built-in 'small'; use bells:Any",
    }


def test_a_name_of_two_packages_is_refused(bells: Registry[Rings], install: Callable[..., None]) -> None:
    install("ringers", great="bells:Bell")
    install("others", great="bells:Any")
    with pytest.raises(ConfigError, match="bell 'great' is ambiguous: give bells:Any or bells:Bell instead"):
        bells.open("great")
    assert bells.summaries()["great"] == "bells:Any (others) and bells:Bell (ringers): ambiguous"


def test_functions_are_used_as_they_are(bells: Registry[Rings]) -> None:
    functions: Registry[Callable[..., Rings]] = Registry("bell_maker", {})
    assert functions.load("bells:make")("g").ring(1) == "gx1"
    with pytest.raises(ConfigError, match="bell maker 'bells:number' is not a function: name one"):
        functions.load("bells:number")


def test_the_name_of_a_class(bells: Registry[Rings]) -> None:
    plain = Registry("bell", {"small": Entry("bells:Bell", "")}, Rings)
    assert (plain.name_of(bells.load("small")), plain.name_of(bells.load("bells:Outer.Inner"))) == (
        "small",
        "bells:Outer.Inner",
    )


def test_a_folder_is_importable_for_a_while_and_hides_nothing(tmp_path: Path) -> None:
    with importable(tmp_path):
        assert sys.path[-1] == str(tmp_path)
    assert str(tmp_path) not in sys.path
    before = list(sys.path)
    with importable(Path(before[0])):  # one that is there already stays where it was
        assert sys.path == [*before, before[0]]
    assert sys.path == before
