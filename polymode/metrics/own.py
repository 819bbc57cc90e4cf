"""Metrics of one's own, named ``module:Name`` or by an entry point: functions of the judged answer sets (layer L2).

::

    def lone_answers(table):                    # mypackage.py; polymode evaluate RUN --metrics mypackage:lone_answers
        "Share of the answers asked for that no other sample of the question gives"
        counts = np.unique(table.answer_class, return_counts=True)[1]
        ...                                     # one number for each set, shape (N,), NaN where undefined

Numbers for each set are averaged over the sets of a question, then over questions, as coverage is. For anything else (a
ratio, a mean over answers) the function returns a `Statistic`: sums over questions and the function that turns them
into the value. Either way the metric gets an interval and paired differences like the built-in ones.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import numpy as np

from polymode.errors import ConfigError
from polymode.metrics.table import JudgedTable
from polymode.plugins import Registry, describe_error
from polymode.uncertainty import Statistic, SumStatistic, WeightedStatistic, mean_of_questions

METRICS: Registry[Any] = Registry("metric", {})
"""Metrics beside the built-in ones: functions of a `JudgedTable`, called by the last word of their name."""


def own_statistics(names: Iterable[str], sets: JudgedTable, built_in: Container[str] = ()) -> dict[str, Statistic]:
    """The metrics called ``names``, of the answer sets that coverage is computed from.

    Raises:
        ConfigError: an unknown name, two metrics of one name, or a function that fails or gives something else.
    """
    out: dict[str, Statistic] = {}
    for name in names:
        label = name.rpartition(":")[2].rpartition(".")[2]
        if label in out or label in built_in:
            raise ConfigError(f"metric {name!r}: there is another metric {label!r}; rename one")
        out[label] = _statistic(name, sets)
    return out


def _statistic(name: str, sets: JudgedTable) -> Statistic:
    function = METRICS.load(name)
    try:
        value = function(sets)
        if not isinstance(value, SumStatistic | WeightedStatistic):
            value_N = np.asarray(value, dtype=float)
            if value_N.shape != (sets.n_sets,):
                raise ValueError(f"values of shape {value_N.shape}")
            value = mean_of_questions(sets.question, value_N, sets.n_questions)
        sums = value.sums if isinstance(value, SumStatistic) else ()
        if any(len(array) != sets.n_questions for array in sums):
            raise ValueError(f"sums of shape {[array.shape for array in sums]}, not one row for each question")
    except Exception as exc:
        raise ConfigError(
            f"metric {name!r} failed ({describe_error(exc)}): return one number for each of the {sets.n_sets} sets, or "
            "a Statistic (polymode.metrics.own)"
        ) from exc
    return value
