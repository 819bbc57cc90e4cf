"""The set-up step, the two commands and the project files. Nothing is installed: pip is a stand-in that keeps notes."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

CONSTRAINTS = ("constraints.txt", "constraints-vllm.txt", "constraints-oldest.txt")
SCRIPTS = ("scripts/setup", "scripts/demo", "scripts/test", "scripts/test-versions", ".ci/run")
REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?(?P<versions>.*)$")

PYTHON = """#!/bin/sh
# Stands in for .venv/bin/python: notes what pip and the tools are asked for, runs everything else.
case "$*" in
  "-m pip --version") exit 0 ;;
  "-m "*) echo "$@" >>"$NOTES"
          for bad in $BROKEN; do case " $* " in *" $bad "*) exit 3 ;; esac; done
          exit 0 ;;
esac
exec {python} "$@"
"""


class Checkout:
    """A copy of the scripts with a pretended .venv."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        self.notes = folder.parent / "notes"
        self.env = {**os.environ, "NOTES": str(self.notes), "BROKEN": ""}
        self.env.pop("PYTHON", None)
        folder.mkdir()
        shutil.copytree(root / "scripts", folder / "scripts")
        for name in ("pyproject.toml", *CONSTRAINTS):
            shutil.copy(root / name, folder)

    def make_venv(self) -> None:
        python = self.folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON.format(python=sys.executable))
        python.chmod(0o755)

    def run(self, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "scripts" / script), *arguments],
            cwd="/",
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def asked(self) -> list[str]:
        """What the stand-in was asked for since the last call."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Checkout:
    return Checkout(root, tmp_path / "a checkout")


# --- scripts/setup ---------------------------------------------------------------------------------------------------


def test_setup_installs_torch_first_and_then_nothing_until_something_changes(checkout: Checkout) -> None:
    checkout.make_venv()
    assert checkout.run("setup").returncode == 0
    first, second = checkout.asked()
    assert first.endswith("-c constraints.txt torch")
    assert second.endswith("-c constraints.txt -e .[train,report,math,http,docs,dev]")

    again = checkout.run("setup")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert checkout.asked() == []

    (checkout.folder / "constraints.txt").write_text("numpy==2.4.6\n")
    assert checkout.run("setup").returncode == 0
    assert len(checkout.asked()) == 2


def test_setup_that_failed_is_done_again(checkout: Checkout) -> None:
    checkout.make_venv()
    assert checkout.run("setup", BROKEN="-e").returncode == 3
    assert len(checkout.asked()) == 2
    assert checkout.run("setup").returncode == 0
    assert len(checkout.asked()) == 2


def test_a_moved_checkout_is_set_up_again(checkout: Checkout) -> None:
    checkout.make_venv()
    checkout.run("setup")
    checkout.asked()
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved"))
    checkout.run("setup")
    assert len(checkout.asked()) == 2


def test_a_python_that_does_not_exist_is_named(checkout: Checkout) -> None:
    done = checkout.run("setup", PYTHON="/no/such/python")
    assert done.returncode == 1
    assert done.stderr == (
        "setup: PYTHON=/no/such/python is not a working Python 3.11 or later; name another, or unset it\n"
    )
    assert not (checkout.folder / ".venv").exists()


def test_a_python_without_venv_says_which_package_is_missing(checkout: Checkout) -> None:
    # As on a fresh Debian: `ensurepip` is not there.
    python = checkout.folder / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = checkout.run("setup", PYTHON=str(python))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert done.stderr == (
        f"setup: Python {version} cannot make virtual environments; "
        f"on Debian or Ubuntu: sudo apt install python{version}-venv\n"
    )


def test_no_python_at_all_says_how_to_get_one(checkout: Checkout, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "dirname", "cat"):
        (tools / name).symlink_to(shutil.which(name) or name)
    done = checkout.run("setup", PATH=str(tools))
    assert done.returncode == 1
    assert "no Python 3.11 or later found; on Debian or Ubuntu: sudo apt install python3 python3-venv" in done.stderr


# --- scripts/test, scripts/demo --------------------------------------------------------------------------------------


def test_the_test_script_runs_lint_format_types_and_tests(checkout: Checkout) -> None:
    checkout.make_venv()
    checkout.run("setup")
    checkout.asked()
    assert checkout.run("test").returncode == 0
    steps = [line.split() for line in checkout.asked()]
    assert [step[1] for step in steps] == ["ruff", "ruff", "pyright", "pytest"]
    assert checkout.run("test", "tests/test_runs.py", "-k", "a b").returncode == 0
    assert checkout.asked()[-1] == "-m pytest tests/test_runs.py -k a b"


@pytest.mark.parametrize(("broken", "n_steps"), [("check", 1), ("--check", 2), ("pyright", 3), ("pytest", 4)])
def test_the_test_script_stops_at_the_first_failing_step(checkout: Checkout, broken: str, n_steps: int) -> None:
    checkout.make_venv()
    checkout.run("setup")
    checkout.asked()
    assert checkout.run("test", BROKEN=broken).returncode == 3
    assert len(checkout.asked()) == n_steps


def test_the_demo_resumes_in_the_checkout_and_passes_options_on(checkout: Checkout) -> None:
    checkout.make_venv()
    command = checkout.folder / ".venv" / "bin" / "polymode"
    command.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    command.chmod(0o755)
    checkout.run("setup")
    done = checkout.run("demo", "--workers", "1")
    assert done.stdout == f"reproduce|quick|--out|{checkout.folder}/runs/quick|--resume|--workers|1|"


# --- scripts/test-versions -------------------------------------------------------------------------------------------

PIP_SAYS = {
    "reached": "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)",
    "conflict": "ERROR: Cannot install trl and numpy because these package versions have conflicting dependencies.",
}


def versions(
    checkout: Checkout, *arguments: str, pip: str = "", pytest_rc: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the script with a Python whose environments are stand-ins; pip fails and says ``pip``, or does nothing."""
    python = checkout.folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    script = f"""#!/bin/sh
echo "$@" >>"$NOTES"
case "$*" in
  "-m venv --clear "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  "-m pip "*) [ -z "$PIP" ] || {{ echo "$PIP"; exit 1; }} ;;
  "-m pytest "*) exit {pytest_rc} ;;
  *"import hashlib"*|*"sys.exit(sys.version_info"*) exec {sys.executable} "$@" ;;
  *) echo "$5: versions" ;;
esac
"""
    python.write_text(script)
    python.chmod(0o755)
    return checkout.run("test-versions", *arguments, PIP=pip)


def test_each_set_is_installed_once_with_its_constraints_and_tested(checkout: Checkout) -> None:
    done = versions(checkout, "--quick")
    assert (done.returncode, done.stdout.splitlines()[-2:]) == (
        0,
        ["versions: oldest: passed", "versions: vllm: passed"],
    )
    asked = checkout.asked()
    for name in ("oldest", "vllm"):
        assert any(f"-c constraints-{name}.txt -e .[train,gguf,http,serve]" in line for line in asked)
    assert sum("-m pytest" in line and "not slow" in line for line in asked) == 2

    assert versions(checkout, "vllm").returncode == 0
    assert not any("-m pip" in line for line in checkout.asked())
    (checkout.folder / "constraints-vllm.txt").write_text("numpy==2.4.6\n")
    assert versions(checkout).returncode == 0
    assert sum("-m pip" in line for line in checkout.asked()) == 1


def test_packages_out_of_reach_are_skipped_with_the_reason_and_conflicts_are_failures(checkout: Checkout) -> None:
    done = versions(checkout, "vllm", pip=PIP_SAYS["reached"])
    assert done.returncode == 0
    assert f"vllm: SKIPPED, its packages cannot be installed here: {PIP_SAYS['reached']}" in done.stdout
    assert done.stdout.endswith("versions: vllm: skipped\n")
    done = versions(checkout, "vllm", pip=PIP_SAYS["conflict"])
    assert done.returncode == 1
    assert "vllm: FAILED, pip cannot install it: ERROR: Cannot install trl and numpy" in done.stdout
    assert not any("-m pytest" in line for line in checkout.asked())


def test_a_failing_test_or_an_unknown_argument_is_a_failure(checkout: Checkout) -> None:
    done = versions(checkout, pytest_rc=1)
    assert (done.returncode, done.stdout.count("FAILED")) == (1, 2)
    done = versions(checkout, "newest")
    assert done.returncode == 1
    assert done.stderr == "versions: unknown argument newest: allowed are --quick, --remove, oldest and vllm\n"


# --- the project's files ---------------------------------------------------------------------------------------------


def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def pins(root: Path, file: str = "constraints.txt") -> dict[str, str]:
    lines = [line for line in (root / file).read_text().splitlines() if line and line[0] != "#"]
    return {name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in lines)}


def test_every_dependency_that_setup_installs_is_pinned(root: Path) -> None:
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"]
    installed = ("train", "report", "math", "http", "docs", "dev")
    wanted = [*declared["dependencies"], *(requirement for name in installed for requirement in extras[name])]
    for requirement in wanted:
        found = REQUIREMENT.match(requirement)
        assert found is not None
        assert found["name"] in pins(root), requirement


def test_the_pin_of_torch_admits_a_cpu_and_a_cuda_build(root: Path) -> None:
    for file in CONSTRAINTS:
        assert pins(root, file)["torch"] == "2.13.0"
        assert all("+" not in version for version in pins(root, file).values())


def test_every_set_holds_what_training_needs_within_its_bounds(root: Path) -> None:
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"]
    for requirement in map(Requirement, [*declared["dependencies"], *extras["train"], *extras["gguf"]]):
        for file in CONSTRAINTS:
            assert pins(root, file)[requirement.name.lower()] in requirement.specifier, (file, requirement)
        lowest = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        assert [Version(version) for version in lowest] == [
            Version(pins(root, "constraints-oldest.txt")[requirement.name.lower()])
        ], f"{requirement}: the oldest set must hold its lower bound"


def test_the_set_for_vllm_holds_vllm_and_leaves_what_torch_brings_to_torch(root: Path) -> None:
    versions = pins(root, "constraints-vllm.txt")
    (vllm,) = (Requirement(text) for text in project(root)["optional-dependencies"]["vllm"])
    assert versions["vllm"] in vllm.specifier
    assert Version(versions["transformers"]) < Version("5.18")
    assert not {"triton", "cuda-toolkit", "nvidia-cublas", "nvidia-cuda-runtime"} & versions.keys()


def test_what_runs_here_is_what_is_pinned(root: Path) -> None:
    for name in ("numpy", "scipy", "torch", "transformers", "trl"):
        assert metadata.version(name).split("+")[0] == pins(root)[name]


def test_no_index_address_is_written_anywhere(root: Path) -> None:
    for name in ("pyproject.toml", *CONSTRAINTS, *SCRIPTS):
        text = (root / name).read_text()
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links|index_url", text), name


def test_versions_agree(root: Path) -> None:
    version = project(root)["version"]
    assert metadata.version("polymode") == version
    assert yaml.safe_load((root / "CITATION.cff").read_text())["version"] == version
    assert f"## {version}" in (root / "CHANGELOG.md").read_text()


def test_the_licence_is_apache_2(root: Path) -> None:
    text = (root / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    assert project(root)["license"] == "Apache-2.0"
    assert yaml.safe_load((root / "CITATION.cff").read_text())["license"] == "Apache-2.0"


def test_the_commands_can_be_started(root: Path) -> None:
    for name in SCRIPTS:
        assert os.access(root / name, os.X_OK), name
