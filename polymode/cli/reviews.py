"""`polymode reviews`: what a review queue holds, and its resolved items as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from polymode.cli.flags import parse_flags
from polymode.errors import DataNotFoundError


@dataclass(frozen=True)
class Reviews:
    """Say what the review queue holds, and write what reviewers resolved as data.

    The queue's questions are those that the policy did not answer: a policy calibrated on them alone promises nothing
    about the others.
    """

    place: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUEUE")]
    """The queue: an SQLite file, or postgresql://USER@HOST/NAME."""
    records: Path | None = None
    """JSONL file to write resolved questions with their right answers into, for the task `records`."""
    judged: Path | None = None
    """File to write resolved answer sets into, for polymode calibrate."""
    k: int | None = None
    """With --judged: only sets of so many answers."""
    model_id: str | None = None
    """Only what this model answered."""


def run_reviews(args: Sequence[str]) -> int:
    """Count the items, and write what was asked for."""
    options: Reviews = parse_flags(Reviews, "reviews", args)
    from polymode.web.reviews import ReviewQueue, export_judged, export_records

    if "://" not in options.place and not Path(options.place).is_file():
        raise DataNotFoundError(f"review queue {options.place} does not exist: check the path")
    with ReviewQueue(options.place) as queue:
        counts = queue.counts()
        print(
            f"{counts.open:,} open, {counts.claimed:,} claimed, {counts.resolved:,} resolved, "
            f"{counts.dismissed:,} dismissed"
        )
        if counts.oldest_open is not None:
            print(f"oldest open: {counts.oldest_open.isoformat(timespec='seconds')}")
        if options.records is not None:
            written = export_records(queue, options.records, model_id=options.model_id)
            aside = f", {written.n_left_out:,} left out, as no right answer is known" if written.n_left_out else ""
            print(f"records: {options.records} ({written.n_written:,} questions{aside})")
        if options.judged is not None:
            written = export_judged(queue, options.judged, k=options.k, model_id=options.model_id)
            print(f"judged: {options.judged} ({written.n_written:,} answer sets)")
    return 0
