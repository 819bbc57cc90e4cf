"""Proposed references for a person to decide on (layer L4; standard library only).

`polymode.relabel.Desk` is one; the server knows no other part of the package, so it is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol


class Relabelling(Protocol):
    """Proposals, and the new version of the data that comes of them. Called from several threads."""

    @property
    def out(self) -> Path | None:
        """The new version of the data; None when none can be written."""
        ...

    def proposals(self) -> Sequence[Any]:
        """All of them, each with ``number`` (from 1), ``seen`` and ``proposal`` (fields as in a proposals file)."""
        ...

    def decide(
        self,
        number: int,
        seen: str,
        by: str,
        *,
        accepted: bool | None,
        answer: str | None = None,
        alias_of: str | None = None,
    ) -> None:
        """Keep a decision; any PolymodeError says that it was not kept."""
        ...

    def write(self, by: str) -> Any:
        """Write the new version; returns what it holds, as `polymode.relabel.Accepted`."""
        ...
