"""Names of runs: those that are there, and all that lead elsewhere."""

import os
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polymode import runs
from polymode.errors import DataNotFoundError
from polymode.web.browsing.run_folders import RunFolders, is_name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of runs, beside it one that is none of its business, and links of all kinds."""
    root, outside = tmp_path / "shown", tmp_path / "secret"
    for folder in (root / "arm" / "seed-0" / "set", root / "other", outside, root / "arm" / "model", root / ".hidden"):
        folder.mkdir(parents=True)
        (folder / runs.METRICS).write_text("{}")
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "other")
    (root / "loop").symlink_to(root / "loop")
    (root / "gone").symlink_to(root / "nowhere")
    (root / "half").mkdir()
    (root / "half" / runs.METRICS).symlink_to(outside / runs.METRICS)
    return root


def test_runs_are_listed_by_their_path(root: Path) -> None:
    assert list(RunFolders(root).names()) == ["arm/seed-0/set", "half", "other"]
    assert list(RunFolders(root).names("arm")) == ["arm/seed-0/set"]
    assert RunFolders(root).title == "shown"


def test_a_run_alone_goes_by_its_name(root: Path) -> None:
    folders = RunFolders(root / "other")
    assert list(folders.names()) == ["other"]
    assert folders.file("other", runs.METRICS) == root / "other" / runs.METRICS
    with pytest.raises(DataNotFoundError):
        folders.folder("arm")
    with pytest.raises(DataNotFoundError):
        folders.folder("")


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="check --runs"):
        RunFolders(tmp_path / "none")


@pytest.mark.parametrize(
    "name",
    [
        "..", "../secret", "arm/../../secret", "arm/..", "./other", "/etc", "//etc", "arm//seed-0", "other/", "out",
        "loop", "gone", "missing", "other\0", "arm\\..\\..\\secret", "\\\\server\\share", "C:\\", "other\n", ".hidden",
        "arm/seed-0/set/metrics.json", "x" * 5000, "a/" * 400 + "a", "\ud800", "~", "~root", "%2e%2e", "..;/secret",
        "othe\u200br", "\u202eother", "file:///etc/passwd", "proc/self/cwd",
    ],
)  # fmt: skip
def test_what_is_not_below_is_not_there(root: Path, name: str) -> None:
    with pytest.raises(DataNotFoundError, match="no such run"):
        RunFolders(root).folder(name)
    assert not RunFolders(root).has(name, runs.METRICS)


def test_links_that_stay_inside_are_followed(root: Path) -> None:
    assert RunFolders(root).folder("in") == root / "other"


def test_a_file_that_is_a_link_out_is_not_there(root: Path) -> None:
    assert RunFolders(root).file("half", runs.METRICS) is None


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "arm", "seed-0", "set", "out", "in", "loop", "secret", "~", "%2e%2e", "..%2f"])
        | st.text(max_size=4),
        max_size=7,
    ),
    between=st.sampled_from(["/", "\\", "//", "%2f", "%5c", "/./"]),
    times=st.integers(0, 2),
)
def test_no_name_leads_out(root: Path, parts: list[str], between: str, times: int) -> None:
    name = between.join(parts)
    for _ in range(times):
        name = unquote(name)
    try:
        found = RunFolders(root).folder(name)
    except DataNotFoundError:
        return
    assert found.is_relative_to(root.resolve()) and found.is_dir()
    assert os.path.realpath(found) == str(found)


@settings(max_examples=200)
@given(name=st.text(max_size=30))
def test_names_have_no_special_parts(name: str) -> None:
    if is_name(name):
        assert not set(name.split("/")) & {"", ".", ".."} and "\\" not in name and "\0" not in name
