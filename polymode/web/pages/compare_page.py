"""Two runs side by side: metrics, paired differences, the questions they differ in (layer L6)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from polymode import runs
from polymode.compare.columns import DEEP
from polymode.compare.two_runs import MetricOfTwo, QuestionOfTwo
from polymode.report.table import row_of
from polymode.web.pages.background_cache import NotReadyError
from polymode.web.pages.rendering import render
from polymode.web.pages.run_figures import drawing, drawings
from polymode.web.pages.run_reader import RunReader, in_preparation
from polymode.web.pages.urls import compare_url, list_part, run_url

PER_PAGE = 25


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
        row_of=row_of,
        groups=[(title, defined) for title, lines in two.groups if (defined := list(filter(_is_defined, lines)))],
        questions=await _texts(reader, first, part.items),
        part=part,
        page_url=lambda page: compare_url(first, second, page=page),
        run_url=run_url,
        compare_url=compare_url,
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
