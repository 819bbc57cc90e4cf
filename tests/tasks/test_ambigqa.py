"""AmbigQA on handmade records, and on the real subset where it is at hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.references import check_references
from polymode.tasks import Task, open_task, verifier_of
from polymode.tasks.ambigqa import AmbigQA, merge_answers
from polymode.verifiers.text import TextVerifier


def single(*aliases: str) -> dict[str, Any]:
    return {"type": "singleAnswer", "answer": list(aliases)}


def several(**readings: list[str]) -> dict[str, Any]:
    pairs = [{"question": question, "answer": answer} for question, answer in readings.items()]
    return {"type": "multipleQAs", "qaPairs": pairs}


def record(i: int, *annotations: Any) -> dict[str, Any]:
    return {"id": str(i), "question": f"Question {i}?", "annotations": list(annotations)}


def write(folder: Path, **files: list[dict[str, Any]]) -> Path:
    for file, rows in files.items():
        name = {"train": "train_light.json", "test": "dev_light.json"}[file]
        (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return folder


def names(*answers: list[str]) -> list[tuple[str, ...]]:
    return [reference.names for reference, _ in merge_answers(answers)]


def test_answers_that_share_a_name_are_one_reference() -> None:
    assert names(["16"], ["8"], ["16"]) == [("16",), ("8",)]
    # Equality is that of judging: case, articles and punctuation do not count, and the first spelling stays.
    assert names(["The Beatles"], ["beatles.", "Fab Four"]) == [("The Beatles", "Fab Four")]
    assert names(["Edward Rochester", "Rochester"], ["Rochester", "Edward Fairfax Rochester"]) == [
        ("Edward Rochester", "Rochester", "Edward Fairfax Rochester")
    ]
    assert names(["x", "X"]) == [("x",)]


def test_a_name_stays_with_the_first_answer_that_has_it() -> None:
    # The third list shares a name with both: it joins the first, brings c along and leaves b where it is.
    assert names(["a1"], ["b"], ["a1", "b", "c"]) == [("a1", "c"), ("b",)]
    assert [members for _, members in merge_answers([["a1"], ["b"], ["a1", "b", "c"], ["c"]])] == [[0, 2, 3], [1]]


def test_readings_become_references_with_their_questions(tmp_path: Path) -> None:
    rows = [
        record(1, single("16"), several(parts=["8", "8 episodes"], total=["16"])),
        record(2, single("Irina")),
        record(3, several(one=["7"], other=["7", "7 of them"])),
    ]
    task: Task = AmbigQA(write(tmp_path, test=rows))
    found = {e.id: e for e in task.examples("test")}
    first, second, third = (found[f"ambigqa-{i}"] for i in (1, 2, 3))
    assert [r.names for r in first.references] == [("16",), ("8", "8 episodes")]
    assert first.meta == {"several": True, "readings": [["total"], ["parts"]]}
    assert [r.names for r in second.references] == [("Irina",)]
    assert second.meta == {"several": False, "readings": [[]]}
    # Two readings with one answer: several readings, one reference.
    assert [r.names for r in third.references] == [("7", "7 of them")] and third.meta["readings"] == [["one", "other"]]
    assert first.question == "Question 1?" and not first.exclusive
    assert [e.id for e in AmbigQA(tmp_path, at_least=2).examples("test")] == ["ambigqa-1"]
    text = "<think>x</think><answer1>Eight</answer1><answer2>16</answer2><answer3>sixteen</answer3>"
    assert judge(first, parse_answers(text, 3, confidence=False), verifier_of(task)).hits == (1, 1, 0)


def test_train_gives_validation_and_loses_the_questions_of_test(tmp_path: Path) -> None:
    write(
        tmp_path, train=[record(i, single("x")) for i in range(200)], test=[record(i, single("x")) for i in range(20)]
    )
    task = AmbigQA(tmp_path, validation=0.2)
    train, validation, test = ({e.question for e in task.examples(s)} for s in ("train", "validation", "test"))
    assert len(train | validation) == 180 and 20 <= len(validation) <= 60 and len(test) == 20
    assert not train & validation and not (train | validation) & test


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (record(1), r"item 1, field 'annotations': \[\] must be a list with an annotation"),
        (record(1, single()), r"annotation 1: the answer is empty; give at least one text"),
        (record(1, single(" ")), r"annotation 1: the answer is empty"),
        (record(1, {"type": "singleAnswer"}), r"annotation 1: 'singleAnswer' needs 'answer'"),
        (
            record(1, single("a"), {"type": "multipleQAs", "qaPairs": []}),
            r"annotation 2: 'multipleQAs' needs 'qaPairs'",
        ),
        (record(1, {"type": "multipleQAs", "qaPairs": [{"answer": ["a"]}]}), r"a pair needs a question and an answer"),
        (
            record(1, {"type": "noAnswer"}),
            r"annotation 1: 'noAnswer' is not a type; use 'singleAnswer' or 'multipleQAs'",
        ),
        (record(1, "x"), r"annotation 1: 'x' is not a type"),
        (record(1, {"type": "singleAnswer", "answer": "a"}), r"answer 'a' must be a list of texts that mean the same"),
        ({"id": "1", "annotations": []}, r"item 1: field 'question' is missing"),
        (record(1, single("a")) | {"question": " "}, r"field 'question': ' ' must be a text that is not empty"),
        (record(1, single("a")) | {"id": None}, r"field 'id': None must be a text or whole number"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=said):
        AmbigQA(write(tmp_path, test=[row])).examples("test")


def test_missing_data_and_wrong_options_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataNotFoundError, match=r"holds no test questions: none of dev_light.json, dev.json"):
        AmbigQA(tmp_path)
    with pytest.raises(DataNotFoundError, match=r"holds no train questions: none of train_light.json"):
        AmbigQA(write(tmp_path, test=[record(1, single("x"))])).examples("validation")
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    with pytest.raises(DataNotFoundError, match=r"ambigqa: no data folder .*; pass --data DIR .*train_light.json"):
        AmbigQA()
    with pytest.raises(ConfigError, match="at_least = 0 is not allowed: give a whole number from 1"):
        AmbigQA(tmp_path, at_least=0)


def test_the_real_subset(shared_data: Path) -> None:
    task, key = open_task("ambigqa", data=shared_data / "ambigqa"), TextVerifier().key
    found = {split: task.examples(split) for split in ("train", "validation", "test")}  # type: ignore[arg-type]
    assert len(found["train"]) + len(found["validation"]) == 4000 and len(found["test"]) == 1001
    # As counted in the data's own description: records with a multipleQAs annotation.
    assert sum(bool(e.meta["several"]) for e in (*found["train"], *found["validation"])) == 1814
    assert sum(bool(e.meta["several"]) for e in found["test"]) == 556
    asked = {split: {key(e.question) for e in examples} for split, examples in found.items()}
    assert not asked["train"] & asked["validation"] and not (asked["train"] | asked["validation"]) & asked["test"]
    for examples in found.values():
        for example in examples:
            check_references(example.references, TextVerifier())
            keys = [key(name) for reference in example.references for name in reference.names]
            assert len(set(keys)) == len(keys), example.id
            readings = example.meta["readings"]
            assert isinstance(readings, list) and len(readings) == len(example.references)


def test_demonstrations_hold_right_answers_and_answers_to_other_questions(shared_data: Path) -> None:
    task, verifier, rng = AmbigQA(shared_data / "ambigqa"), TextVerifier(), np.random.default_rng(0)
    stated: dict[bool, list[float]] = {True: [], False: []}
    own = 0
    for example in task.examples("train", 300):
        text = task.demonstrate(example, 3, confidence=True, rng=rng)
        answers = parse_answers(text, 3, confidence=True)
        assert answers.is_clean
        verdicts = judge(example, answers, verifier)
        assert set(verdicts.duplicates) == {None}
        for answer, match in zip(answers.answers, verdicts.matches, strict=True):
            assert answer.confidence is not None
            stated[match is not None].append(answer.confidence)
        own += sum(match is not None for match in verdicts.matches)
    # As many right ones as the smaller of the references and a binomial of three with 0.6.
    chances = [0.064, 0.288, 0.432, 0.216]
    sizes = [len(example.references) for example in task.examples("train", 300)]
    expected = sum(p * min(n, size) for size in sizes for n, p in enumerate(chances))
    assert own == pytest.approx(expected, rel=0.1)
    assert np.mean(stated[True]) == pytest.approx(0.8, abs=0.03) and np.mean(stated[False]) == pytest.approx(
        0.4, abs=0.03
    )


def test_wrong_answers_are_of_the_kind_that_is_asked_for(tmp_path: Path) -> None:
    rows = [{**record(i, single(f"person {i}")), "question": f"Who is {i}?"} for i in range(20)]
    rows += [{**record(i, single(f"year {i}")), "question": f"When was {i}?"} for i in range(20, 40)]
    task = AmbigQA(write(tmp_path, train=rows), validation=0.01)
    for example in task.examples("train"):
        text = task.demonstrate(example, 3, confidence=False, rng=np.random.default_rng(1))
        kind = "person" if example.question.startswith("Who") else "year"
        assert all(answer.text.startswith(kind) for answer in parse_answers(text, 3, confidence=False).answers)


def test_too_few_answers_to_demonstrate(tmp_path: Path) -> None:
    task = AmbigQA(write(tmp_path, train=[record(1, single("x")), record(2, single("X"))]), validation=0.01)
    with pytest.raises(ConfigError, match="k = 3 in demonstrations: the data hold only 1 different answers"):
        task.demonstrate(task.examples("train")[0], 3, confidence=False, rng=np.random.default_rng(0))
