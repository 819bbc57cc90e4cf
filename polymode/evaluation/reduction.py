"""Metrics as a reduction: from the columns of some questions at a time to estimates and curves (layer L4).

Whatever is computed from single answers exists for `ANSWERS_AT_ONCE` of them only. What remains of all questions is the
sums of their clusters (`polymode.uncertainty.reduction`), and of a file that is read at once, nothing differs. Axes:
``_P`` questions, ``_J`` different ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from polymode.evaluation.columns import Columns, ColumnStore
from polymode.evaluation.curves import CURVE, Points, curves_of, excess_by_n_true, hits_by_expected
from polymode.evaluation.judging import is_ranked
from polymode.metrics.layout import SumLayout
from polymode.metrics.own import own_statistics
from polymode.metrics.statistics import of_unique_references
from polymode.metrics.statistics import statistics as statistics_of
from polymode.uncertainty import Block, Clusters, Estimate, Statistic, bootstrap_parts, join_repeats, number_questions

ANSWERS_AT_ONCE = 1_000_000
"""Answers whose statistics are in memory together."""


class Reduction(NamedTuple):
    """What is reported of all questions."""

    estimates: dict[str, Estimate]
    """Of metrics and of points of curves, by name."""
    curves: dict[str, Points]
    n_different: int
    """Different questions."""
    n_sets: int
    n_empty_sets: int
    """Those without an answer."""
    has_confidences: bool
    """Whether an answer has one."""


def reduce_columns(
    columns: ColumnStore,
    view: Mapping[str, Any],
    metrics: Sequence[str],
    *,
    rng: np.random.Generator,
    n_boot: int,
    n_unscored: int,
    advance: Callable[[int], object],
) -> Reduction:
    """All estimates and curves; arguments as for `polymode.evaluation.evaluation.measure` and `bootstrap`.

    Metrics of one's own are functions of all sets, which are then read at once.
    """
    most = max(int(columns.n_answers_P().sum()), 1) if metrics else ANSWERS_AT_ONCE
    own = _has_own_confidences(view)
    layout = SumLayout.of(part.tables(own=own) for part in columns.in_order(most))
    number_P = number_questions(columns.repeats_P)
    n_different = int(number_P.max(initial=-1)) + 1
    has_repeats = n_different < columns.n_questions
    size_J = np.bincount(number_P, columns.n_answers_P(), n_different).astype(np.int64)
    n_sets = n_empty_sets = 0

    def parts(clusters: Clusters) -> Iterator[tuple[Block, dict[str, Statistic]]]:
        nonlocal n_sets, n_empty_sets
        for block in clusters.blocks(size_J, most):
            places: Any = slice(None)
            if not block.is_whole:
                places = np.flatnonzero(np.isin(number_P, block.questions)) if has_repeats else block.questions
            part = columns.columns(places)
            sets = part.tables(own=own).sets
            n_sets, n_empty_sets = n_sets + sets.n_sets, n_empty_sets + int(np.count_nonzero(sets.n_answers == 0))
            statistics = _statistics(part, layout, metrics, own=own)
            if has_repeats:
                local_P = np.searchsorted(block.questions, number_P[places])
                statistics = {name: join_repeats(s, local_P) for name, s in statistics.items()}
            yield block, statistics

    estimates = bootstrap_parts(parts, n_different, rng=rng, n_boot=n_boot, n_unscored=n_unscored, advance=advance)
    curves = curves_of(lambda: (part.tables(own=own) for part in columns.in_order(most)), layout, estimates)
    return Reduction(estimates, curves, n_different, n_sets, n_empty_sets, len(layout.q_U) > 0)


def measured_at_once(
    columns: ColumnStore, view: Mapping[str, Any], metrics: Sequence[str] = ()
) -> dict[str, Statistic]:
    """Every statistic of all questions by name."""
    own, whole = _has_own_confidences(view), columns.columns()
    return _statistics(whole, SumLayout.of([whole.tables(own=own)]), metrics, own=own)


def _statistics(part: Columns, layout: SumLayout, metrics: Sequence[str], *, own: bool) -> dict[str, Statistic]:
    tables = part.tables(own=own)
    built_in = statistics_of(*tables, part.overlaps_P_4, layout)
    further = own_statistics(metrics, tables.sets, built_in)
    curve = {f"{CURVE}{m}": one for m, one in of_unique_references(tables.completions, layout).items()}
    curve |= excess_by_n_true(tables.sets, layout.n_true_U.tolist())
    return {**built_in, **further, **curve, **hits_by_expected(built_in["expected_hits_error"], layout.k)}


def _has_own_confidences(view: Mapping[str, Any]) -> bool:
    """Whether pooled answers have confidences of their own: votes, or averages."""
    return view.get("confidence_from") == "votes" or is_ranked(view)
