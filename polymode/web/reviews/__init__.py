"""The review queue: questions for people, in SQLite or PostgreSQL, and their verdicts as data (layer L6).

    ReviewQueue(place)    add, claim, mark, add_answer, resolve, ...; needs the extra `serve`
    export_records        resolved questions for the task `records`
    export_judged         resolved answer sets for `polymode calibrate`

Nothing here knows HTTP.
"""

from typing import TYPE_CHECKING, Any

from polymode.errors import MissingExtraError
from polymode.web.reviews.records import (
    ReviewAnswer,
    ReviewCounts,
    ReviewEvent,
    ReviewItem,
    ReviewState,
)

if TYPE_CHECKING:
    from polymode.web.reviews.export import export_judged, export_records
    from polymode.web.reviews.queue import ReviewQueue

__all__ = [
    "ReviewAnswer",
    "ReviewCounts",
    "ReviewEvent",
    "ReviewItem",
    "ReviewQueue",
    "ReviewState",
    "export_judged",
    "export_records",
]

_PACKAGES = ("sqlalchemy", "alembic")


def __getattr__(name: str) -> Any:
    if name == "ReviewQueue":
        from importlib.util import find_spec

        for package in _PACKAGES:
            if find_spec(package) is None:
                raise MissingExtraError(package, "serve", "The review queue")
        from polymode.web.reviews.queue import ReviewQueue

        return ReviewQueue
    if name in ("export_judged", "export_records"):
        from polymode.web.reviews import export

        return getattr(export, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
