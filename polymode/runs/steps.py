"""metrics.jsonl: one line for each step of a training (layer L3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from polymode.errors import RecordError
from polymode.runs.files import SCHEMA, check_schema, to_json, write_jsonl
from polymode.runs.folder import TRAIN_METRICS, file_in
from polymode.runs.lines import parse_object, raw_lines


def append_step(path: Path, step: Mapping[str, Any]) -> None:
    """Add the line of one step."""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(to_json({"schema": SCHEMA, **step})) + "\n")


def write_steps(path: Path, steps: Iterable[Mapping[str, Any]]) -> None:
    """Write all steps anew, whole or not at all."""
    write_jsonl(path, ({"schema": SCHEMA, **step} for step in steps))


def read_steps(path: Path, *, may_be_cut: bool = False) -> list[dict[str, Any]]:
    """The steps of a training's metrics.jsonl, or of the folder that holds one.

    A run that was resumed may have written a step twice: the later line is the one that led on.

    Args:
        path: file or folder.
        may_be_cut: leave out lines that are no whole JSON; a kill can leave half a line at the end.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: a line is damaged or of a newer schema; names the line.
    """
    path = file_in(path, TRAIN_METRICS)
    by_step: dict[Any, dict[str, Any]] = {}
    for number, _, content in raw_lines(path):
        where = f"{path}, line {number}"
        try:
            row = parse_object(content, where, "one JSON object a line is needed")
        except RecordError:
            if may_be_cut:
                continue
            raise
        check_schema(row.pop("schema", None), where)
        step = row.get("step", number)
        if isinstance(step, (dict, list)):
            raise RecordError(f"{where}: step = {step!r:.80} is not allowed: give a whole number")
        by_step[step] = row
    return list(by_step.values())
