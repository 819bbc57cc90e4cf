"""Metrics from some questions at a time are those of all at once; what is held is what was added."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polymode import runs
from polymode.evaluation import Evaluation, evaluate, read_completions
from polymode.evaluation.compact import MAX_VALUES, Column, CompactTable
from polymode.metrics.table import ANSWER_COLUMNS, SET_COLUMNS, JudgedTable

KINDS = st.sampled_from([[0.0, 1.0], [np.nan], [0.3, np.nan, -0.0], list(np.linspace(0, 1, 700)), [5.0]])


@given(pieces=st.lists(st.tuples(KINDS, st.integers(0, 40)), min_size=1, max_size=12), seed=st.integers(0, 9))
@settings(max_examples=40)
def test_a_column_gives_back_what_was_added(pieces: list[tuple[list[float], int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    items = [rng.choice(kind, n) for kind, n in pieces]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polymode.evaluation.compact.MAX_VALUES", 300)
        patch.setattr("polymode.evaluation.compact._PENDING", 3)
        column = Column()
        for piece in items:
            column.add(piece)
    whole = np.concatenate(items)
    assert np.array_equal(column.read(slice(None)), whole, equal_nan=True) and column.size == len(whole)
    places = np.flatnonzero(rng.random(len(whole)) < 0.4)
    assert np.array_equal(column.read(places), whole[places], equal_nan=True)
    assert np.array_equal(column.read(slice(2, 9)), whole[2:9], equal_nan=True)


@pytest.mark.parametrize("type_", [bool, np.int16, np.int32, float, "S9"])
def test_a_column_has_the_type_of_its_items(type_: Any) -> None:
    column = Column()
    column.add(np.empty(0, dtype=type_))
    assert column.read(slice(None)).dtype == np.dtype(type_)
    column.add(np.array([1, 0, 1]).astype(type_))
    assert column.read(np.array([0, 2])).tolist() == np.array([1, 1]).astype(type_).tolist()
    assert column.read(slice(None)).dtype == np.dtype(type_)


def test_more_values_than_codes_are_held_as_they_are() -> None:
    column, items = Column(), np.arange(MAX_VALUES + 5.0)
    column.add(items[:100])
    column.add(items[100:])
    assert np.array_equal(column.read(slice(None)), items)


def random_table(rng: np.random.Generator, n_questions: int, confidences: str) -> JudgedTable:
    """Sets of 0 to 3 answers, some of them soft labels, duplicates or of unknown probability."""
    question = np.sort(rng.integers(0, n_questions, 4 * n_questions))
    size = rng.choice([0, 1, 3, 3, 3], len(question))
    owner = np.repeat(np.arange(len(question)), size)
    slot = np.arange(len(owner)) - (np.cumsum(size) - size)[owner]
    q = rng.random(len(owner)) if confidences == "continuous" else rng.integers(0, 21, len(owner)) / 20
    q[rng.random(len(owner)) < 0.05] = np.nan
    y = (rng.random(len(owner)) < np.nan_to_num(q, nan=0.5)).astype(float)
    return JudgedTable(
        n_questions=n_questions,
        question=question,
        k=np.full(len(question), 3, dtype=np.int16),
        n_references=rng.integers(1, 5, len(question)).astype(np.int32),
        n_tokens=rng.integers(20, 60, len(question)).astype(float),
        best=rng.integers(1, 4, len(question)).astype(float),
        kl=rng.random(len(question)),
        total_variation=np.full(len(question), np.nan),
        owner=owner,
        slot=slot.astype(np.int16),
        q=q,
        y=y,
        p=np.where(rng.random(len(owner)) < 0.3, np.nan, rng.random(len(owner))),
        is_duplicate=rng.random(len(owner)) < 0.1,
        match=np.where(y == 1, rng.integers(0, 4, len(owner)), -1).astype(np.int32),
        answer_class=rng.integers(0, 9, len(owner)).astype(np.int32),
    )


def same_tables(a: JudgedTable, b: JudgedTable) -> None:
    assert (a.n_questions, a.n_unscored) == (b.n_questions, b.n_unscored)
    for name in (*SET_COLUMNS, *ANSWER_COLUMNS):
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None), name
        if first is not None:
            assert np.array_equal(first, second, equal_nan=first.dtype == float), name


def of_questions(table: JudgedTable, places: np.ndarray) -> JudgedTable:
    """By masks over all sets and answers."""
    is_here_N = np.isin(table.question, places)
    is_here_A = is_here_N[table.owner]
    columns = {name: getattr(table, name) for name in (*SET_COLUMNS, *ANSWER_COLUMNS)}
    columns = {
        name: x if x is None else x[is_here_N if name in SET_COLUMNS else is_here_A] for name, x in columns.items()
    }
    columns["question"] = np.searchsorted(places, columns["question"])
    columns["owner"] = (np.cumsum(is_here_N) - 1)[columns["owner"]]
    return replace(table, n_questions=len(places), **columns)


@pytest.mark.parametrize("confidences", ["grid", "continuous"])
def test_a_table_is_read_some_questions_at_a_time(confidences: str) -> None:
    rng = np.random.default_rng(1)
    tables = [random_table(rng, n, confidences) for n in (7, 1, 30)]
    store = CompactTable()
    for table in tables:
        store.add(table)
    same_tables(store.table(slice(0, 7)), tables[0])
    same_tables(store.table(slice(8, 38)), tables[2])
    places = np.array([0, 3, 6, 7, 20, 37])
    whole = store.table(slice(None))
    same_tables(store.table(places), of_questions(whole, places))


def file_of(folder: Path, confidences: str, rng: np.random.Generator) -> Path:
    """Some questions under several ids, some with one sample, others with many; three answers each."""
    rows = []
    for n in range(60):
        for _ in range(int(rng.integers(1, 5))):
            qs = rng.random(3).round(6) if confidences == "continuous" else rng.integers(0, 21, 3) / 20
            words = rng.choice(["flu", "cold", "gout", "mumps", "a cold"], 3)
            slots = "".join(
                f"<answer{i}>{w}</answer{i}><confidence{i}>{q:.6f}</confidence{i}>"
                for i, (w, q) in enumerate(zip(words, qs, strict=True), 1)
            )
            if rng.random() < 0.05:
                slots = "nothing"
            row = {
                "id": f"q{n}",
                "question": f"Which {n % 50}?",
                "references": ["flu", ["cold", "a cold"]][: 1 + n % 2],
            }
            rows.append({**row, "completion": slots, "k": 3, "confidence": True, "n_tokens": int(rng.integers(5, 9))})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / runs.COMPLETIONS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / runs.COMPLETIONS


def near(a: Any, b: Any) -> None:
    """Equal to the last digit, but for sums of confidences, which are added up in another order."""
    if isinstance(a, dict):
        assert list(a) == list(b)
        for name in a:
            near(a[name], b[name])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            near(x, y)
    else:
        assert a == pytest.approx(b, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("n_clusters", [100, 17])
@pytest.mark.parametrize("confidences", ["grid", "continuous"])
def test_some_questions_at_a_time_have_the_numbers_of_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, confidences: str, n_clusters: int
) -> None:
    completions = read_completions(file_of(tmp_path, confidences, np.random.default_rng(5)))
    monkeypatch.setattr("polymode.uncertainty.reduction.MAX_CLUSTERS", n_clusters)
    whole = evaluate(completions, n_boot=60)
    assert whole.view["n_different_questions"] == 50
    for most in (1, 40, 300):
        monkeypatch.setattr("polymode.evaluation.reduction.ANSWERS_AT_ONCE", most)
        parts = evaluate(completions, n_boot=60)
        assert parts.view == whole.view
        assert repr(parts.metrics) == repr(whole.metrics)
        near(dict(parts.curves), dict(whole.curves))
        for name, statistic in whole.statistics.items():
            assert repr(getattr(parts.statistics[name], "sums", ())) == repr(getattr(statistic, "sums", ()))
    whole.write(tmp_path / "out", completions=tmp_path)
    assert repr(Evaluation.read(tmp_path / "out").columns.repeats_P) == repr(whole.columns.repeats_P)


def alone(table: JudgedTable) -> Any:
    return table.per_set(table.y)


@given(data=st.data())
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_metric_of_ones_own_sees_all_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    most = data.draw(st.integers(1, 200))
    completions = read_completions(file_of(tmp_path, "grid", np.random.default_rng(3)))
    monkeypatch.setattr("polymode.evaluation.reduction.ANSWERS_AT_ONCE", most)
    measured = evaluate(completions, n_boot=10, metrics=["tests.test_reduction:alone"])
    assert measured.metrics["alone"].value == measured.metrics["coverage"].value
