"""`polymode reviews`: what a review queue holds, and its resolved items as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polymode.cli.flags import parse_flags
from polymode.cli.options import Reviews
from polymode.errors import DataNotFoundError


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
