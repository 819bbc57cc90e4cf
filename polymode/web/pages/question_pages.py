"""The questions of a run as a list, and one question with all its data (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from polymode.uncertainty.intervals import exact_interval
from polymode.web.browsing.question_index import Kind, QuestionIndex
from polymode.web.pages.rendering import compare_url, list_name, list_part, render, run_url, whole_number
from polymode.web.pages.run_reader import MAX_ATTEMPTS, RunReader
from polymode.web.problems import Problem

LETTERS = "ABCDEFGHIJKL"
"""Names of runs beside each other, which are at most so many."""
PER_PAGE = 25
"""Questions on a page."""
FILTERS: dict[str, Kind | None] = {
    "all": None,
    "missed": Kind.MISSED,
    "malformed": Kind.MALFORMED,
    "overconfident": Kind.OVERCONFIDENT,
    "unscored": Kind.UNSCORED,
}
"""Lists of questions by name."""
COLUMNS: Mapping[str, tuple[str, int]] = {
    "found": ("references found", 0),
    "score": ("mean score", 3),
    "wrong": ("surest wrong answer", 2),
    "tokens": ("tokens per completion", 1),
    "completions": ("completions", 0),
}
"""What can be shown of a question beside its text, in words, with decimals."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Questions that an address asks for."""

    numbers: Sequence[int]
    show: str
    query: Mapping[str, Any]
    """What an address needs in order to ask for them again."""
    columns: tuple[str, ...]


async def select(reader: RunReader, request: Request, name: str, index: QuestionIndex) -> Selection:
    """The questions that are asked for, in their order; raises Problem, and as `RunReader.texts`."""
    params = request.query_params
    show, find, sort = list_name(request, FILTERS, "all"), params.get("find", "").strip(), params.get("sort", "")
    columns = tuple(key for key in COLUMNS if key in (params.getlist("column") or ("found",)))
    numbers = index.select(FILTERS[show])
    if words := find.casefold().split():
        texts = await reader.texts(name, index)
        numbers = [number for number in numbers if all(word in texts[number] for word in words)]
    if sort:
        column = sort.removeprefix("-")
        if column not in COLUMNS:
            allowed = ", ".join(COLUMNS)
            raise Problem(422, "no such order", field="sort", value=sort, allowed=allowed, fix="choose one")
        numbers = index.sort(numbers, column, is_highest_first=sort.startswith("-"))
    query = {
        "show": "" if show == "all" else show,
        "find": find,
        "sort": sort,
        "column": list(params.getlist("column")),
    }
    return Selection(numbers, show, query, columns)


async def list_questions(reader: RunReader, request: Request, name: str) -> dict[str, Any]:
    """What the page of a run shows of its questions."""
    index = await reader.index(name)
    selection = await select(reader, request, name, index)
    part = list_part(request, selection.numbers, PER_PAGE)
    previews = await reader.previews(name, index, part.items)
    counts = {key: len(index) if own is None else index.count(own) for key, own in FILTERS.items()}
    return {
        "rows": [
            {
                "number": number + 1,
                "judged": judged,
                "text": text,
                "figures": [(key, *COLUMNS[key], index.figures[key][number]) for key in selection.columns],
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
        "selection": selection,
        "columns": COLUMNS,
        "part": part,
        "page_url": partial(run_url, name, **selection.query),
        "list_url": lambda key: run_url(name, **{**selection.query, "show": "" if key == "all" else key}),
    }


async def question_page(reader: RunReader, request: Request, name: str) -> Response:
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
    selection = await select(reader, request, name, index)
    return render(
        request,
        "question.html",
        sides=sides,
        question=sides[0][2],
        n_questions=len(index),
        n_attempts=[len((await reader.index(side)).offsets(at - 1).judged) for side, at, _ in sides],
        max_attempts=MAX_ATTEMPTS,
        around=[
            None if at is None else run_url(name, question=at + 1, **selection.query)
            for at in _around(selection.numbers, number - 1, is_sorted=bool(selection.query["sort"]))
        ],
        back=run_url(name, **selection.query),
        comparison=compare_url([side for side, *_ in sides], part="questions"),
        letters=LETTERS,
        show=selection.show,
    )


def _around(numbers: Sequence[int], number: int, *, is_sorted: bool) -> tuple[int | None, int | None]:
    """The questions before and after one in its list; where it is not in the list, by their place in the file."""
    if is_sorted and number in numbers:
        place = list(numbers).index(number)
        before, after = numbers[:place], numbers[place + 1 :]
    else:
        before, after = [at for at in numbers if at < number], [at for at in numbers if at > number]
    return before[-1] if before else None, after[0] if after else None


def chosen_runs(request: Request, field: str) -> list[str]:
    """The different runs that the address names, in its order; raises Problem when they are too many."""
    names = list(dict.fromkeys(name for name in request.query_params.getlist(field) if name))
    if len(names) > len(LETTERS):
        allowed = f"up to {len(LETTERS)} runs"
        raise Problem(422, "too many runs", field=field, value=str(len(names)), allowed=allowed, fix="choose fewer")
    return names
