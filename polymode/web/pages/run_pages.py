"""Pages of runs: the list, one run with its questions, one question with all its data, reports (layer L6)."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from polymode import runs
from polymode.errors import PolymodeError
from polymode.web.browsing.question_index import SURE
from polymode.web.browsing.run_folders import (
    Entry,
    RunFolders,
    entry_of,
    home_of,
    is_run,
    list_experiments,
    train_of,
)
from polymode.web.browsing.run_table import HEADLINE, arrange, orders
from polymode.web.browsing.trainings import is_training, list_trainings
from polymode.web.pages.forms import read_form, reviewer_of
from polymode.web.pages.note_form import NoteForm, note_form, write_note
from polymode.web.pages.question_pages import list_questions, question_page
from polymode.web.pages.rendering import below_base_path, render, run_url, runs_url
from polymode.web.pages.run_reader import RunReader
from polymode.web.pages.training_page import drawing, training_page
from polymode.web.problems import Problem, problem_of_error

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""Content policy of reports: their own styles and images, nothing else."""


def run_pages(reader: RunReader) -> APIRouter:
    """Routes of the list and of all runs."""
    router = APIRouter()

    @router.get("/runs")
    async def show_list(request: Request) -> Response:
        return await _list(reader, request)

    @router.get("/runs/{name:path}")
    async def show(name: str, request: Request) -> Response:
        part = request.query_params.get("part", "")
        if not name and part != "report":
            return RedirectResponse("/runs", 307)
        if "question" in request.query_params:
            return await question_page(reader, request, name)
        if part == "report":
            return await _report(reader, request, name)
        if part == "drawing":
            return drawing(reader, request, name)
        if part == "training" or (is_training(reader.folders, name) and not is_run(reader.folders, name)):
            return await training_page(reader, request, name)
        return await _run(reader, request, name)

    @router.post("/runs/{name:path}")
    async def write(name: str, request: Request) -> Response:
        form = await read_form(request)
        by = reviewer_of(request)
        if not (is_run(reader.folders, name) or is_training(reader.folders, name)):
            raise Problem(404, "there is no such run", fix="go back to the list of runs")
        fields = (form.get("note"), form.get("mark"))
        refused = await asyncio.to_thread(lambda: write_note(reader.folders, name, *fields, by))
        if refused is None:
            return RedirectResponse(run_url(name) + "#note", 303)
        if is_run(reader.folders, name):
            return await _run(reader, request, name, refused)
        return await training_page(reader, request, name, refused)

    return router


async def _list(reader: RunReader, request: Request) -> Response:
    """The list of all runs, as the address asks for it."""
    params = request.query_params
    find, sort, columns = params.get("find", "").strip(), params.get("sort", ""), params.getlist("column")
    experiments, is_cut = await asyncio.to_thread(list_experiments, reader.folders)
    trainings = await asyncio.to_thread(list_trainings, reader.folders)
    table = arrange(experiments, trainings, find=find, sort=sort, columns=columns)
    ways = orders(table.columns)
    return render(
        request,
        "runs.html",
        title=reader.folders.title,
        table=table,
        is_cut=is_cut,
        find=find,
        sort=sort,
        orders=ways if sort in ways else {**ways, sort: sort},
        list_url=lambda order: runs_url(find=find, sort=order, column=columns),
    )


async def _run(reader: RunReader, request: Request, name: str, refused: NoteForm | None = None) -> Response:
    """The page of a run; ``refused`` is a note that could not be written."""
    folders = reader.folders
    entry, below, reports = await asyncio.to_thread(_overview, folders, name)
    questions, problem = None, f"not judged: there is no {runs.JUDGED}; run polymode evaluate on the folder"
    if folders.has(name, runs.JUDGED):
        try:
            questions, problem = await list_questions(reader, request, name), ""
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
        form=refused or await asyncio.to_thread(note_form, folders, name),
        status=422 if refused else 200,
    )


def _overview(folders: RunFolders, name: str) -> tuple[Entry, list[str], list[str]]:
    """A run as lists show it, the names of the runs in its folder, and of the folders with a report about it."""
    folders.folder(name)
    if not is_run(folders, name):
        raise Problem(404, "there is no such run", fix="go back to the list of runs")
    reports = [place for place in dict.fromkeys((name, home_of(name))) if folders.has(place, runs.REPORT)]
    return entry_of(folders, name), list(folders.names(name)), reports


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
