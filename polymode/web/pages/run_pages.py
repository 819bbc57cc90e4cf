"""Pages of runs: the list, one run with its questions, one question with all that is known of it (layer L4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode import runs
from polymode.report.table import group_metrics, row_of
from polymode.web.browsing.judged import SURE, Judged
from polymode.web.browsing.numbers import Cell
from polymode.web.browsing.question_index import Index, Kind
from polymode.web.browsing.run_folders import SHOWN
from polymode.web.browsing.run_list import Entry, entry_of, headline, home_of, list_experiments
from polymode.web.pages.background_cache import NotReadyError
from polymode.web.pages.rendering import render
from polymode.web.pages.run_figures import drawing, figures, report
from polymode.web.pages.run_reader import MAX_ATTEMPTS, RunReader, in_preparation, problems_of_files, whole_number
from polymode.web.pages.urls import run_url
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
    label: str
    better: str
    decimals: int
    cell: Cell


@dataclass(frozen=True, slots=True)
class About:
    """What there is of a run."""

    entry: Entry
    below: tuple[str, ...]
    """Names of the runs in its folder."""
    reports: tuple[str, ...]
    """Names of the folders that hold a report about it."""
    is_judged: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """A question in a list."""

    number: int
    judged: Judged
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
        lines = {name: row_of(name) for _, names in tables for name in names}
        return render(
            request, "runs.html", title=reader.folders.title, tables=tables, rows=lines, is_cut=is_cut, run_url=run_url
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
    selected, show, part = _selected(request, index)
    around = _around(selected, number - 1)
    return render(
        request,
        "question.html",
        sides=sides,
        question=sides[0][2],
        n_questions=len(index),
        n_attempts=[len((await reader.index(side)).lines(at - 1).judged) for side, at, _ in sides],
        max_attempts=MAX_ATTEMPTS,
        around=[None if at is None else run_url(name, question=at + 1, show=show, find=part) for at in around],
        back=run_url(name, show=show, find=part),
        show=show,
        run_url=run_url,
    )


async def _run(reader: RunReader, request: Request, name: str) -> Response:
    with problems_of_files(name):
        about = await asyncio.to_thread(_about, reader, name)
    questions, problem = None, ""
    if about.is_judged:
        try:
            questions = await _questions(reader, request, name)
        except Problem as exc:  # the metrics are shown all the same
            if exc.field is not None:
                raise
            problem = f"{exc.title}; {exc.fix}"
    else:
        problem = f"not judged: there is no {runs.JUDGED}; run polymode evaluate on the folder"
    entry = about.entry
    return render(
        request,
        "run.html",
        name=name,
        entry=entry,
        reports=about.reports,
        below=about.below,
        tiles=_lines(reader, entry, [name for name in HEADLINE if entry.cell(name) is not None]),
        groups=_groups(reader, entry),
        questions=questions,
        problem=problem,
        sure=SURE,
        run_url=run_url,
    )


def _about(reader: RunReader, name: str) -> About:
    folders = reader.folders
    folders.folder(name)
    if not any(folders.has(name, file) for file in SHOWN):
        raise Problem(404, "there is no such run", fix="go back to the list of runs")
    return About(
        entry=entry_of(folders, name),
        below=tuple(folders.names(name)),
        reports=tuple(place for place in dict.fromkeys((name, home_of(name))) if folders.has(place, runs.REPORT)),
        is_judged=folders.has(name, runs.JUDGED),
    )


async def _questions(reader: RunReader, request: Request, name: str) -> dict[str, Any]:
    index = await reader.index(name)
    selected, show, part = _selected(request, index)
    n_pages = max(-(-len(selected) // PER_PAGE), 1)
    page = min(whole_number(request, "page", 1), n_pages)
    shown = selected[(page - 1) * PER_PAGE : page * PER_PAGE]
    previews = await reader.previews(name, index, shown)
    counts = {key: len(index) if own is None else index.count(own) for key, own in FILTERS.items()}
    return {
        "listed": [
            Listed(number + 1, judged, text, index.found[number], _marks(index, number))
            for number, (judged, text) in zip(shown, previews, strict=True)
        ],
        "counts": {key: count for key, count in counts.items() if count or key != "unscored"},
        "show": show,
        "find": part,
        "n_selected": len(selected),
        "first": (page - 1) * PER_PAGE + 1,
        "page": page,
        "n_pages": n_pages,
    }


def _selected(request: Request, index: Index) -> tuple[list[int], str, str]:
    show, part = request.query_params.get("show", "all"), request.query_params.get("find", "").strip()
    if show not in FILTERS:
        raise Problem(422, "no such list", field="show", value=show, allowed=", ".join(FILTERS), fix="choose one")
    return index.select(FILTERS[show], part), show, part


def _around(selected: Sequence[int], number: int) -> tuple[int | None, int | None]:
    """The questions before and after one in its list."""
    before = [at for at in selected if at < number]
    after = [at for at in selected if at > number]
    return before[-1] if before else None, after[0] if after else None


def _marks(index: Index, number: int) -> tuple[str, ...]:
    own = Kind(index.kinds[number])
    return tuple(name for name, kind in FILTERS.items() if kind is not None and own & kind)


def _lines(reader: RunReader, entry: Entry, names: Sequence[str]) -> list[MetricLine]:
    found = []
    for name in names:
        row, cell = row_of(name), entry.cell(name)
        if cell is not None:
            found.append(MetricLine(name, row.label, row.better, row.decimals, cell))
    return found


def _groups(reader: RunReader, entry: Entry) -> list[tuple[str, list[MetricLine]]]:
    names = [] if entry.metrics is None else list(entry.metrics.cells)
    return [(title, _lines(reader, entry, found)) for title, found in group_metrics(names)]
