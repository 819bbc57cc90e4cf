"""`polymode reviews`: the state of a review queue, and its resolved reviews as data."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from polymode.errors import DataNotFoundError


@dataclass(frozen=True)
class Reviews:
    """Summarise the review queue and export resolved reviews as data.

    The queue contains the questions that the policy did not answer, so a policy calibrated on them alone has no
    guarantee for the others.

    Examples:
        # how many reviews are open, claimed and resolved
        polymode reviews reviews.db
        # reviewed questions with their right answers, as training data
        polymode reviews reviews.db --records reviewed.jsonl
        # reviewed answer sets, as calibration data
        polymode reviews reviews.db --judged runs/reviewed/judged.jsonl --k 3
    """

    queue: str
    """Review queue: an SQLite file, or postgresql://USER@HOST/NAME."""
    _: KW_ONLY
    records: Path | None = None
    """JSONL file for resolved questions with their right answers, for the task `records`."""
    judged: Path | None = None
    """File for resolved answer sets, for polymode calibrate."""
    k: int | None = None
    """With --judged: only sets of this many answers (K)."""
    model_id: str | None = None
    """Only questions that this model answered."""


def run_reviews(options: Reviews) -> int:
    """Count the reviews, and export the resolved ones."""
    from polymode.web.reviews import ReviewQueue, export_judged, export_records

    if "://" not in options.queue and not Path(options.queue).is_file():
        raise DataNotFoundError(f"review queue {options.queue} does not exist: check the path")
    with ReviewQueue(options.queue) as queue:
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
