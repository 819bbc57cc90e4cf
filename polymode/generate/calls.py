"""Many calls of a back-end: several at once, and one that fails costs only itself (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

from tqdm import tqdm

from polymode.errors import GeneratorFault, PromptRefusedError, UserError
from polymode.plugins import describe_error

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_FAULTS_IN_A_ROW = 16
"""After so many failed calls of each worker without one that succeeds the back-end is given up; of all workers
together, where it has not replied to anything yet."""
_SHOW_AFTER = 2.0


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
) -> Iterator[Result]:
    """The result of each call, as it is finished. One that fails is left out, and the others go on.

    Args:
        call: the back-end, asked about one item.
        items: what it is asked about.
        model: the back-end's object, for its number of workers and its method ``stop``.
        size: completions that an item stands for, as the progress bar and the messages count.
        label: of the progress bar.
        verb: what is done to a completion, for messages: ``generated``.
        n_present: completions that were finished before.

    Raises:
        GeneratorFault: some failed, raised after all others, with their number and the reason of the first; or very
            many in a row.
        UserError: what the back-end says is wrong with an option; at once.
    """
    n_missing, in_a_row, workers = 0, 0, workers_of(model)
    is_alive, reason, advice = False, "", ""
    total = n_present + sum(map(size, items))
    with tqdm(total=total, initial=n_present, desc=label, unit=" completions", delay=_SHOW_AFTER, leave=False) as bar:
        for item, result in _finished(call, items, workers, getattr(model, "stop", None)):
            if isinstance(result, Exception):
                n_missing, in_a_row = n_missing + size(item), in_a_row + 1
                if not reason:
                    reason, advice = _reason(result), getattr(result, "advice", "")
                is_alive = is_alive or isinstance(result, PromptRefusedError)
                if in_a_row >= MAX_FAULTS_IN_A_ROW * (workers if is_alive else 1):
                    raise GeneratorFault(f"{in_a_row} calls in a row failed; the first: {reason}", advice)
                continue
            in_a_row, is_alive = 0, True
            bar.update(size(item))
            yield result
    if n_missing:
        raise GeneratorFault(f"{n_missing:,} of {total:,} completions could not be {verb}; the first: {reason}", advice)


def _reason(exc: Exception) -> str:
    return str(exc) if isinstance(exc, GeneratorFault) else describe_error(exc)


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
