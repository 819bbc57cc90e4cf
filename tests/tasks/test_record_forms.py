"""Records as they come: lists written as text, no right answer, messages, JSON in any arrangement."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import RecordError
from polymode.tasks.records import Records
from polymode.types import Example, Reference


def write_jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


def only(source: Path, **options: Any) -> Example:
    """The one record of a file, held out for nothing."""
    [example] = Records(source, validation=0, test=0, **options).examples("train")
    return example


@pytest.mark.parametrize(
    "text", ['["neon", ["argon", "Ar"]]', "['neon', ['argon', 'Ar']]", "('neon', ['argon', 'Ar'],)"]
)
@pytest.mark.parametrize("name", ["q.jsonl", "q.csv"])
def test_a_list_written_as_text_is_the_list(tmp_path: Path, name: str, text: str) -> None:
    row = {"question": "?", "references": text}
    path = (write_csv if name.endswith("csv") else write_jsonl)(tmp_path / name, row)
    assert only(path).references == (Reference("neon"), Reference("argon", ("Ar",)))
    assert only(path, list_texts="parse") == only(path)
    if name.endswith("jsonl"):
        assert only(path, list_texts="keep").references == (Reference(text),)


def test_aliases_written_as_text_like_those_of_popqa(tmp_path: Path) -> None:
    row = {"question": "?", "possible_answers": '["politician", "political leader"]'}
    example = only(write_jsonl(tmp_path / "q.jsonl", row), references_field="possible_answers", strings="aliases")
    assert example.references == (Reference("politician", ("political leader",)),)


def test_texts_that_only_look_like_lists(tmp_path: Path) -> None:
    rows = [
        {"question": f"{i}?", "references": text} for i, text in enumerate(("[Ar] 4s1", "[0, 1)", "(2, 3)", "{1, 2}"))
    ]
    examples = Records(write_jsonl(tmp_path / "q.jsonl", *rows), validation=0, test=0).examples("train")
    assert {example.references[0].text for example in examples} == {"[Ar] 4s1", "[0, 1)", "(2, 3)", "{1, 2}"}
    interval = write_jsonl(tmp_path / "i.jsonl", {"question": "?", "references": "[0, 1]"})
    assert only(interval, list_texts="keep").references == (Reference("[0, 1]"),)
    with pytest.raises(RecordError, match='0 is not a reference; write it as a text, "0"'):
        only(interval, list_texts="parse")
    with pytest.raises(RecordError, match="'Ne' is no list; with list_texts = 'parse' every text must be one"):
        only(write_jsonl(tmp_path / "n.jsonl", {"question": "?", "references": "Ne"}), list_texts="parse")
    named = write_jsonl(tmp_path / "t.jsonl", {"question": "?", "references": [{"text": "['a', 'b']"}]})
    assert only(named).references == (Reference("['a', 'b']"),)
    listed = write_jsonl(tmp_path / "l.jsonl", {"question": "?", "references": ["['a']", "b"]})
    assert only(listed, list_texts="keep").references == (Reference("['a']"), Reference("b"))
    assert only(listed, list_texts="keep", strings="aliases").references == (Reference("['a']", ("b",)),)


@pytest.mark.parametrize("empty", [[], "[]"])
def test_an_empty_list_says_that_nothing_is_right(tmp_path: Path, empty: Any) -> None:
    for strings in ("references", "aliases"):
        assert only(write_jsonl(tmp_path / "q.jsonl", {"question": "?", "references": empty}), strings=strings) == (
            Example("record-1", "?", ())
        )
    assert only(write_csv(tmp_path / "q.csv", {"question": "?", "references": "[]"})).references == ()


def test_a_question_in_the_form_of_a_message(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "Name a noble gas."}], "references": ["neon"]}
    assert only(write_jsonl(tmp_path / "q.jsonl", row), question_field="prompt").question == "Name a noble gas."


ROWS = [{"question": f"q{i}", "references": [f"a{i}"]} for i in range(4)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines.json", LINES),
        ("windows.json", LINES.replace("\n", "\r\n")),
        ("no_last_newline.json", LINES.rstrip()),
        ("blank_lines.json", "\n" + LINES.replace("\n", "\n\n") + "  \n"),
        ("marked.json", "\ufeff" + LINES),
        ("indented.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("one_line.json", "".join(map(json.dumps, ROWS))),
        ("list.jsonl", json.dumps(ROWS)),
        ("list_indented.jsonl", "\ufeff\n" + json.dumps(ROWS, indent=2) + "\n"),
        ("windows.jsonl", "\ufeff" + LINES.replace("\n", "\r\n") + "\r\n"),
        ("list.ndjson", json.dumps(ROWS)),
        ("upper.JSON", LINES),
    ],
)
def test_json_in_any_arrangement_under_either_name(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    for path in (tmp_path / name, tmp_path / f"{name}.gz"):
        examples = Records(path, validation=0, test=0).examples("train")
        assert {e.question: e.references[0].text for e in examples} == {f"q{i}": f"a{i}" for i in range(4)}


def test_json_lines_have_the_same_ids_under_either_name(tmp_path: Path) -> None:
    for name in ("q.json", "q.jsonl"):
        (tmp_path / name).write_text("\n" + LINES, encoding="utf-8")
    ids = [[e.id for e in Records(tmp_path / name).examples("train")] for name in ("q.json", "q.jsonl")]
    assert ids[0] == ids[1]
