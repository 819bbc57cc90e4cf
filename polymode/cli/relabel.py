"""`polymode relabel`: proposals for a person to decide on, and a new version of the data with what was accepted."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal

from polymode.cli.answer import printable, shorten
from polymode.cli.flags import FLAGS_OF
from polymode.errors import ConfigError
from polymode.relabel import Criteria, DataFields, Proposed, accept, propose, read_proposals, write_proposals


@dataclass(frozen=True)
class Relabel:
    """Propose answers that were marked wrong but are given often and confidently, for data with one reference each.

    Proposals are written to a file. A person writes "accepted": true into the lines that are right (and "alias_of": a
    reference, if the answer is another wording of it). Then --accept writes a new version of the data; the original is
    never changed. A proposal's score is the share of samples that gave the answer times their mean confidence.

    Examples:
        polymode relabel runs/a/test runs/b/test --data questions.jsonl --proposals proposals.jsonl
        # after a person has accepted some
        polymode relabel --accept proposals.jsonl --by ann --data questions.jsonl --out questions-2.jsonl
    """

    runs: tuple[Path, ...] = ()
    """Run folders with judged.jsonl, or judged.jsonl files."""
    _: KW_ONLY
    data: Path | None = None
    """The records that the runs' questions came from: JSONL, JSON, CSV, TSV or Parquet. Required."""
    proposals: Path | None = None
    """File to write the proposals to; by default proposals.jsonl beside the first judged.jsonl."""
    accept: Path | None = None
    """File of proposals with a person's decisions; writes the new version of the data."""
    out: Path | None = None
    """With --accept: file for the new version (.jsonl)."""
    by: str = ""
    """With --accept: name of the person who accepted, recorded in the new version."""
    proposed: dict[str, Any] = field(default_factory=dict, metadata={FLAGS_OF: Criteria})
    """Options of what is proposed."""
    question_field: str = "question"
    """Column or key of the question; dots address nested objects."""
    references_field: str = "references"
    """Column or key of the references."""
    id_field: str | None = None
    """Column or key of the record's identifier; by default record-1, record-2, ..."""
    strings: Literal["references", "aliases"] = "references"
    """Meaning of a flat list of strings: different references, or aliases of the one right answer."""


MAX_ROWS = 20
"""Proposals in the table; the file has all."""
MIN_TEXT = 10
"""Characters of a text that are shown in the narrowest terminal."""


def run_relabel(options: Relabel) -> int:
    """Propose references, or accept proposals."""
    if options.data is None:
        raise ConfigError(
            "--data is missing: name the records that the runs' questions came from; see polymode relabel --help"
        )
    named = DataFields(
        question=options.question_field,
        references=options.references_field,
        id=options.id_field,
        strings=options.strings,
    )
    return _propose(options, options.data, named) if options.accept is None else _accept(options, options.data, named)


def _propose(options: Relabel, data: Path, named: DataFields) -> int:
    if not options.runs:
        raise ConfigError("RUNS is missing: name the runs whose answers are examined; see polymode relabel --help")
    proposed = propose(options.runs, data, named=named, criteria=Criteria(**options.proposed))
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
    assert options.accept is not None
    if options.runs:
        raise ConfigError("runs are given with --accept, which uses none: remove them")
    if options.out is None:
        raise ConfigError("--out is missing: name the file for the new version of the data")
    if options.out.resolve() == options.accept.resolve():
        raise ConfigError(f"--out {options.out} is the proposals file: name another")
    proposals = read_proposals(options.accept)
    equality = Criteria(**options.proposed).equality
    counts = accept(proposals, data, options.out, by=options.by, named=named, equality=equality)
    print(
        f"{counts.n_references:,} further references and {counts.n_aliases:,} aliases in {counts.n_records:,} records; "
        f"{counts.n_refused:,} proposals refused, {counts.n_undecided:,} undecided"
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
    proposals = proposed.proposals[:MAX_ROWS]
    texts = [[printable(text) for text in (p.question, "; ".join(p.references), p.answer)] for p in proposals]
    room = max(3 * MIN_TEXT, width - len("score  share   conf  ") - 4)
    widths = [max(MIN_TEXT, room // 2), max(MIN_TEXT, room // 4), max(MIN_TEXT, room // 4)]
    lines = [_line("score  share   conf", ["question", "references", "proposed"], widths)]
    for p, row in zip(proposals, texts, strict=True):
        q = "-" if p.confidence is None else f"{p.confidence:.2f}"
        lines.append(_line(f"{p.score:5.2f}  {p.share:5.2f}  {q:>5}", row, widths))
    if n_more := proposed.n_found - len(proposals):
        notes.append(f"{n_more:,} more proposals than shown")
    return "\n".join([*lines, "", "; ".join(notes)])


def _line(head: str, texts: Sequence[str], widths: Sequence[int]) -> str:
    cells = [f"{shorten(text, width):<{width}}" for text, width in zip(texts, widths, strict=True)]
    return "  ".join([head, *cells]).rstrip()
