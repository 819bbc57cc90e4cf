"""Pages of runs: the list, one run with its questions, one question with all its data, reports (layer L6)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from polymode import runs
from polymode.errors import PolymodeError
from polymode.uncertainty.intervals import exact_interval
from polymode.web.browsing.question_index import SURE, Kind, QuestionIndex
from polymode.web.browsing.run_folders import (
    Entry,
    RunFolders,
    entry_of,
    home_of,
    is_run,
    list_experiments,
    train_of,
)
from polymode.web.browsing.trainings import is_training, list_trainings
from polymode.web.pages.rendering import (
    below_base_path,
    compare_url,
    list_name,
    list_part,
    render,
    run_url,
    whole_number,
)
from polymode.web.pages.run_reader import MAX_ATTEMPTS, RunReader
from polymode.web.pages.training_page import drawing, training_page
from polymode.web.problems import Problem, problem_of_error

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""Content policy of reports: their own styles and images, nothing else."""
LETTERS = "ABCDEFGHIJKL"
"""Names of runs beside each other, which are at most so many."""
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
        trainings = await asyncio.to_thread(list_trainings, reader.folders)
        tables = [
            (one, [name for name in HEADLINE if any(entry.cell(name) is not None for entry in one.entries)])
            for one in experiments
        ]
        return render(
            request, "runs.html", title=reader.folders.title, tables=tables, is_cut=is_cut, trainings=trainings
        )

    @router.get("/runs/{name:path}")
    async def show(name: str, request: Request) -> Response:
        part = request.query_params.get("part", "")
        if not name and part != "report":
            return RedirectResponse("/runs", 307)
        if "question" in request.query_params:
            return await _question(reader, request, name)
        if part == "report":
            return await _report(reader, request, name)
        if part == "drawing":
            return drawing(reader, request, name)
        if part == "training" or (is_training(reader.folders, name) and not is_run(reader.folders, name)):
            return await training_page(reader, request, name)
        return await _run(reader, request, name)

    return router


async def _question(reader: RunReader, request: Request, name: str) -> Response:
    """One question; with ``beside`` also as other runs answered it."""
    index = await reader.index(name)
    number = whole_number(request, "question", 1)
    if number > len(index):
        raise Problem(404, f"{name} has {len(index):,} questions", fix="go back to the list of questions")
    sides = [(name, number, await reader.question(name, index, number - 1))]
    for beside in chosen_runs(request, "beside"):
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
        comparison=compare_url([side for side, *_ in sides], part="questions"),
        letters=LETTERS,
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
    return render(
        request,
        "run.html",
        name=name,
        entry=entry,
        reports=reports,
        below=below,
        training=train_of(reader.folders, name),
        headline=[metric for metric in HEADLINE if entry.cell(metric) is not None],
        questions=questions,
        problem=problem,
        sure=SURE,
    )


def _overview(folders: RunFolders, name: str) -> tuple[Entry, list[str], list[str]]:
    """A run as lists show it, the names of the runs in its folder, and of the folders with a report about it."""
    folders.folder(name)
    if not is_run(folders, name):
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
        "shares": {
            key: (counts[key] / len(index), *exact_interval(counts[key], len(index)))
            for key, kind in FILTERS.items()
            if kind is not None and len(index) and (counts[key] or key != "unscored")
        },
        "show": show,
        "find": find,
        "part": part,
        "page_url": partial(run_url, name, show=show, find=find),
    }


def _selected(request: Request, index: QuestionIndex) -> tuple[list[int], str, str]:
    """Places of the questions that the address asks for, and by which list and which part of the id."""
    show, find = list_name(request, FILTERS, "all"), request.query_params.get("find", "").strip()
    return index.select(FILTERS[show], find), show, find


def chosen_runs(request: Request, field: str) -> list[str]:
    """The different runs that the address names, in its order; raises Problem when they are too many."""
    names = list(dict.fromkeys(name for name in request.query_params.getlist(field) if name))
    if len(names) > len(LETTERS):
        allowed = f"up to {len(LETTERS)} runs"
        raise Problem(422, "too many runs", field=field, value=str(len(names)), allowed=allowed, fix="choose fewer")
    return names


async def _report(reader: RunReader, request: Request, name: str) -> Response:
    """The report.html of a folder as it is, or for a run without one the report that is made of its files."""
    path = await asyncio.to_thread(reader.folders.file, name, runs.REPORT)
    if path is not None:
        # Not trusted, whoever wrote it: no script or form in it works (``sandbox``).
        response = FileResponse(path, media_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = f"{REPORT_POLICY}; sandbox"
        return response
    if not reader.folders.has(name, runs.METRICS):
        fix = "polymode evaluate writes what a report is made of; polymode reproduce and polymode compare write one"
        raise Problem(404, f"there is no {runs.REPORT}, and no {runs.METRICS} to make one of", fix=fix)
    links = (("\N{LEFTWARDS ARROW} Runs", "/runs"), ("This run and its questions", run_url(name)))
    return report_page(request, await reader.report(name, title=name, links=links))


def report_page(request: Request, html: str) -> Response:
    """A report that this server made: all texts in it are escaped, so that its links may lead back to the pages."""
    response = HTMLResponse(below_base_path(request, html))
    response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response
