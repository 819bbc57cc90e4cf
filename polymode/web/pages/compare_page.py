"""Two runs side by side: metrics, paired differences, the questions they differ in (layer L6)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from polymode import runs
from polymode.compare.columns import DEEP
from polymode.compare.two_runs import MetricOfTwo, QuestionOfTwo
from polymode.web.pages.rendering import render
from polymode.web.pages.run_pages import drawing, figures_page
from polymode.web.pages.run_reader import RunReader
from polymode.web.pages.urls import compare_url, list_part

PER_PAGE = 25


def compare_page(reader: RunReader) -> APIRouter:
    """Routes of the comparison."""
    router = APIRouter()

    @router.get("/compare")
    async def compare(request: Request) -> Response:
        first, second = (request.query_params.get(name, "") for name in ("a", "b"))
        if not first or not second or first == second:
            names = await asyncio.to_thread(_evaluated, reader)
            error = "Choose two different runs." if first and first == second else ""
            return render(request, "compare.html", names=names, a=first, b=second, error=error)
        part = request.query_params.get("part", "")
        if part == "drawing":
            return drawing(await reader.figures(first, second), request)
        if part == "figures":
            figures = await reader.figures(first, second)
            return figures_page(request, figures, f"{first} and {second}", partial(compare_url, first, second))
        return await _compared(reader, request, first, second)

    return router


def _evaluated(reader: RunReader) -> list[str]:
    """Runs that can be compared."""
    return [
        name
        for name in reader.folders.names()
        if name.rpartition("/")[2] != DEEP and all(reader.folders.has(name, f) for f in (runs.METRICS, runs.JUDGED))
    ]


async def _compared(reader: RunReader, request: Request, first: str, second: str) -> Response:
    two = await reader.compared(first, second)
    part = list_part(request, two.questions, PER_PAGE)
    return render(
        request,
        "comparison.html",
        a=first,
        b=second,
        two=two,
        groups=[(title, defined) for title, lines in two.groups if (defined := list(filter(_is_defined, lines)))],
        questions=await _texts(reader, first, part.items),
        part=part,
        page_url=partial(compare_url, first, second),
    )


def _is_defined(metric: MetricOfTwo) -> bool:
    return any(math.isfinite(cell.value) for cell in (metric.first, metric.second))


async def _texts(
    reader: RunReader, name: str, questions: Sequence[QuestionOfTwo]
) -> list[tuple[QuestionOfTwo, int, str]]:
    """Questions with their number in a run, from 1, and their text."""
    index = await reader.index(name)
    numbers = {one.id: number for one in questions if (number := index.number(one.id)) is not None}
    previews = await reader.previews(name, index, list(numbers.values()))
    texts = dict(zip(numbers, (text for _, text in previews), strict=True))
    return [(one, numbers[one.id] + 1, texts[one.id]) for one in questions if one.id in numbers]
