"""`polymode relabel`: proposals for a person to decide on, and a new version of the data with what was accepted."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from polymode.cli.answer import printable
from polymode.cli.flags import parse_flags
from polymode.errors import ConfigError


@dataclass(frozen=True)
class Relabel:
    """Propose answers that were marked wrong but are given often and surely, for data with one reference a question.

    Proposals go to a file. A person writes "accepted": true into the lines that are right (and "alias_of": a reference,
    where the answer only words it differently). Then --accept writes a new version of the data; the original is never
    changed. A score is the share of samples that gave the answer, times their mean confidence.
    """

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """Run folders with judged.jsonl, or such files."""
    data: Path | None = None
    """The records that the runs were asked: JSONL, JSON, CSV, TSV or Parquet. Needed."""
    proposals: Path | None = None
    """File to write the proposals into; proposals.jsonl beside the first judged.jsonl by default."""
    accept: Path | None = None
    """Proposals file with decisions: write the new version of the data."""
    out: Path | None = None
    """With --accept: the new version (.jsonl)."""
    by: str = ""
    """With --accept: who accepted; kept in the new version."""
    min_share: float = 0.5
    """Least share of a question's samples that gave the answer."""
    min_confidence: float = 0.5
    """Least mean confidence; 0 when the runs state none."""
    top: int = 100
    """Propose at most so many, the highest scores first."""
    max_references: int = 1
    """Leave out questions with more references than this; 0 takes all."""
    equality: Literal["text", "exact"] = "text"
    """Which answers are one and the same: normalised text, or exactly equal (programs)."""
    question_field: str = "question"
    """Column or key of the question; dots go down into objects."""
    references_field: str = "references"
    """Column or key of the references."""
    id_field: str | None = None
    """Column or key of the identity; by default record-1, record-2, ..."""
    strings: Literal["references", "aliases"] = "references"
    """What a flat list of strings is: references that differ, or aliases of the one right answer."""


if TYPE_CHECKING:
    from polymode.relabel import DataFields, Proposed

SHOWN = 20
"""Proposals in the table; the file has all."""
MIN_TEXT = 10
"""Characters of a text that are shown in the narrowest terminal."""


def run_relabel(args: Sequence[str]) -> int:
    """Propose, or accept."""
    options: Relabel = parse_flags(Relabel, "relabel", args)
    from polymode.relabel import DataFields

    if options.data is None:
        raise ConfigError("--data PATH is missing: the records that the runs were asked; see polymode relabel --help")
    named = DataFields(
        question=options.question_field,
        references=options.references_field,
        id=options.id_field,
        strings=options.strings,
    )
    return _propose(options, options.data, named) if options.accept is None else _accept(options, options.data, named)


def _propose(options: Relabel, data: Path, named: DataFields) -> int:
    from polymode.relabel import Wanted, propose, write_proposals

    if not options.runs:
        raise ConfigError("RUN is missing: name the runs whose answers are looked at; see polymode relabel --help")
    wanted = Wanted(
        min_share=options.min_share,
        min_confidence=options.min_confidence,
        top=options.top,
        max_references=options.max_references,
        equality=options.equality,
    )
    proposed = propose(options.runs, data, named=named, wanted=wanted)
    first = options.runs[0]
    path = options.proposals or (first if first.is_dir() else first.parent) / "proposals.jsonl"
    write_proposals(path, proposed.proposals)
    print(render(proposed, width=shutil.get_terminal_size((100, 24)).columns))
    print(f"proposals: {path}")
    if proposed.proposals:
        command = ["polymode", "relabel", "--accept", str(path), "--by", "NAME", "--data", str(data), "--out"]
        print(f'write "accepted": true into the lines that are right, then: {shlex.join(command)} NEW.jsonl')
    return 0


def _accept(options: Relabel, data: Path, named: DataFields) -> int:
    from polymode.relabel import accept, read_proposals

    assert options.accept is not None
    if options.runs:
        raise ConfigError("runs are given with --accept, which looks at none: leave them out")
    if options.out is None:
        raise ConfigError("--out PATH is missing: the new version of the data")
    if options.out.resolve() == options.accept.resolve():
        raise ConfigError(f"--out {options.out} is the proposals file: name another")
    proposals = read_proposals(options.accept)
    done = accept(proposals, data, options.out, by=options.by, named=named, equality=options.equality)
    print(
        f"{done.n_references:,} further references and {done.n_aliases:,} aliases in {done.n_records:,} records; "
        f"{done.n_refused:,} proposals refused, {done.n_undecided:,} undecided"
    )
    print(f"data: {options.out}")
    return 0


def render(proposed: Proposed, *, width: int = 100) -> str:
    """Table of the first proposals, then what they rest on."""
    notes = [f"{proposed.n_questions:,} questions"]
    if proposed.n_with_more:
        notes.append(f"{proposed.n_with_more:,} left out, as they have more references")
    if proposed.n_not_in_data:
        notes.append(f"{proposed.n_not_in_data:,} of the runs are not in the data")
    if not proposed.proposals:
        return "; ".join([*notes, "nothing to propose"])
    shown = proposed.proposals[:SHOWN]
    texts = [[printable(p.question), printable("; ".join(p.references)), printable(p.answer)] for p in shown]
    room = max(3 * MIN_TEXT, width - len("score  share   conf  ") - 4)
    widths = [max(MIN_TEXT, room // 2), max(MIN_TEXT, room // 4), max(MIN_TEXT, room // 4)]
    lines = [_line("score  share   conf", ["question", "references", "proposed"], widths)]
    for p, row in zip(shown, texts, strict=True):
        q = "-" if p.confidence is None else f"{p.confidence:.2f}"
        lines.append(_line(f"{p.score:5.2f}  {p.share:5.2f}  {q:>5}", row, widths))
    more = proposed.n_found - len(shown)
    if more:
        notes.append(f"{more:,} more proposals than shown")
    return "\n".join([*lines, "", "; ".join(notes)])


def _line(head: str, texts: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        f"{text if len(text) <= width else text[: width - 3] + '...':<{width}}"
        for text, width in zip(texts, widths, strict=True)
    ]
    return "  ".join([head, *cells]).rstrip()
