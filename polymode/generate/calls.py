"""Many calls of a back-end: several at once, and one that fails costs only itself (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

from polymode.errors import GeneratorFault, PromptRefusedError, UserError
from polymode.plugins import describe_error
from polymode.progress import progress_bar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_FAULTS_IN_A_ROW = 16
"""After so many failed calls of each worker without one that succeeds the back-end is given up; of all workers
together, where it has not replied to anything yet."""
MAX_REFUSED_FIRST = 256
"""Prompts that a server may refuse in a row before it answers any, where refused ones have a result."""


def workers_of(model: object) -> int:
    """Calls at once that a back-end wants: its ``concurrency`` where it says it ``is_concurrent``, else one."""
    return int(getattr(model, "concurrency", 1)) if getattr(model, "is_concurrent", False) else 1


def each_result(
    call: Callable[[Item], Result],
    items: Sequence[Item],
    model: object,
    *,
    size: Callable[[Item], int],
    label: str,
    verb: str,
    n_present: int = 0,
    instead: Callable[[Item], Result] | None = None,
) -> Iterator[Result]:
    """The result of each call, as it is finished. One that fails is left out, and the others go on.

    With ``instead`` an item that the back-end refuses has a result too. As a back-end that refuses everything does not
    do so because of the item, those that come before the first answer wait for it.

    Args:
        call: the back-end, asked about one item.
        items: what it is asked about.
        model: the back-end's object, for its number of workers and its method ``stop``.
        size: completions that an item stands for, as the progress bar and the messages count.
        label: of the progress bar.
        verb: what is done to a completion, for messages: ``generated``.
        n_present: completions that were finished before.
        instead: result of an item that is refused (PromptRefusedError); without it, that is a failure.

    Raises:
        GeneratorFault: some failed, raised after all others, with their number and the reason of the first; or very
            many in a row.
        UserError: what the back-end says is wrong with an option; at once.
    """
    in_a_row, workers, is_server = 0, workers_of(model), getattr(model, "is_concurrent", False)
    is_alive, is_answered = False, n_present > 0
    total = n_present + sum(map(size, items))
    failed: list[tuple[Item, Exception]] = []
    with progress_bar(total=total, initial=n_present, desc=label, unit=" completions") as bar:
        for item, result in _finished(call, items, workers, getattr(model, "stop", None)):
            is_refused = isinstance(result, PromptRefusedError)
            if is_refused and is_answered and instead is not None:
                result = instead(item)  # of the item, as any other
            if isinstance(result, Exception):
                failed.append((item, result))
                is_alive = is_alive or is_refused
                if is_refused and instead is not None and not is_server:
                    continue  # a model of this machine refuses what it has no room for, which costs nothing
                in_a_row += 1
                most = MAX_FAULTS_IN_A_ROW * (workers if is_alive else 1)
                if in_a_row >= (max(most, MAX_REFUSED_FIRST) if is_refused and instead is not None else most):
                    raise _fault(f"{in_a_row} calls in a row failed", failed)
                continue
            in_a_row, is_alive = 0, True
            ready = [(item, result)]
            if not is_answered and instead is not None:
                is_answered = True
                refused = [one for one, exc in failed if isinstance(exc, PromptRefusedError)]
                failed = [(one, exc) for one, exc in failed if not isinstance(exc, PromptRefusedError)]
                ready += [(one, instead(one)) for one in refused]
            for one, of_item in ready:
                bar.update(size(one))
                yield of_item
    if failed:
        n_missing = sum(size(item) for item, _ in failed)
        raise _fault(f"{n_missing:,} of {total:,} completions could not be {verb}", failed)


def _fault(problem: str, failed: Sequence[tuple[Any, Exception]]) -> GeneratorFault:
    """The error of several failures, with the reason of the first."""
    exc = failed[0][1]
    reason = str(exc) if isinstance(exc, GeneratorFault) else describe_error(exc)
    return GeneratorFault(f"{problem}; the first: {reason}", getattr(exc, "advice", ""))


def _finished(
    call: Callable[[Item], Result], items: Sequence[Item], workers: int, stop: Callable[[], Any] | None
) -> Iterator[tuple[Item, Result | Exception]]:
    """Each item with its result or its failure, as they are finished; raises UserError."""

    def outcome(one: Item) -> tuple[Item, Result | Exception]:
        try:
            return one, call(one)
        except UserError:
            raise
        except Exception as exc:  # of a back-end of somebody else, or for want of memory: the others go on
            return one, exc

    if workers == 1:
        yield from map(outcome, items)
        return
    waiting = iter(items)
    with ThreadPoolExecutor(workers, "polymode-generate") as pool:
        under_way = {pool.submit(outcome, one) for one in islice(waiting, workers)}
        try:
            while under_way:
                ready, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                under_way |= {pool.submit(outcome, one) for one in islice(waiting, len(ready))}
                yield from (future.result() for future in ready)
        except BaseException as exc:  # Ctrl-C, or nobody wants more: what can be cut off is, the rest is waited for
            if stop is not None:
                stop()
            pool.shutdown(cancel_futures=True)
            if isinstance(exc, KeyboardInterrupt):
                outcomes = [future.result() for future in under_way if not future.cancelled()]
                yield from (outcome for outcome in outcomes if not isinstance(outcome[1], Exception))
            raise
