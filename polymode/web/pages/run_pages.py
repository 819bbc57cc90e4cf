"""Pages of runs: the list, one run with its questions, one question with all its data (layer L6)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode import runs
from polymode.report.table import Row, group_metrics, row_of
from polymode.uncertainty import Estimate
from polymode.web.browsing.question_index import SURE, Kind, QuestionIndex
from polymode.web.browsing.run_folders import RUN_FILES
from polymode.web.browsing.run_list import Entry, entry_of, headline, home_of, list_experiments
from polymode.web.pages.background_cache import NotReadyError
from polymode.web.pages.rendering import render
from polymode.web.pages.run_figures import drawing, figures, report
from polymode.web.pages.run_reader import MAX_ATTEMPTS, RunReader, in_preparation, problems_of_files
from polymode.web.pages.urls import list_part, run_url, whole_number
from polymode.web.problems import Problem

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


@dataclass(frozen=True, slots=True)
class MetricLine:
    """One metric of a table."""

    name: str
    row: Row
    """How the table writes it."""
    cell: Estimate


@dataclass(frozen=True, slots=True)
class Overview:
    """What a run's folder contains."""

    entry: Entry
    below: tuple[str, ...]
    """Names of the runs in its folder."""
    reports: tuple[str, ...]
    """Names of the folders with a report about it."""
    is_judged: bool


@dataclass(frozen=True, slots=True)
class ListedQuestion:
    """A question in a list."""

    number: int
    judged: runs.JudgedCompletion
    text: str
    n_found: int
    marks: tuple[str, ...]
    """Names of the filters that it falls under."""


def run_pages(reader: RunReader) -> APIRouter:
    """Routes of the list and of all runs."""
    router = APIRouter()

    @router.get("/runs")
    async def show_list(request: Request) -> Response:
        experiments, is_cut = await asyncio.to_thread(list_experiments, reader.folders)
        tables = [(one, headline(one.entries, HEADLINE)) for one in experiments]
        return render(
            request,
            "runs.html",
            title=reader.folders.title,
            tables=tables,
            row_of=row_of,
            is_cut=is_cut,
            run_url=run_url,
        )

    @router.get("/runs/{name:path}")
    async def show(name: str, request: Request) -> Response:
        part = request.query_params.get("part", "")
        if not name and part != "report":
            return RedirectResponse("/runs", 307)
        try:
            if "question" in request.query_params:
                return await show_question(reader, request, name)
            if part == "report":
                return await report(reader, name)
            if part == "figures":
                return await figures(reader, request, name)
            if part == "drawing":
                return drawing(await reader.figures(name), request)
            return await _run(reader, request, name)
        except NotReadyError:
            return in_preparation(request, name)

    return router


async def show_question(reader: RunReader, request: Request, name: str) -> Response:
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
    around = _around(selected, number - 1)
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
        run_url=run_url,
    )


async def _run(reader: RunReader, request: Request, name: str) -> Response:
    with problems_of_files(name):
        overview = await asyncio.to_thread(_overview, reader, name)
    questions, problem = None, ""
    if overview.is_judged:
        try:
            questions = await _questions(reader, request, name)
        except Problem as exc:  # the metrics are still shown
            if exc.field is not None:
                raise
            problem = f"{exc.title}; {exc.fix}"
    else:
        problem = f"not judged: there is no {runs.JUDGED}; run polymode evaluate on the folder"
    entry = overview.entry
    return render(
        request,
        "run.html",
        name=name,
        entry=entry,
        reports=overview.reports,
        below=overview.below,
        tiles=_metric_lines(entry, [name for name in HEADLINE if entry.cell(name) is not None]),
        groups=_groups(entry),
        questions=questions,
        problem=problem,
        sure=SURE,
        run_url=run_url,
    )


def _overview(reader: RunReader, name: str) -> Overview:
    folders = reader.folders
    folders.folder(name)
    if not any(folders.has(name, file) for file in RUN_FILES):
        raise Problem(404, "there is no such run", fix="go back to the list of runs")
    return Overview(
        entry=entry_of(folders, name),
        below=tuple(folders.names(name)),
        reports=tuple(place for place in dict.fromkeys((name, home_of(name))) if folders.has(place, runs.REPORT)),
        is_judged=folders.has(name, runs.JUDGED),
    )


async def _questions(reader: RunReader, request: Request, name: str) -> dict[str, Any]:
    index = await reader.index(name)
    selected, show, find = _selected(request, index)
    part = list_part(request, selected, PER_PAGE)
    previews = await reader.previews(name, index, part.items)
    counts = {key: len(index) if own is None else index.count(own) for key, own in FILTERS.items()}
    return {
        "listed": [
            ListedQuestion(number + 1, judged, text, index.n_found[number], _marks(index, number))
            for number, (judged, text) in zip(part.items, previews, strict=True)
        ],
        "counts": {key: count for key, count in counts.items() if count or key != "unscored"},
        "show": show,
        "find": find,
        "part": part,
        "page_url": lambda page: run_url(name, show=show, find=find, page=page),
    }


def _selected(request: Request, index: QuestionIndex) -> tuple[list[int], str, str]:
    show, find = request.query_params.get("show", "all"), request.query_params.get("find", "").strip()
    if show not in FILTERS:
        raise Problem(422, "no such list", field="show", value=show, allowed=", ".join(FILTERS), fix="choose one")
    return index.select(FILTERS[show], find), show, find


def _around(selected: Sequence[int], number: int) -> tuple[int | None, int | None]:
    """The questions before and after one in its list."""
    before = [at for at in selected if at < number]
    after = [at for at in selected if at > number]
    return before[-1] if before else None, after[0] if after else None


def _marks(index: QuestionIndex, number: int) -> tuple[str, ...]:
    own = Kind(index.kinds[number])
    return tuple(name for name, kind in FILTERS.items() if kind is not None and own & kind)


def _metric_lines(entry: Entry, names: Sequence[str]) -> list[MetricLine]:
    return [MetricLine(name, row_of(name), cell) for name in names if (cell := entry.cell(name)) is not None]


def _groups(entry: Entry) -> list[tuple[str, list[MetricLine]]]:
    names = [] if entry.metrics is None else list(entry.metrics.metrics)
    return [(title, _metric_lines(entry, members)) for title, members in group_metrics(names)]
