"""Run folders for the pages: read in threads, what takes long is kept, what is damaged is told as a problem (L4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from polymode import runs
from polymode.compare.drawn_runs import DrawnFigure, figures_of
from polymode.compare.two_runs import TwoRuns, compare_two
from polymode.errors import DataNotFoundError, PolymodeError
from polymode.web.browsing.judged import Judged, judged_from
from polymode.web.browsing.lines import ChangedError, read_at, stamp_of
from polymode.web.browsing.numbers import read_metrics, read_object
from polymode.web.browsing.question_index import NOWHERE, Index, build_index, stamps_of
from polymode.web.browsing.question_view import Question, question_of, shorten, text_of
from polymode.web.browsing.run_folders import RunFolders
from polymode.web.pages.background_cache import BackgroundCache
from polymode.web.pages.rendering import render
from polymode.web.problems import Problem

T = TypeVar("T")
MAX_ATTEMPTS = 40
"""Completions of one question that are shown."""
PATIENCE = 2.0
"""Seconds until a page says that it is being prepared."""


class RunReader:
    """Reads the runs of one server.

    Args:
        folders: which runs there are.
    """

    def __init__(self, folders: RunFolders) -> None:
        self.folders = folders
        self._indices: BackgroundCache[Index] = BackgroundCache(size=8)
        self._figures: BackgroundCache[list[DrawnFigure]] = BackgroundCache(size=8)
        self._compared: BackgroundCache[TwoRuns] = BackgroundCache(size=4)

    async def index(self, name: str) -> Index:
        """Where the questions of a run stand.

        Raises:
            Problem: a file is missing, damaged or cannot be read.
            NotYetError: it is being made.
        """
        with problems_of_files(name):
            files = await asyncio.to_thread(self._files, name)
            stamps = await asyncio.to_thread(stamps_of, *files)
            make = _made(lambda: build_index(*files, name))
            return await self._indices.get((files, stamps), make, patience=PATIENCE)

    async def previews(self, name: str, index: Index, numbers: list[int]) -> list[tuple[Judged, str]]:
        """The first judged completion and the text of some questions.

        Raises:
            Problem: as `index`.
        """
        with problems_of_files(name):
            return await asyncio.to_thread(self._previews, name, index, numbers)

    async def question(self, name: str, index: Index, number: int) -> Question:
        """A question with its first completions.

        Raises:
            Problem: as `index`.
        """
        with problems_of_files(name):
            return await asyncio.to_thread(self._question, name, index, number)

    async def figures(self, *names: str) -> list[DrawnFigure]:
        """The figures of one run, or of two.

        Raises:
            Problem: they cannot be drawn.
            NotYetError: they are being drawn.
        """
        with problems_of_files(names[0]):
            key, folders = await asyncio.to_thread(self._evaluated, names)
            make = _made(lambda: figures_of(*folders))
            return await self._figures.get(key, make, patience=PATIENCE)

    async def compared(self, first: str, second: str) -> TwoRuns:
        """Two runs beside each other; raises as `figures`."""
        with problems_of_files(first):
            key, folders = await asyncio.to_thread(self._evaluated, (first, second))
            make = _made(lambda: compare_two(*folders))
            return await self._compared.get(key, make, patience=PATIENCE)

    def _files(self, name: str) -> tuple[Path, Path | None]:
        judged = self.folders.file(name, runs.JUDGED)
        if judged is None:
            raise DataNotFoundError(f"{name}/{runs.JUDGED} is missing: run polymode evaluate on the folder")
        return judged, self.folders.file(name, runs.COMPLETIONS)

    def _evaluated(self, names: tuple[str, ...]) -> tuple[tuple[object, ...], list[Path]]:
        """Folders whose metrics can be used, and a key that names the versions of all their files."""
        key: list[object] = []
        for name in names:
            path = self.folders.file(name, runs.METRICS)
            if path is None:
                raise DataNotFoundError(f"{name}/{runs.METRICS} is missing: run polymode evaluate on the folder")
            read_metrics(path, f"{name}/{runs.METRICS}")
            above = name.rpartition("/")[0]
            for place, file in [
                *((name, file) for file in (runs.METRICS, runs.COMPLETIONS, runs.CONFIG)),
                *((above, file) for file in (runs.TRAIN_METRICS, runs.CONFIG) if above),
            ]:
                found = self.folders.file(place, file) if self.folders.has(place, file) else None
                if found is not None and file == runs.CONFIG:
                    read_object(found, f"{place}/{file}")
                key.append(None if found is None else (found, stamp_of(found)))
        return tuple(key), [self.folders.folder(name) for name in names]

    def _previews(self, name: str, index: Index, numbers: list[int]) -> list[tuple[Judged, str]]:
        found = []
        for number in numbers:
            lines = index.lines(number)
            [judged] = self._judged(name, index, lines.judged[:1])
            [row] = self._rows(name, index, lines.completions[:1])
            found.append((judged, "" if row is None else shorten(text_of(row), 200)))
        return found

    def _question(self, name: str, index: Index, number: int) -> Question:
        lines = index.lines(number)
        judged = self._judged(name, index, lines.judged[:MAX_ATTEMPTS])
        rows = self._rows(name, index, lines.completions[:MAX_ATTEMPTS])
        where = [f"{name}/{runs.COMPLETIONS}, byte {offset}" for offset in lines.completions[:MAX_ATTEMPTS]]
        return question_of(judged, rows, where)

    def _judged(self, name: str, index: Index, offsets: tuple[int, ...]) -> list[Judged]:
        path, shown = self._files(name)[0], f"{name}/{runs.JUDGED}"
        rows = read_at(path, shown, index.stamps[0], offsets)
        return [judged_from(row, f"{shown}, byte {at}") for row, at in zip(rows, offsets, strict=True)]

    def _rows(self, name: str, index: Index, offsets: tuple[int, ...]) -> list[dict[str, object] | None]:
        path, stamp = self._files(name)[1], index.stamps[1]
        kept = [offset for offset in offsets if offset != NOWHERE]
        if path is None or stamp is None or not kept:
            return [None] * len(offsets)
        rows = iter(read_at(path, f"{name}/{runs.COMPLETIONS}", stamp, kept))
        return [None if offset == NOWHERE else next(rows) for offset in offsets]


@contextmanager
def problems_of_files(name: str) -> Iterator[None]:
    """Turn what can be wrong with files into a problem that says what to do."""
    try:
        yield
    except ChangedError as exc:
        raise Problem(503, str(exc), fix="load the page again", headers={"Retry-After": "1"}) from None
    except DataNotFoundError as exc:
        raise Problem(404, str(exc), fix="go back to the list of runs") from None
    except PolymodeError as exc:
        raise Problem(422, str(exc), fix="repair the file, then load this page again") from None
    except OSError as exc:
        said = f"{name} cannot be read ({exc.strerror or type(exc).__name__})"
        raise Problem(503, said, fix="check the folder and its permissions, then load this page again") from None


def _made(make: Callable[[], T]) -> Callable[[], T]:
    """``make`` for files that anybody may have written: what they hold can be of any type."""

    def guarded() -> T:
        try:
            return make()
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError) as exc:
            raise _MisfitError(f"the files of the run do not fit together ({type(exc).__name__}: {exc})") from exc
        except ValueError as exc:
            if isinstance(exc, PolymodeError):
                raise
            raise _MisfitError(f"the files of the run do not fit together ({exc})") from exc

    return guarded


class _MisfitError(PolymodeError):
    """Files that each can be read, and that make no sense together."""


def in_preparation(request: Request, what: str) -> Response:
    """The page that comes back by itself until what was asked for is ready."""
    response = render(request, "prepared.html", status=202, what=what)
    response.headers["Refresh"] = "2"
    return response


def whole_number(request: Request, name: str, default: int, *, low: int = 1) -> int:
    """A whole number from the address; raises Problem."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= low):
        raise Problem(422, "a number is not allowed", field=name, value=text, allowed=f"from {low}", fix="change it")
    return int(text)
