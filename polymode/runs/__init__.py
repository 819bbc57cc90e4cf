"""Run folders: the interface between generation, training, evaluation and report (layer L3).

::

    RUN/config.json        what was asked for, with versions and the git commit
    RUN/metrics.jsonl      training only: one line per step
    RUN/completions.jsonl  one `Completion` a line
    RUN/judged.jsonl       one judged completion a line
    RUN/metrics.json       metrics with intervals
    RUN/policy.json        a `Policy` calibrated on judged.jsonl
    RUN/report.html        the page

Files are written whole or not at all: a temporary file beside the target, flushed to disk, then renamed over it.
JSON has no NaN: an undefined number is written as null and read back as None.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from polymode.errors import (
    ConfigError,
    DataNotFoundError,
    PolymodeError,
    RecordError,
    RunExistsError,
    RunIncompleteError,
    WriteError,
)
from polymode.policy import Policy
from polymode.types import Completion, Example

CONFIG, COMPLETIONS, JUDGED, METRICS, TRAIN_METRICS, POLICY, REPORT = (
    "config.json",
    "completions.jsonl",
    "judged.jsonl",
    "metrics.json",
    "metrics.jsonl",
    "policy.json",
    "report.html",
)
_LIBRARIES = ("numpy", "scipy", "torch", "transformers", "trl", "accelerate", "datasets", "vllm")


def cache_folder() -> Path:
    """Where things that can be made again are kept: ``$POLYMODE_CACHE``, else ``~/.cache/polymode``."""
    return Path(os.environ.get("POLYMODE_CACHE") or Path.home() / ".cache" / "polymode")


@contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """Open ``path`` for text so that it appears whole or not at all; raises WriteError when the system refuses."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, path)
    except PolymodeError:  # raised by the code that makes the text; several of them are OSErrors too
        raise
    except OSError as exc:
        raise WriteError(f"cannot write {path}: {exc.strerror or exc}; free space or choose another folder") from exc
    finally:
        with suppress(OSError):  # no part was made, or none can be removed: the first error is the one to tell
            part.unlink()


def to_json(value: Any) -> Any:
    """``value`` as plain JSON types: dataclasses to dicts, enums to values, NaN and infinities to None."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return to_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [to_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, whole or not at all."""
    with writing(path) as handle:
        json.dump(to_json(value), handle, indent=1, ensure_ascii=False, allow_nan=False)
        handle.write("\n")


def read_json(path: Path) -> Any:
    """Read JSON; raises RunIncompleteError when the file is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunIncompleteError(f"{path} is missing: run the stage that writes it first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise RunIncompleteError(f"{path} is not valid JSON ({exc}): delete it and run its stage again") from None


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object a line, whole or not at all; returns the number of lines."""
    count = 0
    with writing(path) as handle:
        for row in rows:
            handle.write(json.dumps(to_json(row), ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file; raises RecordError naming the line that is not an object."""
    try:
        handle = path.open(encoding="utf-8")
    except FileNotFoundError:
        raise RunIncompleteError(f"{path} is missing: check the path, or run the stage that writes it") from None
    with handle:
        yield from (row for _, row in json_objects(handle, path))


def json_objects(lines: Iterable[str], source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line that is not blank.

    Raises:
        RecordError: a line of ``source`` that is not a JSON object, or text that is not UTF-8.
    """
    try:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as exc:
                reason = getattr(exc, "msg", "nested too deeply")
                raise RecordError(
                    f"{source}, line {number}: not valid JSON ({reason}); one object a line is needed"
                ) from None
            if not isinstance(row, dict):
                raise RecordError(f"{source}, line {number}: a JSON object is needed, got {type(row).__name__}")
            yield number, row
    except UnicodeDecodeError as exc:
        raise RecordError(f"{source}: not UTF-8 text ({exc.reason}); convert the file to UTF-8") from None


def create(folder: Path, config: Any, *, resume: bool = False) -> Path:
    """Make a run folder and write its config; an existing one needs ``resume``.

    Raises:
        RunExistsError: the folder holds a config already and ``resume`` is False.
        WriteError: the folder cannot be written.
    """
    if (folder / CONFIG).exists():
        if not resume:
            raise RunExistsError(f"run folder {folder} exists already: pass --resume to go on, or choose another --out")
        return folder
    write_json(folder / CONFIG, {"config": to_json(config), "made_with": provenance()})
    return folder


def write_policy(path: Path, policy: Policy) -> None:
    """Write a policy, whole or not at all."""
    write_json(path, policy.to_json())


def read_policy(path: Path) -> Policy:
    """Read what `write_policy` wrote, or somebody by hand.

    Raises:
        DataNotFoundError: no such file.
        ConfigError: not JSON, or no policy; names the file.
    """
    try:
        return Policy.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as exc:
        raise DataNotFoundError(
            f"policy {path} cannot be read ({exc.strerror or exc}): check the path, or make one with polymode calibrate"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigError(f"policy {path} is not valid JSON ({exc}); make it anew with polymode calibrate") from None
    except ConfigError as exc:
        raise ConfigError(f"policy {path}: {exc}") from None


def provenance() -> dict[str, Any]:
    """Versions and git commit to keep beside results."""
    versions = {}
    for name in ("polymode", *_LIBRARIES):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "versions": versions, "commit": _git_commit()}


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def example_to_row(example: Example) -> dict[str, Any]:
    """An example as the JSON object used in completions files."""
    row: dict[str, Any] = {
        "id": example.id,
        "question": example.question,
        "references": [
            {"text": ref.text, "aliases": list(ref.aliases), "weight": ref.weight} for ref in example.references
        ],
        "exclusive": example.exclusive,
    }
    for name in ("distribution", "p_correct"):
        if getattr(example, name) is not None:
            row[name] = dict(getattr(example, name))
    if example.meta:
        row["meta"] = dict(example.meta)
    return row


def completion_to_row(completion: Completion) -> dict[str, Any]:
    """A completion as a self-contained line of ``completions.jsonl``."""
    return {
        **example_to_row(completion.example),
        "completion": completion.text,
        "k": completion.k,
        "confidence": completion.has_confidence,
        "sample": completion.sample,
        "n_tokens": completion.n_tokens,
        "finished": completion.is_finished,
        **({} if completion.confidences is None else {"confidences": list(completion.confidences)}),
    }
