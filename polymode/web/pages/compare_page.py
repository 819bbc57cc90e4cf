"""Pages that lay two runs side by side: metrics, paired differences, the questions they differ in (layer L4)."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from polymode import runs
from polymode.report.table import row_of
from polymode.web.browsing.question_index import Index
from polymode.web.browsing.run_list import DEEP
from polymode.web.pages.background_cache import NotReadyError
from polymode.web.pages.rendering import render
from polymode.web.pages.run_figures import drawing, drawings
from polymode.web.pages.run_reader import RunReader, in_preparation, whole_number
from polymode.web.pages.urls import compare_url, run_url

PER_PAGE = 25


@dataclass(frozen=True, slots=True)
class Differing:
    """A question in the list of those that differ."""

    id: str
    number: int | None
    """Of the first run's questions; None when it is not in its judged.jsonl."""
    text: str
    coverage: tuple[float, float]
    brier: tuple[float, float]


def compare_page(reader: RunReader) -> APIRouter:
    """Routes of the comparison."""
    router = APIRouter()

    @router.get("/compare")
    async def compare(request: Request) -> Response:
        first, second = (request.query_params.get(name, "") for name in ("a", "b"))
        if not first or not second or first == second:
            return await _choose(reader, request, first, second)
        part = request.query_params.get("part", "")
        try:
            if part == "drawing":
                return drawing(await reader.figures(first, second), request)
            if part == "figures":
                return await _figures(reader, request, first, second)
            return await _compared(reader, request, first, second)
        except NotReadyError:
            return in_preparation(request, f"{first}, {second}")

    return router


async def _choose(reader: RunReader, request: Request, first: str, second: str) -> Response:
    names = await asyncio.to_thread(_evaluated, reader)
    error = "Choose two different runs." if first and first == second else ""
    return render(request, "compare.html", names=names, a=first, b=second, error=error)


def _evaluated(reader: RunReader) -> list[str]:
    """Runs that can be compared."""
    return [
        name
        for name in reader.folders.names()
        if name.rpartition("/")[2] != DEEP
        and all(reader.folders.has(name, f) for f in (runs.METRICS, runs.COMPLETIONS))
    ]


async def _compared(reader: RunReader, request: Request, first: str, second: str) -> Response:
    two = await reader.compared(first, second)
    n_pages = max(-(-len(two.questions) // PER_PAGE), 1)
    page = min(whole_number(request, "page", 1), n_pages)
    shown = two.questions[(page - 1) * PER_PAGE : page * PER_PAGE]
    return render(
        request,
        "comparison.html",
        a=first,
        b=second,
        two=two,
        row_of=row_of,
        groups=[(title, found) for title, metrics in two.groups if (found := [m for m in metrics if _is_told(m)])],
        differing=await _differing(reader, first, shown),
        first=(page - 1) * PER_PAGE + 1,
        page=page,
        n_pages=n_pages,
        run_url=run_url,
        compare_url=compare_url,
    )


def _is_told(metric: Any) -> bool:
    return any(math.isfinite(cell.value) for cell in (metric.first, metric.second))


async def _differing(reader: RunReader, first: str, shown: Any) -> list[Differing]:
    index: Index | None = None
    texts: dict[int, str] = {}
    if await asyncio.to_thread(reader.folders.has, first, runs.JUDGED):
        index = await reader.index(first)
        numbers = [number for one in shown if (number := index.number(one.id)) is not None]
        found = await reader.previews(first, index, numbers)
        texts = {number: text for number, (_, text) in zip(numbers, found, strict=True)}
    listed = []
    for one in shown:
        number = None if index is None else index.number(one.id)
        text = "" if number is None else texts.get(number, "")
        listed.append(Differing(one.id, None if number is None else number + 1, text, one.coverage, one.brier))
    return listed


async def _figures(reader: RunReader, request: Request, first: str, second: str) -> Response:
    figures = await reader.figures(first, second)
    return render(
        request,
        "figures.html",
        title=f"{first} and {second}",
        figures=[
            (figure, drawings(figure, lambda **query: compare_url(first, second, part="drawing", **query)))
            for figure in figures
        ],
        back=compare_url(first, second),
    )
