"""`polymode reviews`: the state of a review queue, and its resolved reviews as data."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from polymode.errors import DataNotFoundError

if TYPE_CHECKING:
    from polymode.web.reviews.agreement import Agreement
    from polymode.web.reviews.store import Store


@dataclass(frozen=True)
class Reviews:
    """Summarise the review queue, export resolved reviews as data, and delete stored answers.

    The queue contains the questions that the policy did not answer and, with polymode serve --review-share, a random
    share of all. polymode calibrate uses that share alone: the others are no sample of what is asked.

    Examples:
        # how many reviews are open, claimed and resolved
        polymode reviews reviews.db
        # reviewed questions with their right answers, as training data
        polymode reviews reviews.db --records reviewed.jsonl
        # what one person asked is to be forgotten
        polymode reviews reviews.db --delete 0f1e2d3c4b5a69788796a5b4c3d2e1f0
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
    delete: tuple[str, ...] = ()
    """Delete the stored texts of the answers with these request ids, and what their questions are recognised by; items
    of the queue stay."""
    delete_before: date | None = None
    """Delete the stored texts of all answers from before this day."""


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
        n_random, n_reviewed = queue.random_share()
        if n_random:
            print(f"random share: {n_random:,} drawn, {n_reviewed:,} resolved")
        _print_agreement(queue.agreement())
        if options.records is not None:
            written = export_records(queue, options.records, model_id=options.model_id)
            aside = f", {written.n_left_out:,} left out, as no right answer is known" if written.n_left_out else ""
            print(f"records: {options.records} ({written.n_written:,} questions{aside})")
        if options.judged is not None:
            written = export_judged(queue, options.judged, k=options.k, model_id=options.model_id)
            print(f"judged: {options.judged} ({written.n_written:,} answer sets)")
        _delete(options, queue.store)
    return 0


def _delete(options: Reviews, store: Store) -> None:
    from polymode.web.live.answers import delete_before, delete_request

    for request_id in options.delete:
        if not delete_request(store, request_id, "command line", datetime.now(UTC)):
            raise DataNotFoundError(f"--delete {request_id}: no answer is stored under this request id")
        print(f"deleted: the texts of {request_id}")
    if options.delete_before is not None:
        day = datetime.combine(options.delete_before, time(), UTC)
        print(f"deleted: the texts of {delete_before(store, day):,} answers from before {options.delete_before}")


def _print_agreement(agreement: Agreement) -> None:
    """One line, where items were drawn for a second review."""
    if not agreement.n_items and not agreement.n_waiting:
        return
    waiting = f"{agreement.n_waiting:,} still to come"
    if not agreement.n_items:
        print(f"second reviews: {waiting}")
        return
    numbers = [
        f"{one.value:.2f}" + ("" if math.isnan(one.low) else f" [{one.low:.2f}, {one.high:.2f}]")
        for one in (agreement.share, agreement.kappa)
    ]
    about = f"{agreement.n_items:,} items, {agreement.n_answers:,} answers"
    print(f"second reviews: {about}, same verdict {numbers[0]}, Cohen's kappa {numbers[1]}; {waiting}")
