"""Pages of a comparison: choosing the runs, their report, the questions that they differ in (layer L6)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from polymode import runs
from polymode.compare.columns import DEEP
from polymode.web.pages.question_pages import LETTERS, PER_PAGE, chosen_runs
from polymode.web.pages.rendering import compare_url, list_part, render
from polymode.web.pages.run_pages import report_page
from polymode.web.pages.run_reader import RunReader


def compare_page(reader: RunReader) -> APIRouter:
    """Routes of the comparison."""
    router = APIRouter()

    @router.get("/compare")
    async def compare(request: Request) -> Response:
        names = chosen_runs(request, "run")
        if against := request.query_params.get("against", ""):
            names = [against, *(name for name in names if name != against)]
        part = request.query_params.get("part", "")
        if len(names) < 2 or part == "choose":
            is_refused = len(names) == 1 and part != "choose"
            evaluated = await asyncio.to_thread(_evaluated, reader)
            error = "Choose at least two different runs." if is_refused else ""
            return render(request, "compare.html", names=evaluated, chosen=names, error=error, most=len(LETTERS))
        if part == "questions":
            return await _questions(reader, request, names)
        links = (
            ("\N{LEFTWARDS ARROW} Runs", "/runs"),
            ("Questions that differ", compare_url(names, part="questions")),
            ("Choose other runs", compare_url(names, part="choose")),
        )
        title = f"Comparison of {len(names)} runs"
        return report_page(request, await reader.report(*names, title=title, links=links))

    return router


def _evaluated(reader: RunReader) -> list[str]:
    """Runs that can be compared."""
    return [
        name
        for name in reader.folders.names()
        if name.rpartition("/")[2] != DEEP and all(reader.folders.has(name, f) for f in (runs.METRICS, runs.JUDGED))
    ]


async def _questions(reader: RunReader, request: Request, names: Sequence[str]) -> Response:
    differing = await reader.differing(names)
    part = list_part(request, differing.questions, PER_PAGE)
    index = await reader.index(names[0])
    numbers = {one.id: number for one in part.items if (number := index.number(one.id)) is not None}
    previews = await reader.previews(names[0], index, list(numbers.values()))
    texts = dict(zip(numbers, (text for _, text in previews), strict=True))
    return render(
        request,
        "differing.html",
        names=names,
        letters=LETTERS,
        n_shared=differing.n_shared,
        questions=[(one, numbers[one.id] + 1, texts[one.id]) for one in part.items if one.id in numbers],
        part=part,
        report=compare_url(names),
        choose=compare_url(names, part="choose"),
        page_url=partial(compare_url, names, part="questions"),
    )
