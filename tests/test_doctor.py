import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from polymode import doctor
from polymode.doctor import Finding, Part, diagnose, render
from polymode.sandbox import reason_unavailable

GIB = 2**30


def put_command(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``name`` a command that runs ``script``, before all others."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def pretend_torch(version: str | None, cuda: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: version)
    monkeypatch.setattr(doctor, "_torch_cuda", lambda: cuda)


def test_this_machine_can_be_diagnosed_and_described() -> None:
    diagnosis = diagnose()
    core = next(part for part in diagnosis.parts if part.name == "core")
    assert core.missing == ()
    assert re.match(r"[1-9]\d*; numeric libraries use [1-9]\d* threads", diagnosis.machine["cores"])
    assert re.search(r"\d+\.\d GiB free in /", diagnosis.machine["disk"])
    text = render(diagnosis)
    for word in (
        "Machine",
        "python",
        "cores",
        "memory",
        "gpu",
        "sandbox",
        "Installed",
        "train",
        "vllm",
        "data",
        "cache",
    ):
        assert word in text
    assert f"numpy {core.versions['numpy']}" in text


def test_the_extras_are_those_of_the_project_file(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> tuple[str, ...]:
        return tuple(re.split(r"\[|>=", line)[0] for line in requirements)

    extras = {name: names(lines) for name, lines in project["optional-dependencies"].items() if name != "dev"}
    packages = {name: tuple(packages.split()) for name, (packages, _) in doctor.PARTS.items()}
    assert packages == {"core": names(project["dependencies"]), **extras}


def test_a_missing_package_is_named_with_what_it_gives_and_the_command() -> None:
    part = Part("train", {"torch": "2.13.0", "trl": None, "peft": None}, "training")
    assert part.missing == ("trl", "peft")
    assert part.command == "pip install 'polymode[train]'"


def test_one_tracker_is_enough() -> None:
    assert Part("track", {"trackio": None, "tensorboard": "2.21", "wandb": None}, "curves").missing == ()
    assert Part("track", {"trackio": None, "wandb": None}, "curves").missing == ("trackio", "wandb")


def test_nothing_installed_is_described_without_importing_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    text = render(diagnose())
    assert "lacks numpy, scipy, rapidfuzz, tqdm, pyyaml, cyclopts, pydantic" in text
    assert (
        "lacks matplotlib, jinja2; would give figures and the page report.html: pip install 'polymode[report]'" in text
    )


def test_it_runs_in_an_interpreter_that_cannot_import_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from polymode.doctor import *; print(render(diagnose()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("Machine\n")


# --- GPU -------------------------------------------------------------------------------------------------------------


def test_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._gpu() == Finding(False, "no NVIDIA GPU found; the lab needs none, an 8B model does")


def test_a_driver_that_does_not_answer_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_command(tmp_path / "bin", "nvidia-smi", "echo 'Failed to initialize NVML' >&2; exit 9", monkeypatch)
    assert not doctor._gpu().is_usable


@pytest.mark.parametrize(
    ("version", "cuda", "is_usable", "detail"),
    [
        ("2.13.0", "12.8", True, "torch is built for CUDA 12.8"),
        ("2.13.0+cpu", None, False, "torch 2.13.0+cpu is a CPU-only build, install a CUDA build"),
        (None, None, False, "torch is not installed"),
    ],
)
def test_a_gpu_is_usable_with_a_cuda_build_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, cuda: str | None, is_usable: bool, detail: str
) -> None:
    put_command(tmp_path / "bin", "nvidia-smi", "echo 'NVIDIA H200, 143771 MiB, 143000 MiB'", monkeypatch)
    pretend_torch(version, cuda, monkeypatch)
    found = doctor._gpu()
    assert found == Finding(is_usable, f"NVIDIA H200, 143771 MiB, 143000 MiB (total, free); {detail}")


@pytest.mark.parametrize(
    ("line", "cuda"), [("cuda: Optional[str] = '12.8'", "12.8"), ("cuda: Optional[str] = None", None)]
)
def test_the_build_of_torch_is_read_from_its_version_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, cuda: str | None
) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('torch was imported')")
    (package / "version.py").write_text(f"__version__ = '2.13.0'\n{line}\nhip: Optional[str] = None\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from polymode import doctor; print(doctor._torch_cuda())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == str(cuda)


# --- sandbox ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox exists on Linux only")
class TestSandbox:
    def test_without_bubblewrap_the_command_that_installs_it_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        found = doctor._sandbox()
        assert not found.is_usable
        assert "bubblewrap is not installed: sudo apt install bubblewrap" in found.detail

    def test_without_namespaces_bubblewraps_own_reason_is_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_command(
            tmp_path / "bin", "bwrap", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1", monkeypatch
        )
        found = doctor._sandbox()
        assert not found.is_usable
        assert found.detail.endswith("may not make namespaces here (bwrap: No permissions to create new namespace)")

    def test_what_is_said_is_what_the_sandbox_itself_finds(self) -> None:
        found = doctor._sandbox()
        assert found.is_usable == (reason_unavailable() is None)
        if found.is_usable:
            assert found == Finding(True, "judging programs by running them: a first program ran in the sandbox")


def test_a_command_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_command(tmp_path / "bin", "hangs", "exec sleep 30", monkeypatch)
    assert doctor._probe(["hangs"], seconds=0.2) == (-1, "no reply within 0.2 s")


def test_a_command_that_is_not_there_gives_the_reason() -> None:
    assert doctor._probe(["polymode-no-such-command"]) == (-1, "No such file or directory")


# --- memory, data, cache ---------------------------------------------------------------------------------------------


def test_memory_is_the_smaller_of_the_machines_and_the_containers(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    # 16 GiB and 8 GiB in kB: 16 * 2^20, 8 * 2^20
    meminfo.write_text("MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:    8388608 kB\n")
    assert doctor._memory(meminfo, tmp_path) == (16 * GIB, 8 * GIB)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert doctor._memory(meminfo, tmp_path) == (16 * GIB, 8 * GIB)
    (tmp_path / "memory.max").write_text(f"{4 * GIB}\n")
    assert doctor._memory(meminfo, tmp_path) == (4 * GIB, 3 * GIB)


def test_memory_is_unknown_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert doctor._memory(tmp_path / "none", tmp_path) == (None, None)
    assert doctor._size(None) == "unknown"
    assert doctor._size(3 * GIB // 2) == "1.5 GiB"


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("", None), ("0", None), ("many", None)])
def test_threads_are_those_asked_for_or_one_a_core(
    monkeypatch: pytest.MonkeyPatch, value: str, threads: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    cores = doctor._machine()["cores"]
    assert cores.endswith(f"; numeric libraries use {threads or cores.partition(';')[0]} threads")


def test_data_sets_that_are_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYMODE_DATA", str(tmp_path))
    assert not diagnose().data.is_usable
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "ddxplus").mkdir()
    (tmp_path / "ddxplus" / "release_evidences.json").write_text("{}")
    assert diagnose().data == Finding(True, f"{tmp_path}: ddxplus")  # an empty folder holds no data


def test_data_that_is_not_there_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYMODE_DATA", str(tmp_path / "gone"))
    assert diagnose().data == Finding(False, f"POLYMODE_DATA={str(tmp_path / 'gone')!r} is not a folder")
    monkeypatch.delenv("POLYMODE_DATA")
    assert diagnose().data.detail.startswith("POLYMODE_DATA is not set; it names the folder")


def test_the_cache_tells_its_folder_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYMODE_CACHE", str(tmp_path / "cache"))
    assert doctor._cache().detail == f"{tmp_path / 'cache'}: empty; warm-started lab models go here"
    (tmp_path / "cache" / "warm-start").mkdir(parents=True)
    (tmp_path / "cache" / "warm-start" / "model").write_bytes(bytes(3 * 2**20))
    assert doctor._cache().detail == f"{tmp_path / 'cache'}: 3 MiB; safe to delete"
