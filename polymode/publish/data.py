"""A relabelled data file as a folder to publish, with a card that says what was changed (layer L5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import RecordError
from polymode.publish.cards import NOT_STATED, card, cell
from polymode.publish.repository import making
from polymode.relabel.accepting import RELABELLED

NAME = "data.jsonl"


def package_data(source: Path, out: Path, *, name: str = "", license: str = "") -> Path:
    """Make the folder of a data file that `polymode relabel` wrote; people become ``reviewer-1``, ``reviewer-2``, ...

    Args:
        source: the JSONL file.
        out: folder to create.
        name: title of the card; the name of ``out`` when empty.
        license: of the data, by the hub's name for it.

    Raises:
        RecordError: a line cannot be read, or no record was relabelled.
        RunExistsError: ``out`` holds something.
        DataNotFoundError, WriteError.
    """
    rows: list[Any] = list(runs.read_jsonl(source))
    notes = [note for row in rows for note in _notes(row)]
    if not notes:
        raise RecordError(
            f"{source}: no record has a field {RELABELLED!r}: publish what polymode relabel --accept wrote"
        )
    people = {by: f"reviewer-{i}" for i, by in enumerate(dict.fromkeys(str(note.get("by")) for note in notes), 1)}
    with making(out) as part:
        runs.write_jsonl(part / NAME, [_anonymous(row, people) for row in rows])
        text = _card(name or out.name, source, part, rows, notes, people, license)
        (part / "README.md").write_text(text, encoding="utf-8", errors="backslashreplace")
    return out


def _notes(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    notes = row.get(RELABELLED)
    return [note for note in notes if isinstance(note, Mapping)] if isinstance(notes, list) else []


def _anonymous(row: Mapping[str, Any], people: Mapping[str, str]) -> dict[str, Any]:
    """The record without names of people and without folders of this machine."""
    if not _notes(row):
        return dict(row)
    notes = [
        {
            **note,
            "by": people[str(note.get("by"))],
            **({"runs": [Path(str(run)).name for run in note["runs"]]} if isinstance(note.get("runs"), list) else {}),
        }
        for note in _notes(row)
    ]
    return {**row, RELABELLED: notes}


def _card(
    title: str,
    source: Path,
    part: Path,
    rows: list[Any],
    notes: list[Mapping[str, Any]],
    people: Mapping[str, str],
    license: str,
) -> str:
    changed = sum(bool(_notes(row)) for row in rows)
    aliases = sum(note.get("alias_of") is not None for note in notes)
    days = sorted(str(note.get("at"))[:10] for note in notes)
    originals = Counter(str(note.get("original")) for note in notes)
    size = next(label for bound, label in _SIZES if len(rows) < bound)
    metadata = {
        "license": license,
        "task_categories": ["question-answering"],
        "size_categories": [size],
        "tags": ["polymode", "relabelled", "multi-answer"],
        "configs": [{"config_name": "default", "data_files": NAME}],
    }
    counts = [
        ("records", len(rows)),
        ("records with added references", changed),
        ("references added", len(notes) - aliases),
        ("names added to a reference", aliases),
        ("people who accepted", len(people)),
    ]
    table = "\n".join(["| | |", "|---|---:|", *(f"| {label} | {n:,} |" for label, n in counts)])
    digests = "\n".join(f"- SHA-256 {cell(digest)} ({n:,} additions)" for digest, n in originals.most_common())
    return card(
        metadata,
        title,
        [
            "Questions with references, to which people added answers that models gave often and surely and that no "
            "reference knew. Nothing was removed or reordered.",
            f"## What was changed\n\n{table}\n\nBetween {days[0]} and {days[-1]}. Each changed record says so in its "
            f"field `{RELABELLED}`: the answer, when, by whom (numbered, without names), and how often and surely "
            "models gave it. Proposals come from models, so answers that these models do not know are still missing; a "
            "model that took part in the proposals has an advantage on these data.",
            f"## Where it comes from\n\nOriginal data, by the fingerprint of the file:\n\n{digests}\n\n"
            f"`{NAME}`: SHA-256 {runs.fingerprint(part / NAME)}, made from `{source.name}`. The original's own license "
            f"and terms hold for what is taken from it. License: {license or NOT_STATED}.",
        ],
    )


_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"), (10**12, "n>1M"))
