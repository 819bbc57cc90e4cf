"""What the pages show besides the model; handed in, as the server knows no other part of the package (layer L4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polymode.web.reviews import ReviewQueue


@dataclass(frozen=True, slots=True)
class Shown:
    """Parts of the pages; what is None has no page."""

    reviews: ReviewQueue | None = None
    """The review queue."""
