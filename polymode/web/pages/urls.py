"""Addresses of the pages of runs, and what an address says about the part of a list to show (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from starlette.requests import Request

from polymode.web.problems import Problem

T = TypeVar("T")


def run_url(name: str, **query: object) -> str:
    """Address of a run's page; empty values are left out."""
    return _url("/runs/" + quote(name), {key: value for key, value in query.items() if value != "all"})


def compare_url(first: str, second: str = "", **query: object) -> str:
    """Address of a comparison, or of the page that chooses the second run; empty values are left out."""
    return _url("/compare", {"a": first, "b": second, **query})


def _url(path: str, query: Mapping[str, object]) -> str:
    fields = {key: str(value) for key, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(fields, errors='replace')}" if fields else path


def number_in(text: str) -> int | None:
    """A text of one to nine digits as a number; None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


def whole_number(request: Request, name: str, default: int, *, low: int = 1) -> int:
    """A whole number from the address; raises Problem."""
    text = request.query_params.get(name) or str(default)
    number = number_in(text)
    if number is None or number < low:
        raise Problem(422, "a number is not allowed", field=name, value=text, allowed=f"from {low}", fix="change it")
    return number


def list_name(request: Request, lists: Mapping[str, object], default: str) -> str:
    """Which of several lists the address names in ``show``; raises Problem."""
    show = request.query_params.get("show", default)
    if show not in lists:
        raise Problem(422, "no such list", field="show", value=show, allowed=", ".join(lists), fix="choose one")
    return show


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
