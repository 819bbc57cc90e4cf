"""Work in progress: a file of lines beside the one that it will become, to which each finished batch is added (L3).

``completions.jsonl.part`` and ``judged.jsonl.part`` hold what an interrupted command had finished, so that it can be
gone on with. The real file is written from all lines, in their order, when the work is done; then the part is removed.
A kill can leave half a line at the end, which is cut off when the part is read.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from polymode.errors import RecordError, WriteError
from polymode.runs.completions import Named, completion_to_row
from polymode.runs.files import SCHEMA, check_schema, replacing, to_json
from polymode.runs.lines import parse_object, raw_lines, read_jsonl
from polymode.types import Completion, Example

log = logging.getLogger(__name__)


class Part:
    """The lines of ``path`` that are finished."""

    def __init__(self, path: Path) -> None:
        self.target, self.path = path, path.with_name(f"{path.name}.part")

    def rows(self) -> Iterable[dict[str, Any]]:
        """Every finished line; none where there is no part.

        Raises:
            RecordError: a line is damaged or of a newer schema; names it.
            WriteError: half a line at the end cannot be cut off.
        """
        if not self.path.is_file():
            return
        self._cut()
        for number, row in enumerate(read_jsonl(self.path), 1):
            check_schema(row.get("schema"), f"{self.path}, line {number}")
            yield row

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add finished lines; raises WriteError. They outlive this process from now on."""
        text = "".join(f"{json.dumps(to_json(row), allow_nan=False)}\n" for row in rows)
        with self._appending() as handle:
            handle.write(text.encode("ascii"))

    @contextmanager
    def _appending(self) -> Iterator[IO[bytes]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as handle:
                yield handle
        except OSError as exc:
            raise WriteError(
                f"cannot write {self.path}: {exc.strerror or exc}; free space, then go on with --resume"
            ) from exc

    def remove(self) -> None:
        """Remove the part, when its target is written or nothing in it is wanted; raises WriteError."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as exc:
            raise WriteError(f"cannot remove {self.path}: {exc.strerror or exc}") from exc

    def _cut(self) -> None:
        try:
            with self.path.open("rb+") as handle:
                end = handle.seek(0, os.SEEK_END)
                handle.truncate(_end_of_last_line(handle, end))
        except OSError as exc:
            raise WriteError(f"cannot write {self.path}: {exc.strerror or exc}") from exc


def _end_of_last_line(handle: Any, end: int, step: int = 1 << 16) -> int:
    """Place behind the last line feed before ``end``; 0 without one."""
    while end:
        start = max(0, end - step)
        handle.seek(start)
        place = handle.read(end - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0


class CompletionsPart(Part):
    """Completions that `polymode generate` has finished; config.json beside it says what they were sampled with."""

    def completions(self, examples: Sequence[Example]) -> list[Completion]:
        """The finished completions of these questions.

        Raises:
            RecordError: damage, or a question that is another by now; says what to do.
        """
        by_id = {example.id: example for example in examples}
        out: dict[tuple[str, int], Completion] = {}
        for number, row in enumerate(self.rows(), 1):
            where = f"{self.path}, line {number}"
            example = by_id.get(str(row.get("id")))
            if example is None or row.get("question") != example.question:
                raise RecordError(
                    f"{where}: question {row.get('id')!r} is not that of the task any more: its data have changed; put "
                    "them back, or choose another --out"
                )
            try:
                one = Completion(
                    example=example,
                    text=row["completion"],
                    k=row["k"],
                    has_confidence=row["confidence"],
                    sample=row["sample"],
                    n_tokens=row["n_tokens"],
                    is_finished=row["finished"],
                    confidences=_numbers(row.get("confidences")),
                    confidence_mass=_numbers(row.get("confidence_mass")),
                )
            except KeyError as exc:
                raise RecordError(f"{where}: {exc.args[0]} is missing: remove the line, then go on") from None
            out[example.id, one.sample] = one
        return list(out.values())

    def add_completions(self, completions: Iterable[Completion], **origin: Named | None) -> None:
        """Add finished completions, with task and verifier as for `write_completions`; raises WriteError."""
        named = {name: value for name, value in origin.items() if value is not None}
        self.add(completion_to_row(one, named) for one in completions)


def _numbers(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


class JudgedPart(Part):
    """Completions that `polymode evaluate` has judged; the first line says of what, and by what."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Start anew, with what the verdicts depend on; raises WriteError."""
        self.remove()
        self.add([{"schema": SCHEMA, "settings": settings}])

    def places(self, settings: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
        """Id, sample and place in bytes of what was judged with these settings; nothing where there is no part.

        A damaged line is left out, so that its completion is judged again, and logged as a warning.

        Raises:
            RecordError: it was judged with others; names the first that differs, and what to do.
            WriteError: half a line at the end cannot be cut off.
        """
        if not self.path.is_file():
            return
        self._cut()
        lines = raw_lines(self.path)
        _, _, head = next(lines, (0, 0, b"{}"))
        stored = parse_object(head, f"{self.path}, line 1", _AGAIN)
        check_schema(stored.get("schema"), f"{self.path}, line 1")
        stored, current = stored.get("settings") or {}, to_json(settings)
        for name, value in current.items():
            if stored.get(name) != value:
                raise RecordError(
                    f"{name} = {value!r} differs from {stored.get(name)!r}, with which {self.path} was judged: resume "
                    "with the same options, or leave --resume out to judge all again"
                )
        for number, offset, content in lines:
            try:
                row = parse_object(content, f"line {number}", "judged again")
                yield str(row["id"]), int(row["sample"]), offset
            except (RecordError, KeyError, TypeError, ValueError):
                log.warning("%s, line %d is damaged: what it held is judged again", self.path, number)

    def append(self, lines: bytes) -> int:
        """Add encoded lines and return the place of the first, in bytes; raises WriteError."""
        with self._appending() as handle:
            start = handle.seek(0, os.SEEK_END)
            handle.write(lines)
        return start

    def finish(self, offsets: Iterable[int]) -> None:
        """Write the target from the lines at ``offsets``, in that order, whole or not at all; raises WriteError."""
        with replacing(self.target) as target, target.open("wb") as out, self.path.open("rb") as handle:
            place = 0
            for offset in offsets:
                if offset != place:
                    handle.seek(offset)
                line = handle.readline()
                out.write(line)
                place = offset + len(line)


_AGAIN = "leave --resume out to judge all again"
