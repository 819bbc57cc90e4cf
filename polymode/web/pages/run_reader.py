"""Run folders for the pages: read in threads, slow results cached (layer L6)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Generic, TypeVar

from polymode import runs
from polymode.compare.reports import DifferingQuestions, differing_questions, report_of_run, report_of_runs
from polymode.errors import DataNotFoundError, PolymodeError, RecordError
from polymode.report.figures_training import figures_of_training
from polymode.report.panels import Figure
from polymode.types import Completion
from polymode.web.browsing.question_index import NO_COMPLETION, QuestionIndex, build_index, stamps_of
from polymode.web.browsing.question_view import Question, question_of, shorten
from polymode.web.browsing.run_folders import RunFolders, completions_of
from polymode.web.browsing.trainings import Training
from polymode.web.problems import Problem

T = TypeVar("T")
MAX_ATTEMPTS = 40
"""Completions of one question that are shown."""
MAX_DRAWN = 16
"""Trainings whose curves are remembered."""
SEARCHED, BLOCK = 2000, 500
"""Characters of a question that are searched; questions that are read in one go."""
PATIENCE = 2.0
"""Seconds until a page says that it is in preparation."""


class NotReadyError(Exception):
    """The result is still being computed; ask again."""


class BackgroundCache(Generic[T]):
    """The most recently used results by key; one is computed at a time.

    A key must name everything that the result depends on, such as the versions of files.

    Args:
        size: results that are kept.
        waiting: results that may wait to be computed; more are refused with status 503.
    """

    def __init__(self, *, size: int, waiting: int = 8) -> None:
        self._size, self._waiting = size, waiting
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._futures: OrderedDict[Hashable, Future[T]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], T], *, patience: float = 2.0) -> T:
        """The result of this key, computed by ``make`` if it is not in the cache.

        Raises:
            NotReadyError: it is not ready within ``patience`` seconds; a later call finds it.
            Problem: too many results wait.
            Exception: what ``make`` raised; the next call tries again.
        """
        future = self._start(key, make)
        try:
            async with asyncio.timeout(patience):
                while not future.done():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise NotReadyError from None
        if future.exception() is not None:
            with self._lock:
                if self._futures.get(key) is future:
                    del self._futures[key]
        return future.result()

    def _start(self, key: Hashable, make: Callable[[], T]) -> Future[T]:
        with self._lock:
            if key in self._futures:
                self._futures.move_to_end(key)
                return self._futures[key]
            if sum(not future.done() for future in self._futures.values()) >= self._waiting:
                raise Problem(
                    503, "too many pages are being prepared", fix="wait a little", headers={"Retry-After": "5"}
                )
            finished = [old for old, future in self._futures.items() if future.done()]
            for old in finished[: max(len(self._futures) - self._size + 1, 0)]:
                del self._futures[old]
            future: Future[T] = Future()
            self._futures[key] = future
        # A daemon: a server that shuts down does not wait for a page that nobody will see.
        threading.Thread(target=self._run, args=(future, make), daemon=True).start()
        return future

    def _run(self, future: Future[T], make: Callable[[], T]) -> None:
        with self._turn:
            try:
                future.set_result(make())
            except BaseException as exc:  # those who wait must get it
                future.set_exception(exc)


class RunReader:
    """Reads the runs of one server.

    Every method raises PolymodeError or OSError when a file is missing, damaged or cannot be read. `index`, `report`
    and `differing` raise NotReadyError while what they return is being made.

    Args:
        folders: which runs there are.
    """

    def __init__(self, folders: RunFolders) -> None:
        self.folders = folders
        self._indices: BackgroundCache[QuestionIndex] = BackgroundCache(size=8)
        self._texts: BackgroundCache[tuple[str, ...]] = BackgroundCache(size=2)
        self._reports: BackgroundCache[str] = BackgroundCache(size=8)
        self._differing: BackgroundCache[DifferingQuestions] = BackgroundCache(size=4)
        self._curves: BackgroundCache[tuple[Figure, ...]] = BackgroundCache(size=8)
        self._drawn: OrderedDict[str, tuple[int, tuple[Figure, ...]]] = OrderedDict()
        self._under_way: dict[str, Hashable] = {}

    async def index(self, name: str) -> QuestionIndex:
        """Where the questions of a run stand."""
        files = await asyncio.to_thread(self._files, name)
        stamps = await asyncio.to_thread(stamps_of, *files)
        make = _guarded(lambda: build_index(*files, name))
        return await self._indices.get((files, stamps), make, patience=PATIENCE)

    async def previews(
        self, name: str, index: QuestionIndex, numbers: Sequence[int]
    ) -> list[tuple[runs.JudgedCompletion, str]]:
        """The first judged completion and the text of some questions."""

        def read() -> list[tuple[runs.JudgedCompletion, str]]:
            previews = []
            for number in numbers:
                [(judged, completion)] = self._attempts(name, index, number, 1)
                previews.append((judged, "" if completion is None else shorten(completion.example.question, 200)))
            return previews

        return await asyncio.to_thread(read)

    async def texts(self, name: str, index: QuestionIndex) -> tuple[str, ...]:
        """Id and beginning of the text of each question, without regard to case, to be searched."""
        files = await asyncio.to_thread(self._files, name)

        def make() -> tuple[str, ...]:
            texts = [id_.casefold() for id_ in index.ids]
            if files[1] is None or index.stamps[1] is None:
                return tuple(texts)
            starts = {  # of the first completion of each question that has one
                n: offsets[0]
                for n in range(len(index))
                if (offsets := [at for at in index.offsets(n).completions if at != NO_COMPLETION])
            }
            numbers = list(starts)
            for first in range(0, len(numbers), BLOCK):
                block = numbers[first : first + BLOCK]
                completions = runs.completions_at(
                    files[1], index.stamps[1], [starts[n] for n in block], f"{name}/{runs.COMPLETIONS}"
                )
                for n, completion in zip(block, completions, strict=True):
                    texts[n] += f" {completion.example.question[:SEARCHED].casefold()}"
                time.sleep(0.001)  # other threads get their turn
            return tuple(texts)

        return await self._texts.get((files, index.stamps), _guarded(make), patience=PATIENCE)

    async def question(self, name: str, index: QuestionIndex, number: int) -> Question:
        """A question with its first completions."""
        attempts = await asyncio.to_thread(self._attempts, name, index, number, MAX_ATTEMPTS)
        judged, completions = zip(*attempts, strict=True)
        return await asyncio.to_thread(question_of, judged, completions)

    async def report(self, *names: str, title: str, links: Sequence[tuple[str, str]]) -> str:
        """The report of one run, or of several with their differences to the first; title and links follow names."""
        needed = (runs.METRICS,) if len(names) == 1 else (runs.METRICS, runs.JUDGED)
        key, folders = await asyncio.to_thread(self._evaluated, names, needed)

        def make() -> str:
            if len(folders) == 1:
                return report_of_run(folders[0], title=title, links=links)
            return report_of_runs(folders, title=title, links=links)

        return await self._reports.get(key, _guarded(make), patience=PATIENCE)

    async def differing(self, names: Sequence[str]) -> DifferingQuestions:
        """The questions that runs differ in."""
        key, folders = await asyncio.to_thread(self._evaluated, names, (runs.METRICS, runs.JUDGED))
        return await self._differing.get(key, _guarded(lambda: differing_questions(folders)), patience=PATIENCE)

    async def curves(self, training: Training) -> tuple[int, tuple[Figure, ...]] | None:
        """The curves of a training, and of how many lines they are; None before they are drawn for the first time.

        While new ones are being drawn, these are the last ones. Those of one training are drawn one after another, so
        that one that writes faster than they can be drawn does not keep the others waiting.
        """
        name = training.name

        def make() -> tuple[Figure, ...]:
            curves = tuple(figures_of_training(training.rows, training.method))
            self._drawn[name] = (len(training.rows), curves)
            self._drawn.move_to_end(name)
            if len(self._drawn) > MAX_DRAWN:
                self._drawn.popitem(last=False)
            return curves

        key = self._under_way.setdefault(name, (name, len(training.rows), str(training.rows[-1])))
        try:
            await self._curves.get(key, _guarded(make), patience=PATIENCE)
        except NotReadyError:
            return self._drawn.get(name)
        except BaseException:
            self._under_way.pop(name, None)
            raise
        self._under_way.pop(name, None)
        return self._drawn.get(name)

    def drawn(self, name: str) -> tuple[Figure, ...]:
        """The last curves of a training that a page showed."""
        return self._drawn.get(name, (0, ()))[1]

    def _files(self, name: str) -> tuple[Path, Path | None]:
        return self.folders.needed(name, runs.JUDGED), completions_of(self.folders, name)

    def _evaluated(self, names: Sequence[str], needed: Sequence[str]) -> tuple[tuple[object, ...], list[Path]]:
        """Folders with the needed files and usable metrics, and a key that names the versions of all their files.

        A file that leads out of the shown folder is refused: whoever reads the folders follows links.
        """
        key: list[object] = []
        for name in names:
            for file in needed:
                self.folders.needed(name, file)
            runs.read_metrics(self.folders.needed(name, runs.METRICS), f"{name}/{runs.METRICS}")
            above = name.rpartition("/")[0]
            for place, file in [
                *((name, file) for file in (runs.METRICS, runs.JUDGED, runs.COMPLETIONS, runs.CONFIG)),
                *((above, file) for file in (runs.TRAIN_METRICS, runs.CONFIG) if above),
            ]:
                path = self.folders.file(place, file)
                if path is None and (self.folders.folder(place) / file).exists():
                    raise DataNotFoundError(f"{place}/{file} leads out of the folder that is shown")
                if path is not None and file == runs.CONFIG:
                    runs.read_configuration(path, f"{place}/{file}")
                key.append(None if path is None else (path, runs.stamp_of(path)))
        return tuple(key), [self.folders.folder(name) for name in names]

    def _attempts(
        self, name: str, index: QuestionIndex, number: int, limit: int
    ) -> list[tuple[runs.JudgedCompletion, Completion | None]]:
        """The first completions of a question, as they were judged and as they were written."""
        (judged_file, completions_file), (judged_stamp, stamp) = self._files(name), index.stamps
        starts, text_starts = (places[:limit] for places in index.offsets(number))
        judged = runs.judged_at(judged_file, judged_stamp, starts, f"{name}/{runs.JUDGED}")
        texts: dict[int, Completion] = {}
        if completions_file is not None and stamp is not None:
            label, k = f"{name}/{runs.COMPLETIONS}", judged[0].k
            present = [start for start in text_starts if start != NO_COMPLETION]
            texts = dict(zip(present, runs.completions_at(completions_file, stamp, present, label, k=k), strict=True))
        return [(one, texts.get(start)) for one, start in zip(judged, text_starts, strict=True)]


def _guarded(make: Callable[[], T]) -> Callable[[], T]:
    """``make`` for files that are not trusted: their values can be of any type."""

    def guarded() -> T:
        try:
            return make()
        except PolymodeError:  # several of them are of the built-in kinds below too
            raise
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
            raise RecordError(f"the files of the run do not fit together ({type(exc).__name__}: {exc})") from exc

    return guarded
