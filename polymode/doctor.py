"""What this machine and installation can do, and what each missing part would give (layer L5).

Looks, never changes anything, and imports none of the heavy packages: versions come from package metadata, the GPU
from ``nvidia-smi``. Everything that could hang has a time limit.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polymode.errors import ConfigError, number_in
from polymode.generate import GENERATORS
from polymode.generate.confidences import CONFIDENCES
from polymode.metrics.own import METRICS
from polymode.plugins import Registry
from polymode.rewards.own_terms import OWN_TERMS
from polymode.rewards.proper import SCORES
from polymode.sandbox import reason_unavailable
from polymode.tasks import TASKS
from polymode.tasks.data_files import DATA_VARIABLE, cache_folder, data_folder
from polymode.verifiers.choice import VERIFIERS

PROBE_SECONDS = 2.0
"""Longest wait for one outside command."""

PARTS: Mapping[str, tuple[str, str]] = {
    "core": (
        "numpy scipy rapidfuzz tqdm pyyaml cyclopts pydantic",
        "parsing, judging, scoring, metrics and this command line",
    ),
    "train": (
        "torch transformers trl accelerate datasets peft pyarrow psutil",
        "`polymode reproduce`, `train` and `generate`, Parquet files, datasets by name",
    ),
    "gguf": ("gguf", "`--model FILE.gguf`: models in llama.cpp's format"),
    "report": ("matplotlib jinja2", "figures and the page report.html"),
    "math": (
        "math-verify antlr4-python3-runtime",
        "the verifier `symbolic`: equality of mathematical expressions",
    ),
    "http": ("httpx2 anyio", "judges and models behind an HTTP endpoint"),
    "inspect": ("zstandard", "`polymode evaluate` on logs of inspect_ai (.eval); pyarrow of `train` does as well"),
    "ray": ("ray", "`polymode evaluate --engine ray`: judging on a Ray cluster"),
    "docs": ("mkdocs mkdocs-material mkdocstrings", "the documentation site"),
    "vllm": ("vllm", "fast generation on a CUDA GPU"),
    "serve": (
        "fastapi uvicorn prometheus-client jinja2 sqlalchemy alembic",
        "`polymode serve`: answers and decisions over HTTP, pages; the review queue",
    ),
    "postgres": ("psycopg", "a review queue in PostgreSQL instead of a file"),
    "track": ("trackio tensorboard wandb", "live training curves; any one of the three is enough"),
}
"""Packages of the core and of each extra, and what they give."""
NAMES: Sequence[Registry[Any]] = (TASKS, VERIFIERS, GENERATORS, METRICS, OWN_TERMS, SCORES, CONFIDENCES)
"""The tables of what can be named."""
DATA_SETS = ("ddxplus", "hotpotqa", "ambigqa", "mbpp", "nq_open", "game24")
"""Folders that are looked for inside ``$POLYMODE_DATA``."""


@dataclass(frozen=True, slots=True)
class Part:
    """One group of packages that are installed together."""

    name: str
    """``core`` or the name of an extra."""
    versions: Mapping[str, str | None]
    """Installed version by package; None when it is missing."""
    gives: str
    """What works when it is there."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that are not installed; none for ``track`` as soon as one tracker is there."""
        absent = tuple(package for package, version in self.versions.items() if version is None)
        return () if self.name == "track" and len(absent) < len(self.versions) else absent

    @property
    def command(self) -> str:
        """What installs it."""
        return "pip install polymode" if self.name == "core" else f"pip install 'polymode[{self.name}]'"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something optional can be used, and why or why not."""

    is_usable: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything `diagnose` looked at."""

    machine: Mapping[str, str]
    """Python, processor, memory and disk as this process may use them."""
    parts: tuple[Part, ...]
    gpu: Finding
    sandbox: Finding
    data: Finding
    cache: Finding
    names: Mapping[str, Mapping[str, str]]
    """Per kind, what each name is; of built-in ones a summary, of installed ones their ``module:Name``."""


def diagnose() -> Diagnosis:
    """Look at the machine and the installation; takes well under three seconds where nothing hangs."""
    return Diagnosis(
        machine=_machine(),
        parts=tuple(
            Part(name, {package: _version(package) for package in packages.split()}, gives)
            for name, (packages, gives) in PARTS.items()
        ),
        gpu=_gpu(),
        sandbox=_sandbox(),
        data=_data(os.environ.get(DATA_VARIABLE, "")),
        cache=_cache(),
        names={table.kind: table.summaries() for table in NAMES},
    )


def render(diagnosis: Diagnosis) -> str:
    """The diagnosis as plain text, one thing a line."""
    lines = [
        "Machine",
        *(f"  {name:<8} {text}" for name, text in diagnosis.machine.items()),
        _line("gpu", diagnosis.gpu),
        _line("sandbox", diagnosis.sandbox),
        "Installed",
    ]
    for part in diagnosis.parts:
        installed = ", ".join(f"{package} {version}" for package, version in part.versions.items() if version)
        lines.append(f"  {part.name:<8} {'missing' if part.missing else 'ok'}: {installed or 'nothing installed'}")
        if part.missing:
            lines.append(f"           lacks {', '.join(part.missing)}; would give {part.gives}: {part.command}")
    lines.append("Names, of built-in and installed parts; module:Name works too")
    for table in NAMES:
        lines.append(f"  {table.kind:<16} {', '.join(table.entries) or 'none by name'}")
        summaries = diagnosis.names[table.kind].items()
        lines += [f"{'':19}{name}: {text}" for name, text in summaries if name not in table.entries]
    lines += ["Files", _line("data", diagnosis.data), _line("cache", diagnosis.cache)]
    return "\n".join(lines)


def render_memory(
    path: Path,
    *,
    gigabytes: float | None = None,
    model: str | None = None,
    processes: int | None = None,
    zero_stage: int | None = None,
    prompt_tokens: int = 512,
) -> str:
    """What training by a recipe needs on each device, one thing a line, and whether it fits.

    Args:
        path: the recipe.
        gigabytes: of one device; None means the smallest GPU here, and no comparison where there is none.
        model: in place of the recipe's.
        processes: None means what the command in the recipe's header says.
        zero_stage: likewise.
        prompt_tokens: of the longest prompt.

    Raises:
        DataNotFoundError, ConfigError: a recipe or a model that cannot be read, or that training could not start with.
    """
    from polymode.training.memory import GB, Layout, estimate
    from polymode.training.memory_check import layout_of_command
    from polymode.training.recipe_check import check_recipe
    from polymode.training.recipe_file import load_recipe

    recipe = load_recipe(path, {"model": model} if model else None)
    named, sharding = layout_of_command(path.read_text(encoding="utf-8"))
    if zero_stage is not None:
        sharding = ("none", "zero1", "zero2", "zero3")[zero_stage]
    processes = named if processes is None else int(number_in("processes", processes, 1, whole=True))
    if recipe.completions_per_step % processes:
        raise ConfigError(
            f"processes = {processes} must divide the {recipe.completions_per_step} completions of a step"
        )
    check_recipe(recipe, prompt_tokens)
    card = gigabytes * GB if gigabytes else _smallest_gpu()
    memory = estimate(recipe, Layout(processes, sharding, prompt_tokens, card))
    shape = memory.shape
    spread = f", {sharding}" if sharding != "none" else ""
    parts = {**memory.parts, **memory.step, "vLLM, awake": memory.asleep}
    lines = [
        f"Memory of {path} on each of {processes} device{'s' if processes > 1 else ''}{spread}",
        f"  model: {shape.parameters / 1e9:.3g} billion weights ({shape.source})",
        f"  prompts: up to {prompt_tokens} tokens (--prompt-tokens), completions {recipe.max_completion_length}",
        *(f"  {size / GB:8.2f} GB  {name}" for name, size in parts.items() if size),
        f"  {memory.least / GB:8.2f} GB  at the peak",
    ]
    if card is None:
        lines.append("no GPU here to compare with: give --memory, for example --memory 80")
    lines.append(memory.line())
    return "\n".join(lines)


def _smallest_gpu() -> float | None:
    """Bytes of the smallest GPU; None without one."""
    status, text = _probe(["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"])
    sizes = [float(line) for line in text.splitlines() if line.strip().replace(".", "").isdecimal()]
    return min(sizes) * 2**20 if status == 0 and sizes else None


def _line(name: str, finding: Finding) -> str:
    return f"  {name:<8} {'ok' if finding.is_usable else 'no'}: {finding.detail}"


def _size(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / 2**30:.1f} GiB"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _probe(command: Sequence[str], seconds: float = PROBE_SECONDS) -> tuple[int, str]:
    """Exit status and output of a command; status -1 with the reason when it cannot run or takes too long."""
    try:
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"no reply within {seconds:g} s"
    except OSError as exc:
        return -1, exc.strerror or str(exc)
    return process.returncode, (process.stdout.strip() or process.stderr.strip())


def _machine() -> dict[str, str]:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(threads) if threads.isdecimal() and int(threads) else cores
    total, available = _memory()
    return {
        "python": f"{platform.python_version()} on {platform.platform(terse=True)}",
        "cores": f"{cores}; numeric libraries use {threads} threads",
        "memory": f"{_size(available)} available of {_size(total)}",
        "disk": f"{_size(shutil.disk_usage(Path.cwd()).free)} free in {Path.cwd()}",
    }


def _memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> tuple[int | None, int | None]:
    """Total and available memory, the smaller of the machine's and the container's limit; None where unknown."""
    try:
        kib = dict(re.findall(r"^(\w+):\s+(\d+) kB", meminfo.read_text(), flags=re.MULTILINE))
        total, available = (int(kib[name]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError):
        return None, None
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no cgroup v2, or the limit is the word "max"
        return total, available
    return min(total, limit), max(0, min(available, limit - used))


def _torch_cuda() -> str | None:
    """CUDA version torch was built for, read from its version file without importing it."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text()
    except OSError:
        return None
    match = re.search(r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", text, re.M)
    return match and match.group(1)


def _gpu() -> Finding:
    status, text = _probe(["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"])
    if status != 0 or not text:
        return Finding(False, "no NVIDIA GPU found; the lab needs none, an 8B model does")
    cards = "; ".join(" ".join(line.split()) for line in text.splitlines())
    version, cuda = _version("torch"), _torch_cuda()
    if version is None:
        torch = "torch is not installed"
    elif cuda is None:
        torch = f"torch {version} is a CPU-only build, install a CUDA build"
    else:
        torch = f"torch is built for CUDA {cuda}"
    return Finding(version is not None and cuda is not None, f"{cards} (total, free); {torch}")


def _sandbox() -> Finding:
    reason = reason_unavailable()
    detail = reason or "a first program ran in the sandbox"
    return Finding(reason is None, f"judging programs by running them: {detail}")


def _data(root: str) -> Finding:
    if not root:
        detail = f"{DATA_VARIABLE} is not set; it names the folder that holds ddxplus/ and other data sets"
        return Finding(False, detail)
    if not Path(root).expanduser().is_dir():
        return Finding(False, f"{DATA_VARIABLE}={root!r} is not a folder")
    names = [name for name in DATA_SETS if (folder := data_folder(name)) and any(folder.iterdir())]
    if not names:
        return Finding(False, f"{DATA_VARIABLE}={root!r} holds none of {', '.join(DATA_SETS)}")
    return Finding(True, f"{root}: {', '.join(names)}")


def _cache() -> Finding:
    root = cache_folder()
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    content = f"{size / 2**20:.0f} MiB; safe to delete" if root.is_dir() else "empty; warm-started lab models go here"
    return Finding(True, f"{root}: {content}")
