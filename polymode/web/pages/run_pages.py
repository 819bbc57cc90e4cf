"""Pages of runs: the list, one run with its questions, one question with all its data (layer L6)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from polymode import runs
from polymode.compare.columns import DEEP
from polymode.compare.figures import DrawnFigure
from polymode.errors import PolymodeError
from polymode.report.table import group_metrics
from polymode.web.browsing.question_index import SURE, Kind, QuestionIndex
from polymode.web.browsing.run_folders import RUN_FILES, Entry, RunFolders, entry_of, home_of, list_experiments
from polymode.web.pages.rendering import compare_url, list_name, list_part, render, run_url, whole_number
from polymode.web.pages.run_reader import MAX_ATTEMPTS, RunReader
from polymode.web.problems import Problem, problem_of_error

FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
"""Content policy of files in run folders: their own styles and images, nothing else."""
PER_PAGE = 25
"""Questions on a page."""
HEADLINE = ("coverage", "pass@1", "brier", "ece", "tokens_per_set")
"""Metrics of the lists."""
FILTERS: dict[str, Kind | None] = {
    "all": None,
    "missed": Kind.MISSED,
    "malformed": Kind.MALFORMED,
    "overconfident": Kind.OVERCONFIDENT,
    "unscored": Kind.UNSCORED,
}
"""Lists of questions by name."""


def run_pages(reader: RunReader) -> APIRouter:
    """Routes of the list and of all runs."""
    router = APIRouter()

    @router.get("/runs")
    async def show_list(request: Request) -> Response:
        experiments, is_cut = await asyncio.to_thread(list_experiments, reader.folders)
        tables = [
            (one, [name for name in HEADLINE if any(entry.cell(name) is not None for entry in one.entries)])
            for one in experiments
        ]
        return render(request, "runs.html", title=reader.folders.title, tables=tables, is_cut=is_cut)

    @router.get("/runs/{name:path}")
    async def show(name: str, request: Request) -> Response:
        part = request.query_params.get("part", "")
        if not name and part != "report":
            return RedirectResponse("/runs", 307)
        if "question" in request.query_params:
            return await _question(reader, request, name)
        if part == "report":
            return await _report(reader, name)
        if part == "figures":
            return figures_page(request, await reader.figures(name), name, partial(run_url, name))
        if part == "drawing":
            return drawing(await reader.figures(name), request)
        return await _run(reader, request, name)

    return router


async def _question(reader: RunReader, request: Request, name: str) -> Response:
    """One question; with ``beside`` also as another run answered it."""
    index = await reader.index(name)
    number = whole_number(request, "question", 1)
    if number > len(index):
        raise Problem(404, f"{name} has {len(index):,} questions", fix="go back to the list of questions")
    sides = [(name, number, await reader.question(name, index, number - 1))]
    beside = request.query_params.get("beside", "")
    if beside:
        other = await reader.index(beside)
        place = other.number(sides[0][2].id)
        if place is None:
            raise Problem(404, f"{beside} has no question {sides[0][2].id!r}", fix="go back to the comparison")
        sides.append((beside, place + 1, await reader.question(beside, other, place)))
    selected, show, find = _selected(request, index)
    before = [at for at in selected if at < number - 1]
    after = [at for at in selected if at >= number]
    around = [before[-1] if before else None, after[0] if after else None]
    return render(
        request,
        "question.html",
        sides=sides,
        question=sides[0][2],
        n_questions=len(index),
        n_attempts=[len((await reader.index(side)).offsets(at - 1).judged) for side, at, _ in sides],
        max_attempts=MAX_ATTEMPTS,
        around=[None if at is None else run_url(name, question=at + 1, show=show, find=find) for at in around],
        back=run_url(name, show=show, find=find),
        show=show,
    )


async def _run(reader: RunReader, request: Request, name: str) -> Response:
    folders = reader.folders
    entry, below, reports = await asyncio.to_thread(_overview, folders, name)
    questions, problem = None, f"not judged: there is no {runs.JUDGED}; run polymode evaluate on the folder"
    if folders.has(name, runs.JUDGED):
        try:
            questions, problem = await _questions(reader, request, name), ""
        except (PolymodeError, OSError) as exc:  # the metrics are still shown
            problem = problem_of_error(exc).line()
    names = [] if entry.metrics is None else list(entry.metrics.metrics)
    return render(
        request,
        "run.html",
        name=name,
        entry=entry,
        reports=reports,
        below=below,
        headline=[metric for metric in HEADLINE if entry.cell(metric) is not None],
        groups=group_metrics(names),
        questions=questions,
        problem=problem,
        sure=SURE,
    )


def _overview(folders: RunFolders, name: str) -> tuple[Entry, list[str], list[str]]:
    """A run as lists show it, the names of the runs in its folder, and of the folders with a report about it."""
    folders.folder(name)
    if not any(folders.has(name, file) for file in RUN_FILES):
        raise Problem(404, "there is no such run", fix="go back to the list of runs")
    reports = [place for place in dict.fromkeys((name, home_of(name))) if folders.has(place, runs.REPORT)]
    return entry_of(folders, name), list(folders.names(name)), reports


async def _questions(reader: RunReader, request: Request, name: str) -> dict[str, Any]:
    index = await reader.index(name)
    selected, show, find = _selected(request, index)
    part = list_part(request, selected, PER_PAGE)
    previews = await reader.previews(name, index, part.items)
    counts = {key: len(index) if own is None else index.count(own) for key, own in FILTERS.items()}
    return {
        "rows": [
            {
                "number": number + 1,
                "judged": judged,
                "text": text,
                "n_found": index.n_found[number],
                "marks": [key for key, kind in FILTERS.items() if kind is not None and index.kinds[number] & kind],
            }
            for number, (judged, text) in zip(part.items, previews, strict=True)
        ],
        "counts": {key: count for key, count in counts.items() if count or key != "unscored"},
        "show": show,
        "find": find,
        "part": part,
        "page_url": partial(run_url, name, show=show, find=find),
    }


def _selected(request: Request, index: QuestionIndex) -> tuple[list[int], str, str]:
    """Places of the questions that the address asks for, and by which list and which part of the id."""
    show, find = list_name(request, FILTERS, "all"), request.query_params.get("find", "").strip()
    return index.select(FILTERS[show], find), show, find


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
        return await _comparison(reader, request, first, second)

    return router


def _evaluated(reader: RunReader) -> list[str]:
    """Runs that can be compared."""
    return [
        name
        for name in reader.folders.names()
        if name.rpartition("/")[2] != DEEP and all(reader.folders.has(name, f) for f in (runs.METRICS, runs.JUDGED))
    ]


async def _comparison(reader: RunReader, request: Request, first: str, second: str) -> Response:
    two = await reader.compared(first, second)
    part = list_part(request, two.questions, PER_PAGE)
    groups = [
        (title, [line for line in lines if math.isfinite(line.first.value) or math.isfinite(line.second.value)])
        for title, lines in two.groups
    ]
    index = await reader.index(first)
    numbers = {one.id: number for one in part.items if (number := index.number(one.id)) is not None}
    previews = await reader.previews(first, index, list(numbers.values()))
    texts = dict(zip(numbers, (text for _, text in previews), strict=True))
    return render(
        request,
        "comparison.html",
        a=first,
        b=second,
        two=two,
        groups=[(title, lines) for title, lines in groups if lines],
        questions=[(one, numbers[one.id] + 1, texts[one.id]) for one in part.items if one.id in numbers],
        part=part,
        page_url=partial(compare_url, first, second),
    )


def figures_page(request: Request, figures: Sequence[DrawnFigure], title: str, url: Callable[..., str]) -> Response:
    """The page of all figures; ``url`` makes the address of the runs' page with a query."""
    panels = [
        (figure, [(panel, url(part="drawing", figure=figure.id, panel=i)) for i, panel in enumerate(figure.panels)])
        for figure in figures
    ]
    return render(request, "figures.html", title=title, figures=panels, back=url())


def drawing(figures: Sequence[DrawnFigure], request: Request) -> Response:
    """One drawing as a file, which pages only embed as an image."""
    id_, panel = request.query_params.get("figure"), whole_number(request, "panel", 0, low=0)
    for figure in figures:
        if figure.id == id_ and panel < len(figure.panels):
            return _file(Response(figure.panels[panel].svg, media_type="image/svg+xml"))
    raise Problem(404, "there is no such drawing", fix="go back to the figures")


async def _report(reader: RunReader, name: str) -> Response:
    """The report.html of a folder."""
    path = await asyncio.to_thread(reader.folders.file, name, runs.REPORT)
    if path is None:
        raise Problem(404, f"there is no {runs.REPORT}", fix="polymode reproduce and polymode compare write one")
    return _file(FileResponse(path, media_type="text/html; charset=utf-8"))


def _file(response: Response) -> Response:
    """A file of a run folder, which is not trusted: no script or form in it works (``sandbox``)."""
    response.headers["Content-Security-Policy"] = f"{FILE_POLICY}; sandbox"
    return response
