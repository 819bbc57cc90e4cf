"""Addresses of the pages of runs, and what an address says about the part of a list to show (layer L6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from starlette.requests import Request

from polymode.web.problems import Problem

T = TypeVar("T")


def run_url(name: str, **query: object) -> str:
    """Address of a run's page; empty values are left out."""
    fields = {key: str(value) for key, value in query.items() if value not in (None, "", "all")}
    path = "/runs/" + quote(name)
    return f"{path}?{urlencode(fields, errors='replace')}" if fields else path


def compare_url(first: str, second: str, **query: object) -> str:
    """Address of a comparison; empty values are left out."""
    fields = {key: str(value) for key, value in query.items() if value not in (None, "")}
    return "/compare?" + urlencode({"a": first, "b": second, **fields}, errors="replace")


def whole_number(request: Request, name: str, default: int, *, low: int = 1) -> int:
    """A whole number from the address; raises Problem."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= low):
        raise Problem(422, "a number is not allowed", field=name, value=text, allowed=f"from {low}", fix="change it")
    return int(text)


@dataclass(frozen=True, slots=True)
class ListPart(Generic[T]):
    """The part of a list that is on one page."""

    items: Sequence[T]
    first: int
    """Number of its first item, from 1."""
    total: int
    """Items of the whole list."""
    page: int
    n_pages: int


def list_part(request: Request, items: Sequence[T], per_page: int) -> ListPart[T]:
    """The part that the address asks for by ``page``; a number beyond the end gives the last part. Raises Problem."""
    n_pages = max(-(-len(items) // per_page), 1)
    page = min(whole_number(request, "page", 1), n_pages)
    start = (page - 1) * per_page
    return ListPart(items[start : start + per_page], start + 1, len(items), page, n_pages)
