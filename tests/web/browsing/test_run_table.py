"""Search, order and columns of the list of runs."""

import math

import pytest

from polymode import runs
from polymode.uncertainty import Estimate
from polymode.web.browsing.run_folders import Entry, Experiment
from polymode.web.browsing.run_table import HEADLINE, arrange, orders
from polymode.web.browsing.trainings import Training


def entry(name: str, note: str = "", **metrics: float) -> Entry:
    estimates = {key: Estimate(value, value, value, 1) for key, value in metrics.items()}
    stored = runs.Metrics({}, estimates) if metrics else None
    return Entry(name, name, {"task": "clinic", "seed": 3}, stored, "", runs.Note(note))


RUNS = (
    Experiment(
        "one", "one", (entry("a", "Too warm", coverage=1.0, brier=0.2), entry("b", coverage=3.0), entry("c")), False
    ),
    Experiment("two", "two", (entry("d", coverage=math.nan), entry("e", coverage=2.0, brier=0.1)), False),
)


def names(**query: object) -> list[str]:
    table = arrange(RUNS, (), **query)  # type: ignore[arg-type]
    return [one.name for experiment in table.experiments for one in experiment.entries]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, "abcde"),
        ({"find": "B"}, "b"),
        ({"find": "too WARM"}, "a"),
        ({"find": "warm too"}, "a"),
        ({"find": "task clinic seed 3"}, "abcde"),
        ({"find": "nothing"}, ""),
        ({"sort": "coverage"}, "abced"),
        ({"sort": "-coverage"}, "bac" + "ed"),
        ({"sort": "brier"}, "abc" + "ed"),
        ({"sort": "-unknown"}, "abcde"),
        ({"sort": "-"}, "abcde"),
        ({"sort": "-coverage", "find": "clinic"}, "baced"),
    ],
)
def test_which_runs_in_which_order(query: dict[str, str], found: str) -> None:
    assert names(**query) == list(found)


def test_columns_are_those_that_are_chosen_and_there() -> None:
    assert arrange(RUNS, ()).columns == ("coverage", "brier")
    assert arrange(RUNS, (), columns=("brier", "ece", "mystery")).columns == ("brier",)
    assert set(arrange(RUNS, ()).columns) <= set(HEADLINE)
    assert [name for _, group in arrange(RUNS, ()).choices for name in group] == ["coverage", "brier"]
    assert RUNS[1].having(("brier", "ece")) == ["brier"]


def test_counts_before_and_after_the_search() -> None:
    table = arrange(RUNS, (Training("damaged", "damaged"),), find="a")
    assert (table.n_runs, table.n_total) == (5, 5)  # every task has an a
    assert (arrange(RUNS, (Training("damaged", "damaged"),), find="warm").n_runs, len(table.trainings)) == (1, 1)


def test_orders_say_which_end_is_better() -> None:
    assert list(orders(("coverage", "brier", "mean_hits")).items()) == [
        ("", "by name"),
        ("-coverage", "Coverage, best first"),
        ("coverage", "Coverage, worst first"),
        ("brier", "Brier score, best first"),
        ("-brier", "Brier score, worst first"),
        ("-mean_hits", "Mean hits, highest first"),
        ("mean_hits", "Mean hits, lowest first"),
    ]
