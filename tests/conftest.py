"""What all tests share: a quiet, offline, two-core environment and the place of the real data sets."""

import os

# Set before any test module imports a numeric library. Workers of pytest-xdist share the cores, so one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.pop("POLYMODE_UNSAFE_LOCAL", None)  # hostile programs are among the tests

from contextlib import suppress
from pathlib import Path

import pytest

with suppress(ImportError):  # the environments of scripts/test-integrations do without
    from hypothesis import settings

    settings.register_profile("polymode", deadline=None)  # how long an example takes says how busy the machine is
    settings.load_profile("polymode")

ROOT = Path(__file__).resolve().parent.parent


def _shared_data() -> Path | None:
    named = os.environ.get("POLYMODE_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


if (_found := _shared_data()) is not None:
    os.environ["POLYMODE_DATA"] = str(_found)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with one folder per real data set; the test skips, saying so, where there is none."""
    folder = _shared_data()
    if folder is None:
        pytest.skip("no real data: set POLYMODE_DATA to the folder that holds ddxplus/ and other data sets")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder of inputs that once went wrong, beside the data sets; the test skips, saying so, where there is none."""
    data = _shared_data()
    folder = None if data is None else data.parent / "cases"
    if folder is None or not folder.is_dir():
        pytest.skip("no cases: they lie in the folder cases/ beside the real data sets")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu``, with the reason, where torch finds no CUDA GPU."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA GPU here"))
