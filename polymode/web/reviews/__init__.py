"""The review queue: questions for people, in SQLite or PostgreSQL, and their verdicts as data (layer L6).

    ReviewQueue(place)    add, claim, mark, add_answer, resolve, ...; needs the extra `serve`
    export_records        resolved questions for the task `records`
    export_judged         resolved answer sets for `polymode calibrate`

Nothing here knows HTTP.
"""

import importlib.util
from typing import TYPE_CHECKING, Any

from polymode.errors import MissingExtraError
from polymode.web.reviews.records import ReviewAnswer, ReviewCounts, ReviewEvent, ReviewItem, ReviewState

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

_MODULES = {"ReviewQueue": "queue", "export_judged": "export", "export_records": "export"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for package in ("sqlalchemy", "alembic"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "serve", "The review queue")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
