"""Figures of runs, and the reports in their folders (layer L6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from polymode import runs
from polymode.compare.figures import DrawnFigure
from polymode.web.pages.rendering import render
from polymode.web.pages.run_reader import RunReader
from polymode.web.pages.urls import whole_number
from polymode.web.problems import Problem

FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
"""Content policy of files in run folders: their own styles and images, nothing else."""


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
            return file_response(Response(figure.panels[panel].svg, media_type="image/svg+xml"))
    raise Problem(404, "there is no such drawing", fix="go back to the figures")


async def report(reader: RunReader, name: str) -> Response:
    """The report.html of a folder."""
    path = await asyncio.to_thread(reader.folders.file, name, runs.REPORT)
    if path is None:
        raise Problem(404, f"there is no {runs.REPORT}", fix="polymode reproduce and polymode compare write one")
    return file_response(FileResponse(path, media_type="text/html; charset=utf-8"))


def file_response(response: Response) -> Response:
    """A file of a run folder, which is not trusted: no script or form in it works (``sandbox``)."""
    response.headers["Content-Security-Policy"] = f"{FILE_POLICY}; sandbox"
    return response
