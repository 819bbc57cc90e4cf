"""What each file says of its version, and what damaged or newer files are answered with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.errors import ConfigError, PolymodeError, RecordError, RunIncompleteError
from polymode.evaluation import Evaluation, evaluate, evaluate_groups, read_completions
from polymode.policy import Policy
from polymode.types import Completion, Example, Reference

EXAMPLE = Example("q", "Which?", (Reference("a"), Reference("b")), meta={"kind": "easy"})
TEXT = "<answer1>a</answer1><confidence1>0.9</confidence1><answer2>x</answer2><confidence2>0.1</confidence2>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every file of a run."""
    completions = [Completion(EXAMPLE, TEXT, 2, True, sample) for sample in (0, 1)]
    runs.create(tmp_path, {"task": "clinic"})
    runs.write_completions(tmp_path, completions, task={"name": "clinic", "options": {}})
    evaluate(completions, n_boot=10).write(tmp_path)
    runs.write_policy(tmp_path / runs.POLICY, Policy(k=2))
    runs.append_step(tmp_path / runs.TRAIN_METRICS, {"step": 1, "reward": float("nan")})
    return tmp_path


READERS: dict[str, Callable[[Path], object]] = {
    runs.CONFIG: lambda f: runs.read_configuration(f),
    runs.COMPLETIONS: lambda f: read_completions(f),
    runs.JUDGED: lambda f: list(runs.judged_lines(f / runs.JUDGED)),
    runs.METRICS: lambda f: runs.read_metrics(f),
    runs.POLICY: lambda f: runs.read_policy(f / runs.POLICY),
    runs.TRAIN_METRICS: lambda f: runs.read_steps(f),
}


@pytest.mark.parametrize("name", READERS)
def test_a_newer_schema_names_file_line_version_and_fix(folder: Path, name: str) -> None:
    path = folder / name
    text = path.read_text().replace('"schema":1', '"schema": 1')
    assert text.count('"schema": 1') == (2 if name in (runs.COMPLETIONS, runs.JUDGED) else 1)
    READERS[name](folder)
    path.write_text(text.replace('"schema": 1', '"schema": 2'))
    with pytest.raises((RecordError, ConfigError)) as caught:
        READERS[name](folder)
    line = ", line 1" if name.endswith("l") else ""
    assert f"{path}{line}: schema 2 is newer than this polymode, which reads up to schema 1: upgrade" in str(
        caught.value
    )


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("{\n")
    with pytest.raises(PolymodeError, match=f"{name}.*not valid JSON") as caught:
        READERS[name](folder)
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named_with_its_line(folder: Path) -> None:
    path = folder / runs.JUDGED
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    del rows[1]["answers"]
    runs.write_jsonl(path, rows)
    with pytest.raises(RecordError, match="judged.jsonl, line 2: answers is missing; judge again"):
        list(runs.judged_lines(path))
    problems: list[RecordError] = []
    assert [line.number for line in runs.judged_lines(path, "run", on_damage=problems.append)] == [1]
    assert str(problems[0]).startswith("run, line 2: answers is missing")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"view": 3}, "view = 3 is not allowed: give an object"),
        ({"view": {"pooled": "yes"}}, "view, pooled = 'yes' is not allowed: give true or false"),
        ({"view": {"k": True}}, "view, k = True is not allowed: give a whole number"),
        ({"metrics": {"ece": 3}}, "metrics, ece = 3 is not allowed: give an object"),
        ({"metrics": {"ece": {"value": "high"}}}, "metrics, ece, value = 'high' is not allowed: give a number"),
        ({"curves": {"reliability": [3]}}, "curves, reliability, 1 = 3 is not allowed: give an object"),
        ({"groups": {"easy": []}}, "groups, easy = \\[\\] is not allowed: give an object"),
        ({"schema": "new"}, "schema = 'new' is not allowed: give a whole number from 0"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    runs.write_json(tmp_path / runs.METRICS, change)
    with pytest.raises(RecordError, match=f"metrics.json.*{complaint}"):
        runs.read_metrics(tmp_path)


def test_groups_come_back(folder: Path) -> None:
    groups = evaluate_groups(read_completions(folder), "kind", n_boot=10)
    evaluate(read_completions(folder), n_boot=10).write_metrics(folder, groups=groups)
    [(label, group)] = runs.read_metrics(folder).groups.items()
    assert label == "kind = easy" and group.metrics["coverage"].value == 1 and group.curves == {}
    assert Evaluation.read(folder).metrics["coverage"].value == 1


def test_lines_are_read_at_their_offsets_until_the_file_changes(folder: Path) -> None:
    path = folder / runs.JUDGED
    lines = list(runs.judged_lines(path))
    stamp = runs.stamp_of(path)
    assert runs.judged_at(path, stamp, [lines[1].offset, 0]) == [lines[1].judged, lines[0].judged]
    offsets = runs.completion_offsets(folder / runs.COMPLETIONS)
    row = runs.read_at(folder / runs.COMPLETIONS, runs.stamp_of(folder / runs.COMPLETIONS), [offsets["q", 1]])[0]
    assert (row["id"], row["sample"]) == ("q", 1)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(runs.ChangedError, match="judged.jsonl has changed"):
        runs.judged_at(path, stamp, [0])


def test_offsets_follow_the_ids_that_the_reader_gives(tmp_path: Path) -> None:
    line = {"completion": "x", "references": ["a"], "k": 1}
    rows = [
        line,
        {**line, "question": "Q?"},
        {**line, "question": "Q?"},
        {**line, "id": 7, "sample": 1},
        {**line, "id": 7},
    ]
    runs.write_jsonl(tmp_path / runs.COMPLETIONS, rows)
    read = [(one.example.id, one.sample) for one in read_completions(tmp_path)]
    offsets = runs.completion_offsets(tmp_path / runs.COMPLETIONS)
    assert list(offsets) == read == [("1", 0), ("2", 0), ("2", 1), ("7", 1), ("7", 2)]
    assert sorted(offsets.values()) == list(offsets.values())


def test_completions_are_found_where_they_were_judged_and_only_unchanged(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a" / "b"
    evaluate(read_completions(folder), n_boot=0).write(elsewhere, completions=folder)
    assert runs.completions_of(elsewhere).samefile(folder / runs.COMPLETIONS)
    with (folder / runs.COMPLETIONS).open("a") as handle:
        handle.write("\n")
    with pytest.raises(RunIncompleteError, match="has changed since it was judged into .*b: run polymode"):
        runs.completions_of(elsewhere)
    (folder / runs.COMPLETIONS).unlink()
    with pytest.raises(RunIncompleteError, match="is missing, so the texts of .* cannot be shown"):
        runs.completions_of(elsewhere)


def test_task_and_verifier_stand_in_the_meta_of_each_line(folder: Path) -> None:
    task = {"name": "clinic", "options": {}}
    assert [one.example.meta for one in read_completions(folder)] == [{"kind": "easy", "task": task}] * 2
    of_task = {"name": "task:clinic", "options": {}}
    assert runs.named_verifiers(folder / runs.COMPLETIONS) == [(1, of_task)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"completion": "\\ud80", "references": ["a"], "k": 1}', "not valid JSON"),
        (b'{"completion": "x", "references": ["a"], "k": 1, "n_tokens": 1e400}', "n_tokens"),
    ],
)
def test_what_no_text_or_number_is_is_named(tmp_path: Path, line: bytes, complaint: str) -> None:
    (tmp_path / runs.COMPLETIONS).write_bytes(b"\xef\xbb\xbf" + line + b"\n")
    with pytest.raises(RecordError, match=f"completions.jsonl, line 1: {complaint}.*; correct the line"):
        read_completions(tmp_path)
