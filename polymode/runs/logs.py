"""Logs of other evaluators, written into ``completions.jsonl`` of a run folder (layer L3).

Everything after that is as for any run folder: judging, metrics, comparison, calibration. What a log holds that is no
completion is counted, with the first of its kind, and reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from polymode.errors import ConfigError, RecordError, RunExistsError
from polymode.runs.files import to_json, write_rows
from polymode.runs.folder import COMPLETIONS, JUDGED
from polymode.runs.inspect_logs import Row, Unusable, inspect_log, is_inspect_log, rows_of_sample
from polymode.runs.lines import read_jsonl
from polymode.runs.lm_eval_samples import is_samples_file, sample_rows
from polymode.runs.locks import alone

ORIGIN = "log"
"""Name in a line's ``meta`` of the log that it comes from."""


class ImportedLog(NamedTuple):
    """What became of a log."""

    path: Path
    """Its completions."""
    notes: tuple[str, ...]
    """What was left out or is missing, and why, a line each."""


def log_at(path: Path) -> Path | None:
    """The log that a path names: a file, or the only one in a folder without completions; None where there is none.

    Raises:
        ConfigError: the folder holds several.
    """
    if not path.is_dir():
        return path if is_inspect_log(path) or is_samples_file(path) else None
    if (path / COMPLETIONS).exists():
        return None
    logs = sorted(entry for entry in path.iterdir() if is_inspect_log(entry) or is_samples_file(entry))
    if len(logs) > 1:
        raise ConfigError(f"{path} holds {len(logs)} logs: name one of them, for example {logs[-1]}")
    return logs[0] if logs else None


def import_log(log: Path, folder: Path) -> ImportedLog:
    """Write the completions of a log into ``folder``, whole or not at all.

    Raises:
        DataNotFoundError: the log cannot be read.
        RecordError: it is damaged, of another version, or holds nothing that can be used; one line.
        RunExistsError: the folder holds completions that are not those of this log, or another process judges them.
        WriteError: they cannot be written.
    """
    path = folder / COMPLETIONS
    notes: list[str] = []
    with alone(folder / JUDGED):  # whoever judges them reads them meanwhile
        _check_origin(path, log)
        rows = _of_inspect(log, notes) if is_inspect_log(log) else _of_lm_eval(log, notes)
        write_rows(path, (to_json(row) for row in _checked(rows, log, notes)))
    return ImportedLog(path, tuple(notes))


def _of_inspect(log: Path, notes: list[str]) -> Iterator[Row]:
    header, samples = inspect_log(log)
    unusable: dict[str, list[str]] = {}
    n_samples = 0
    for sample in samples:
        n_samples += 1
        is_object = isinstance(sample, dict)
        place = f"sample {sample.get('id')!r}, epoch {sample.get('epoch')}" if is_object else f"sample {n_samples}"
        rows = rows_of_sample(sample, f"{log}, {place}", header.n_choices)
        if isinstance(rows, Unusable):
            unusable.setdefault(rows.reason, []).append(f"{place}: {rows.detail}".removesuffix(": "))
            continue
        origin = {"evaluator": "inspect_ai", "file": log.name, "task": header.task, "model": header.model}
        for row in rows:
            yield _with_origin(row, origin)
    for reason, some in unusable.items():
        notes.append(f"{log}: {len(some):,} of {n_samples:,} samples left out: {reason} (first: {some[0]})")
    n_missing = max(0, (header.n_expected or n_samples) - n_samples)
    if header.status != "success" or n_missing:
        notes.append(f"{log}: status of the evaluation: {header.status}; samples missing from the log: {n_missing:,}")


def _of_lm_eval(log: Path, notes: list[str]) -> Iterator[Row]:
    n_again = 0
    for row in sample_rows(log):
        if row is None:
            n_again += 1
            continue
        yield _with_origin(row, {"evaluator": "lm-eval", "file": log.name, "model": log.parent.name})
    if n_again:
        notes.append(f"{log}: {n_again:,} lines left out: documents again, after another filter")


def _with_origin(row: Row, origin: dict[str, Any]) -> Row:
    meta = row.get("meta")
    return {**row, "meta": {**(meta if isinstance(meta, dict) else {}), ORIGIN: origin}}


def _checked(rows: Iterator[Row], log: Path, notes: list[str]) -> Iterator[Row]:
    """The rows; raises RecordError when there are none."""
    n_rows = 0
    for row in rows:
        n_rows += 1
        yield row
    if not n_rows:
        raise RecordError("; ".join(notes) or f"{log}: no samples; evaluate again, and have them logged")


def _check_origin(path: Path, log: Path) -> None:
    """Refuse to write over completions of another origin."""
    if not path.exists():
        return
    try:
        first = next(read_jsonl(path), {})
    except RecordError:
        first = {}
    origin = (first.get("meta") or {}).get(ORIGIN)
    if not isinstance(origin, dict) or origin.get("file") != log.name:
        raise RunExistsError(f"{path} holds other completions than {log}: choose another --out")
