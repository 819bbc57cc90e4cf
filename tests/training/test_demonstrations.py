import json
import re
from pathlib import Path

import numpy as np
import pytest

from polymode import runs
from polymode.errors import ConfigError, RecordError
from polymode.parsing import parse_answers
from polymode.tasks import open_task
from polymode.training.demonstrations import (
    Format,
    Warmup,
    candidates_of,
    from_file,
    from_samples,
    from_task,
    numbered,
    plain_answer,
    without_reasoning,
    write_set,
)
from polymode.types import Example, Reference
from polymode.verifiers.text import TextVerifier

TEXT = TextVerifier()
METALS = Example("metals", "Name a noble metal", (Reference("gold", ("Au",)), Reference("silver")))
SAMPLES = ["Gold", "gold.", "iron", "Au", "silver", "iron", "the iron", "gold"]


def test_shares_are_those_of_equal_samples() -> None:
    # Text equality: gold 3 of 8, iron 3 (sampled later), Au 1 (an alias is no equal spelling), silver 1.
    assert candidates_of(METALS, SAMPLES, TEXT) == [("Gold", 3 / 8), ("iron", 3 / 8), ("Au", 1 / 8), ("silver", 1 / 8)]


def test_right_samples_weigh_four_times_and_names_of_one_reference_are_one_answer() -> None:
    # Weights: gold and Au 16, iron 3, silver 4; 23 in all.
    weighted = candidates_of(METALS, SAMPLES, TEXT, references="weight")
    assert weighted == [("Gold", 16 / 23), ("silver", 4 / 23), ("iron", 3 / 23)]


def test_filter_drops_wrong_samples() -> None:
    assert candidates_of(METALS, SAMPLES, TEXT, references="filter") == [("Gold", 0.8), ("silver", 0.2)]


def test_no_usable_sample_gives_no_candidates() -> None:
    assert candidates_of(METALS, [], TEXT) == []
    assert candidates_of(METALS, ["iron"], TEXT, references="filter") == []


def test_samples_become_one_set_in_each_format() -> None:
    formats = (Format(1, True), Format(2, False), Format(5, True))
    completions, n_missing = from_samples([METALS], [["Gold", "gold.", "", "iron", "silver!"]], TEXT, formats)
    assert [one.text for one in completions] == [
        "<answer>Gold</answer><confidence>0.50</confidence>",
        "<answer1>Gold</answer1>\n<answer2>iron</answer2>",
    ]
    assert n_missing == 1  # five answers of three


def test_a_set_is_what_the_prompt_asks_for() -> None:
    text = write_set(candidates_of(METALS, SAMPLES, TEXT)[:3], has_confidence=True)
    answers = parse_answers(text, 3, confidence=True)
    assert answers.is_clean
    assert [(a.text, a.confidence) for a in answers.answers] == [("Gold", 0.38), ("iron", 0.38), ("Au", 0.12)]


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Paris", "Paris"),
        ("  **Paris**.\nIt is the capital.", "Paris"),
        ("<think>London? No.</think>\n\nParis.", "Paris"),
        ("- Paris", "Paris"),
        ("> ## Paris", "Paris"),
        ('"Paris"', "Paris"),
        ("-5", "-5"),
        ("-5.", "-5"),
        ("-3.5.", "-3.5"),
        ("- -3.5", "-3.5"),
        ("#5", "#5"),
        ("1. Peru\n2. Chile", "Peru"),
        ("1) **Peru**", "Peru"),
        ("**1.** Peru", "1.** Peru"),
        ("Answer: Peru", "Peru"),
        ("**Answer:** Peru.", "Peru"),
        ("The final answer is Peru.", "Peru"),
        ("Answers to Prayers", "Answers to Prayers"),
        ("3.14", "3.14"),
        ("U.S.", "U.S."),
        ("<answer>Paris</answer>", "Paris"),
        ("<answer1>Paris</answer1><answer2>Rome</answer2>", "Paris"),
        ("```python\ndef f():\n    return 1\n```", "```python\ndef f():\n    return 1\n```"),
        ("", ""),
        ("<think>so", ""),
    ],
)
def test_plain_answers(reply: str, answer: str) -> None:
    assert plain_answer(reply) == answer


def test_the_task_demonstrates_each_format_in_turn() -> None:
    formats = (Format(1, False), Format(3, True))
    completions = from_task(open_task("clinic"), formats, 6, seed=3)
    assert [(one.k, one.has_confidence) for one in completions] == [(1, False), (3, True)] * 3
    assert all(parse_answers(one.text, one.k, confidence=one.has_confidence).is_clean for one in completions)


def test_demonstrations_without_their_reasoning_are_the_answers_alone() -> None:
    for one in from_task(open_task("clinic"), (Format(3, True),), 4, seed=3):
        short = without_reasoning(one)
        whole, bare = (parse_answers(text, 3, confidence=True) for text in (one.text, short.text))
        assert one.text.endswith(short.text)
        assert "<think>" in one.text
        assert "think>" not in short.text
        assert [(a.text, a.confidence) for a in whole.answers] == [(a.text, a.confidence) for a in bare.answers]
        assert without_reasoning(short) == short


def test_a_task_without_demonstrations_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"question": "Q?", "references": ["a"]}\n')
    with pytest.raises(ConfigError, match="--demonstrations self"):
        from_task(open_task("records", data=path), (Format(1, False),), 1, seed=0)


def write(path: Path, *texts: str) -> Path:
    rows = [
        {"question": f"Q{i}", "references": ["a"], "k": 2, "confidence": False, "completion": t}
        for i, t in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_of_demonstrations(tmp_path: Path) -> None:
    good = "<answer1>a</answer1><answer2>b</answer2>"
    assert [one.text for one in from_file(write(tmp_path / "d.jsonl", good), (Format(2, False),))] == [good]
    with pytest.raises(RecordError, match="demonstration 2"):
        from_file(write(tmp_path / "bad.jsonl", good, "<answer1>a</answer1>"), (Format(2, False),))
    with pytest.raises(RecordError, match="k = 3 with confidences"):
        from_file(write(tmp_path / "other.jsonl", good), (Format(3, True),))


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_question_and_a_completion_are_a_demonstration(tmp_path: Path) -> None:
    answers = (
        "<answer1>Mars</answer1><confidence1>.9</confidence1>",
        "<answer2>Io</answer2><confidence2>.1</confidence2>",
    )
    two = f"<think>hm</think>{''.join(answers)}"
    path = lines(
        tmp_path / "d.jsonl",
        {"question": "Name a planet.", "completion": two},
        {"question": "Name a planet.", "completion": "1. Venus\n2. Mars"},
        {"question": "Name a metal.", "completion": "<answer>Iron</answer>"},
    )
    formats = (Format(2, True), Format(2, False), Format(1, False))
    made = from_file(path, formats)
    assert [(one.k, one.has_confidence, one.example.references) for one in made] == [(*form, ()) for form in formats]
    assert [one.example.id == made[0].example.id for one in made] == [True, True, False]

    # What a run keeps of it says nothing of references, so nobody can judge by them; and it is read back.
    folder = tmp_path / "run"
    runs.write_completions(folder, made, has_references=False)
    with pytest.raises(RecordError, match="references is missing"):
        runs.read_completions(folder)
    assert runs.read_demonstrations(folder) == made


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"completion": "<answer>a</answer>"}, "d.jsonl, line 2: question is missing; a line has"),
        ({"question": " ", "completion": "<answer>a</answer>"}, "line 2: question = ' ' is not allowed"),
        ({"question": "Q"}, "line 2: completion is missing"),
        ({"question": "Q", "completion": 3}, "line 2: completion"),
        ({"question": "Q", "completion": "Peru"}, "line 2: 'Peru' is not in the answer format: correct the line"),
        (
            {"question": "Q", "completion": "<answer1>a</answer1><answer3>b</answer3>"},
            "line 2: the completion does not keep the answer format (slot 2: <answer2> expected, found <answer3>)",
        ),
        (
            {"question": "Q", "completion": "<answer1>a</answer1><answer2>b</answer2><confidence1>.5</confidence1>"},
            "(slot 2: <confidence2> expected, found the end of the text)",
        ),
        ({"question": "Q", "completion": "1. a | 50%\n2. b | .5"}, "(line 1: the confidence is '50%', not a plain"),
        (
            {"question": "Q", "completion": "<answer1>a b</answer1><answer2>A  b</answer2>"},
            "answers 1 and 2 are the same",
        ),
        ({"question": "Q", "completion": "<answer>a</answer>", "k": 0}, "line 2: k = 0"),
        ("Q", "line 2"),
    ],
)
def test_a_line_that_demonstrates_nothing(row: object, message: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "d.jsonl", {"question": "Q", "completion": "<answer>a</answer>"}, row)
    with pytest.raises(RecordError, match=re.escape(message)):
        from_file(path, (Format(1, False),))


def test_what_no_method_asks_for_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two = "<answer>a</answer>", "<answer1>a</answer1><answer2>b</answer2>"
    path = lines(tmp_path / "d.jsonl", *({"question": "Q", "completion": text} for text in (one, two, two)))
    assert [made.text for made in from_file(path, (Format(2, False),))] == [two, two]
    assert "1 of the 3 demonstrations" in caplog.text


@pytest.mark.parametrize(("batch", "most", "rows"), [(16, 8, 8), (2, 8, 2), (12, 8, 6), (13, 8, 1), (16, 5, 4)])
def test_a_pass_takes_what_divides_a_step(batch: int, most: int, rows: int) -> None:
    assert Warmup(batch=batch, device_batch=most).rows_at_once == rows


def test_samples_of_a_question_are_numbered() -> None:
    completions, _ = from_samples([METALS], [["gold", "iron"]], TEXT, (Format(1, True), Format(2, True)))
    assert [one.sample for one in numbered(completions)] == [0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k = 0"),
        ({"samples": 0}, "samples = 0"),
        ({"steps": -1}, "steps = -1"),
        ({"methods": ("single",)}, "methods = 'single'"),
        ({"methods": ()}, "methods"),
        ({"device_batch": 0}, "device_batch = 0"),
        ({"demonstrations": "task", "references": "filter"}, "references = 'filter'"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Warmup(**options)


def test_formats_of_methods() -> None:
    assert Warmup(k=4).formats == ((1, False), (1, True), (4, False), (4, True))
    assert Warmup(methods=("multi-rlcr",)).formats == ((3, True),)
    assert np.isclose(sum(c.share for c in candidates_of(METALS, SAMPLES, TEXT)), 1)
