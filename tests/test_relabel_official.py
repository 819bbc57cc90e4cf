"""Relabelling official files: from runs of the tasks hotpotqa and ambigqa to files that these tasks read again."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from polymode import runs
from polymode.cli import main
from polymode.evaluation import evaluate
from polymode.relabel import DataFields, propose
from polymode.relabel.data import read_data
from polymode.tasks import open_task
from polymode.types import Completion

TITLES = ["Needed", "a", "b", "c", "Also needed"]
HOTPOT = [
    {
        "_id": f"id{i}",
        "question": f"Who is {i}?",
        "answer": f"person {i}",
        "supporting_facts": [["Needed", 0], ["Also needed", 0]],
        "context": [[title, ["One sentence."]] for title in TITLES],
    }
    for i in range(4)
]
AMBIG = [
    {
        "id": f"{i}",
        "question": f"Who is {i}?",
        "annotations": [{"type": "singleAnswer", "answer": [f"person {i}", "P"]}],
    }
    for i in range(4)
]
OFFICIAL = {
    "hotpotqa": ("hotpot_dev_distractor_v1.json", HOTPOT),
    "ambigqa": ("dev_light.json", AMBIG),
}


def run_of(task_name: str, folder: Path, out: Path, answer: str) -> float:
    """Evaluate a model that always gives this answer; the mean coverage."""
    examples = open_task(task_name, data=folder).examples("test")
    text = f"<answer>{answer}</answer><confidence>0.9</confidence>"
    completions = [Completion(example, text, 1, has_confidence=True) for example in examples]
    runs.write_completions(out, completions)
    evaluation = evaluate(completions)
    evaluation.write(out)
    return evaluation.metrics["coverage"].value


@pytest.mark.parametrize("task_name", ["hotpotqa", "ambigqa"])
@pytest.mark.parametrize("without_completions", [False, True])
def test_from_a_run_to_a_file_that_the_task_reads(
    tmp_path: Path, task_name: str, without_completions: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    name, rows = OFFICIAL[task_name]
    (tmp_path / "data").mkdir()
    data = tmp_path / "data" / name
    data.write_text(json.dumps(rows), encoding="utf-8")
    run = tmp_path / "run"
    assert run_of(task_name, data.parent, run, "somebody") == 0
    if without_completions:
        (run / runs.COMPLETIONS).unlink()
    assert main(["relabel", str(run), "--data", str(data)]) == 0
    proposals = [json.loads(line) for line in (run / "proposals.jsonl").read_text().splitlines()]
    assert [(p["question"], p["answer"], p["references"][0]) for p in proposals] == [
        (f"Who is {i}?", "somebody", f"person {i}") for i in range(4)
    ]
    # One is a further answer, one another wording of the answer; the others are not decided on.
    proposals[0] |= {"accepted": True}
    proposals[1] |= {"accepted": True, "alias_of": "person 1"}
    accepted = tmp_path / "accepted.jsonl"
    accepted.write_text("".join(json.dumps(p) + "\n" for p in proposals), encoding="utf-8")
    out = tmp_path / "new" / f"{name}l"
    out.parent.mkdir()
    command = ["relabel", "--accept", str(accepted), "--by", "ann", "--data", str(data), "--out", str(out)]
    assert main(command) == 0, capsys.readouterr().err
    references = {
        example.id.rpartition("-")[2].removeprefix("id"): [reference.names for reference in example.references]
        for example in open_task(task_name, data=out.parent).examples("test")
    }
    others = ("P",) if task_name == "ambigqa" else ()
    assert references == {
        "0": [("person 0", *others), ("somebody",)],
        "1": [("person 1", *others, "somebody")],
        "2": [("person 2", *others)],
        "3": [("person 3", *others)],
    }
    assert run_of(task_name, out.parent, tmp_path / "again", "somebody") == 0.5
    # Every official field is as it was, and the new version can be relabelled in its turn.
    new = [json.loads(line) for line in out.read_text().splitlines()]
    assert all({**row, **old} == row for row, old in zip(new[2:], rows[2:], strict=True))
    assert new[0]["relabelled"][0]["by"] == "ann"
    assert [row.id for row in read_data(out, DataFields()).rows] == [
        row.id for row in read_data(data, DataFields()).rows
    ]


def test_columns_of_the_hub_are_read(tmp_path: Path) -> None:
    pairs = {"question": ["Which?"], "answer": [["person 0"]]}
    columns = {"type": ["multipleQAs"], "answer": [[]], "qaPairs": [pairs]}
    row = {"id": "0", "question": "Who is 0?", "annotations": columns, "nq_answer": ["x"]}
    path = tmp_path / "validation.parquet"
    parquet.write_table(pa.Table.from_pylist([row]), path)
    (read,) = read_data(path, DataFields()).rows
    assert (read.id, read.references[0].names) == ("ambigqa-0", ("person 0",))
    official = {"type": "multipleQAs", "qaPairs": [{"question": "Which?", "answer": ["person 0"]}]}
    assert read.fields["annotations"] == [official]


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "?", "references": ["x"], "annotations": ["note"]},
        {"question": "?", "references": ["x"], "answer": "x", "context": "A paragraph."},
    ],
)
def test_records_of_ones_own_are_no_official_ones(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(fields), encoding="utf-8")
    data = read_data(path, DataFields())
    assert not data.is_official and data.rows[0].id == "record-1"


def test_ids_of_other_data_name_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    judged = {"id": "record-1", "status": "clean", "answers": ["y"], "confidences": [0.9], "verdicts": ["wrong"]}
    (folder / runs.JUDGED).write_text(json.dumps(judged), encoding="utf-8")
    (folder / runs.COMPLETIONS).write_text(json.dumps({"id": "record-1", "question": "Other?"}), encoding="utf-8")
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "?", "references": ["x"]}), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="no question of the runs stands in"):
        propose([folder], path)
