"""Half of a surrogate pair in any text of any file of a run: read, and written as JSON's escape."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode import runs
from polymode.errors import RecordError
from polymode.evaluation import read_completions
from polymode.runs import surrogates
from polymode.runs.completion_lines import LINES as _ADAPTER
from polymode.runs.validation import parsed_record
from polymode.types import Example, Reference

HALF = "\ud83d"
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=12)


def test_each_field_may_hold_one(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "id": f"i{HALF}",
        "question": f"q{HALF}",
        "completion": f"<answer>\udc00{HALF}é😀</answer>",
        "references": [f"r{HALF}", [f"a{HALF}", "b"], {"text": f"t{HALF}", "aliases": [f"s{HALF}"]}],
        "distribution": {f"r{HALF}": 1.0},
        "p_correct": {f"r{HALF}": 0.5},
        "meta": {f"m{HALF}": [f"v{HALF}"]},
        "k": 1,
    }
    (tmp_path / runs.COMPLETIONS).write_text(json.dumps(row))
    [one] = read_completions(tmp_path)
    assert one.text == row["completion"]
    assert one.example == Example(
        f"i{HALF}",
        f"q{HALF}",
        (Reference(f"r{HALF}"), Reference(f"a{HALF}", ("b",)), Reference(f"t{HALF}", (f"s{HALF}",))),
        row["distribution"],
        row["p_correct"],
        meta=row["meta"],
    )
    path = runs.write_completions(tmp_path / "again", [one])
    assert b"\\ud83d" in path.read_bytes() and "😀".encode() in path.read_bytes()
    assert read_completions(path) == [one]


@given(text=ANY_TEXT, name=ANY_TEXT)
def test_any_text_is_what_json_says_it_is(text: str, name: str) -> None:
    content = json.dumps({"completion": text, "references": ["a"], "meta": {name: text}})
    row = parsed_record(_ADAPTER, content.encode(), "line 1", "fix it")
    expected = json.loads(content)  # two halves side by side are one character
    assert (row.completion, row.meta) == (expected["completion"], expected["meta"])


def test_characters_of_private_use_stay_what_they_are() -> None:
    text = "".join(map(chr, (0xF0000, 0xF003D, 0xF8000, 0xD83D, 0x10F83D, 0xF0800)))
    row = surrogates.validate_json(_ADAPTER, {"completion": text, "references": []} | {"references": ["a"]})
    assert row.completion == text


def test_other_faults_of_such_a_line_are_named_as_ever(tmp_path: Path) -> None:
    (tmp_path / runs.COMPLETIONS).write_text(json.dumps({"completion": HALF, "references": ["a"], "k": "2"}))
    with pytest.raises(RecordError, match="line 1: k = '2' is not allowed: give a whole number; correct the line"):
        read_completions(tmp_path)


def test_json_and_text_are_written_escaped(tmp_path: Path) -> None:
    runs.write_json(tmp_path / "a.json", {HALF: f"x\\{HALF}"})
    assert runs.read_json(tmp_path / "a.json") == {HALF: f"x\\{HALF}"}
    with runs.writing(tmp_path / "page.html") as handle:
        handle.write(f"é{HALF}")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "é\\ud83d"
