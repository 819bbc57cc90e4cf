"""What the pages show besides the model; handed in, as the server knows no other part of the package (layer L4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polymode.web.relabelling import Relabelling

if TYPE_CHECKING:
    from polymode.web.browsing.looking import Looking
    from polymode.web.reviews import ReviewQueue


@dataclass(frozen=True, slots=True)
class Shown:
    """Parts of the pages; what is None has no page."""

    reviews: ReviewQueue | None = None
    """The review queue."""
    looking: Looking | None = None
    """A folder of runs, and who draws and compares them."""
    relabelling: Relabelling | None = None
    """Proposed references."""
