"""The page of a training run, also of one that has not ended: progress, latest figures, curves (layer L6)."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from polymode.report import charts
from polymode.web.browsing.run_folders import entry_of
from polymode.web.browsing.trainings import training_of
from polymode.web.pages.note_form import NoteForm, note_form
from polymode.web.pages.rendering import render, whole_number
from polymode.web.pages.run_reader import RunReader
from polymode.web.problems import Problem

DRAWING_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
REFRESH = {"training": 5, "stopped": 30, "finished": 0}
"""Seconds until the script asks for the page again; 0 for never."""


async def training_page(reader: RunReader, request: Request, name: str, refused: NoteForm | None = None) -> Response:
    """The page; without the script, loading it again shows the latest step. ``refused``: a note not written."""
    training = await asyncio.to_thread(training_of, reader.folders, name)
    entry = await asyncio.to_thread(entry_of, reader.folders, name)
    curves = await reader.curves(training) if training.rows else (0, ())
    response = render(
        request,
        "training.html",
        training=training,
        settings=entry.settings,
        below=await asyncio.to_thread(lambda: list(reader.folders.names(name))),
        version=None if curves is None else curves[0],
        curves=() if curves is None else curves[1],
        refresh=2 if curves is None else REFRESH[training.state],
        form=refused or await asyncio.to_thread(note_form, reader.folders, name),
        status=422 if refused else 200,
    )
    if curves is None and refused is None:  # for browsers without the script
        response.headers["Refresh"] = "3"
    return response


def drawing(reader: RunReader, request: Request, name: str) -> Response:
    """One drawing as a file, which pages only embed as an image."""
    figure, panel = whole_number(request, "figure", 0, low=0), whole_number(request, "panel", 0, low=0)
    curves = reader.drawn(name)
    if figure >= len(curves) or panel >= len(curves[figure].panels):
        raise Problem(404, "there is no such drawing", fix="load the page of the training again")
    response = Response(charts.svg_file(curves[figure].panels[panel].svg), media_type="image/svg+xml")
    response.headers["Content-Security-Policy"] = DRAWING_POLICY
    return response
