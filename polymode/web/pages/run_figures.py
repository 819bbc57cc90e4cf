"""Figures of runs, and the reports in their folders (layer L6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from polymode import runs
from polymode.compare.figures import DrawnFigure, DrawnPanel
from polymode.web.pages.rendering import render
from polymode.web.pages.run_reader import RunReader, problems_of_files
from polymode.web.pages.urls import run_url, whole_number
from polymode.web.problems import Problem

FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
"""Content policy of files in run folders: their own styles and images, nothing else."""


async def figures(reader: RunReader, request: Request, name: str) -> Response:
    """The page of a run's figures."""
    return render(
        request,
        "figures.html",
        title=name,
        figures=[
            (figure, drawings(figure, lambda **query: run_url(name, part="drawing", **query)))
            for figure in await reader.figures(name)
        ],
        back=run_url(name),
    )


def drawings(figure: DrawnFigure, url: Callable[..., str]) -> list[tuple[DrawnPanel, str]]:
    """The panels of a figure, each with its address."""
    return [(panel, url(figure=figure.id, panel=i)) for i, panel in enumerate(figure.panels)]


def drawing(figures: Sequence[DrawnFigure], request: Request) -> Response:
    """One drawing as a file, which pages only embed as an image."""
    id_, panel = request.query_params.get("figure"), whole_number(request, "panel", 0, low=0)
    for figure in figures:
        if figure.id == id_ and panel < len(figure.panels):
            return file_response(Response(figure.panels[panel].svg, media_type="image/svg+xml"))
    raise Problem(404, "there is no such drawing", fix="go back to the figures")


async def report(reader: RunReader, name: str) -> Response:
    """The report.html of a folder."""
    with problems_of_files(name):
        path = await asyncio.to_thread(reader.folders.file, name, runs.REPORT)
    if path is None:
        raise Problem(404, f"there is no {runs.REPORT}", fix="polymode reproduce and polymode compare write one")
    return file_response(FileResponse(path, media_type="text/html; charset=utf-8"))


def file_response(response: Response) -> Response:
    """A file of a run folder, which is not trusted: no script or form in it works (``sandbox``)."""
    response.headers["Content-Security-Policy"] = f"{FILE_POLICY}; sandbox"
    return response
