"""Addresses of the pages of runs (layer L4)."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def run_url(name: str, **query: object) -> str:
    """Address of a run's page; what is empty is left out."""
    kept = {key: str(value) for key, value in query.items() if value not in (None, "", "all")}
    path = "/runs/" + quote(name)
    return f"{path}?{urlencode(kept, errors='replace')}" if kept else path


def compare_url(first: str, second: str, **query: object) -> str:
    """Address of a comparison; what is empty is left out."""
    kept = {key: str(value) for key, value in query.items() if value not in (None, "")}
    return "/compare?" + urlencode({"a": first, "b": second, **kept}, errors="replace")
