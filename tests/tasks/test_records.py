import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.tasks.record_files import load_hub
from polymode.tasks.records import Records
from polymode.types import Example, Reference

GASES = {"question": "Name a noble gas.", "references": ["neon", ["argon", "Ar"], {"text": "xenon", "aliases": ["Xe"]}]}


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


# Forms of references


def test_strings_alias_lists_and_objects(tmp_path: Path) -> None:
    example = only(write_jsonl(tmp_path / "q.jsonl", GASES))
    assert example == Example(
        "record-1",
        "Name a noble gas.",
        (Reference("neon"), Reference("argon", ("Ar",)), Reference("xenon", ("Xe",))),
    )


def test_a_flat_list_can_be_the_aliases_of_one_answer(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "q.jsonl", {"question": "Who?", "answer": ["Ada Lovelace", "Lovelace"]})
    assert only(path, references_field="answer", strings="aliases").references == (
        Reference("Ada Lovelace", ("Lovelace",)),
    )
    assert len(only(path, references_field="answer").references) == 2


@pytest.mark.parametrize("name", ["q.csv", "q.tsv"])
@pytest.mark.parametrize(
    "cell", ["neon|argon | xenon", '["neon", "argon", "xenon"]', '[{"text": "neon"}, ["argon"], "xenon"]']
)
def test_cells_hold_json_or_bars(tmp_path: Path, name: str, cell: str) -> None:
    path = write_csv(tmp_path / name, {"question": "Name, a noble gas.", "references": cell})
    example = only(path)
    assert example.question == "Name, a noble gas."
    assert [r.text for r in example.references] == ["neon", "argon", "xenon"]


def test_aliases_and_weights_in_their_own_columns(tmp_path: Path) -> None:
    row = {"question": "?", "references": "neon|argon", "names": '[["Ne"], []]', "p": "0.75|0.25"}
    example = only(write_csv(tmp_path / "q.csv", row), aliases_field="names", weights_field="p")
    assert example.references == (Reference("neon", ("Ne",), 0.75), Reference("argon", (), 0.25))
    assert example.distribution == {"neon": 0.75, "argon": 0.25}


def test_fields_by_name_and_by_path(tmp_path: Path) -> None:
    row = {"item": {"q": "?"}, "a.b": ["x"], "key": 7}
    example = only(
        write_jsonl(tmp_path / "q.jsonl", row), question_field="item.q", references_field="a.b", id_field="key"
    )
    assert (example.id, example.question, example.references[0].text) == ("7", "?", "x")


# Weights


@pytest.mark.parametrize(
    ("weights", "distribution"),
    [
        ([0.5, 0.3, 0.2], {"a": 0.5, "b": 0.3, "c": 0.2}),
        ([0.5, 0.3, 0.195], {"a": 0.5 / 0.995, "b": 0.3 / 0.995, "c": 0.195 / 0.995}),  # rounded by its writer
        ([0.5, 0.3, 0.1], None),  # the rest belongs to answers that are not references
        ([0.5, 0.5, None], None),
    ],
)
def test_weights_of_all_references_become_the_distribution(
    tmp_path: Path, weights: list[float | None], distribution: dict[str, float] | None
) -> None:
    refs = [{"text": text, "weight": weight} for text, weight in zip("abc", weights, strict=True)]
    example = only(write_jsonl(tmp_path / "q.jsonl", {"question": "?", "references": refs}))
    assert [r.weight for r in example.references] == weights
    assert example.distribution == (None if distribution is None else pytest.approx(distribution))


# Files


def test_all_formats_read_the_same(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow
    from pyarrow import parquet

    rows = [{"question": f"q{i}", "references": [f"a{i}", f"b{i}"]} for i in range(30)]
    paths = [write_jsonl(tmp_path / "q.jsonl", *rows), tmp_path / "q.json", tmp_path / "q.jsonl.gz"]
    paths[1].write_text(json.dumps(rows), encoding="utf-8")
    paths[2].write_bytes(gzip.compress(paths[0].read_bytes()))
    paths.append(write_csv(tmp_path / "q.csv", *({**r, "references": "|".join(r["references"])} for r in rows)))
    paths.append(tmp_path / "q.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), paths[-1])
    read = [{split: list(Records(path).examples(split)) for split in ("train", "validation", "test")} for path in paths]
    assert all(splits == read[0] for splits in read[1:])
    assert sum(map(len, read[0].values())) == 30


def test_missing_pyarrow_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "q.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"'pyarrow'.*pip install 'polymode\[train\]'"):
        Records(tmp_path / "q.parquet").examples("train")


def test_a_record_carries_its_class_of_risk_and_further_fields(tmp_path: Path) -> None:
    def meta(row: dict[str, Any], **options: Any) -> Any:
        return only(write_jsonl(tmp_path / "a.jsonl", {"question": "q", "references": ["x"], **row}), **options).meta

    assert meta({}) == {}
    assert meta({"risk": "red flag", "meta": {"ward": 3}}) == {"ward": 3, "risk": "red flag"}
    assert meta({"class": 2}, risk_field="class") == {"risk": "2"}
    assert meta({"about": {"ward": 3}}, meta_field="about") == {"ward": 3}
    # Other people's files may mean anything by these words.
    assert meta({"risk": 0.3, "meta": "none"}) == meta({"risk": None, "meta": [1]}) == meta({"risk": " "}) == {}
    for row, options, said in (
        ({"risk": 0.3}, {"risk_field": "risk"}, "field 'risk': 0.3 is not allowed: give the name of a class"),
        ({"meta": "x"}, {"meta_field": "meta"}, "field 'meta': 'x' is not allowed: give an object"),
        ({}, {"risk_field": "class"}, "field 'class' is missing"),
    ):
        with pytest.raises(RecordError, match=said):
            meta(row, **options)


def test_blank_lines_are_skipped_but_counted(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("\n" + json.dumps(GASES) + "\n\n", encoding="utf-8")
    assert only(path).id == "record-2"


# Splits


def rows(count: int, prefix: str = "q") -> list[dict[str, Any]]:
    return [{"question": f"{prefix}{i}", "references": ["x"]} for i in range(count)]


def questions(task: Records) -> list[set[str]]:
    return [{e.question for e in task.examples(split)} for split in ("train", "validation", "test")]


def test_one_file_is_divided_by_the_text_of_the_question(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "q.jsonl", *rows(1000))
    train, validation, test = questions(Records(path, validation=0.2, test=0.1))
    assert len(train) + len(validation) + len(test) == 1000
    # Binomial: 200 and 100 expected, standard deviations 12.6 and 9.5; four of them.
    assert abs(len(validation) - 200) < 51 and abs(len(test) - 100) < 38
    more = write_jsonl(tmp_path / "more.jsonl", *rows(50, "other"), *rows(1000))
    assert all(a <= b for a, b in zip((train, validation, test), questions(Records(more, validation=0.2)), strict=True))
    assert questions(Records(path, validation=0.2, split_seed=1))[1] != validation


def test_a_folder_of_split_files(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", *rows(100))
    write_jsonl(tmp_path / "dev.jsonl", *rows(5, "d"))
    (tmp_path / "test.csv.gz").write_bytes(gzip.compress(b"question,references\nt0,x\n"))
    (tmp_path / "notes.txt").touch()
    task = Records(tmp_path)
    assert [len(part) for part in questions(task)] == [100, 5, 1]
    assert [e.id for e in task.examples("test")] == ["test-1"]


def test_a_split_without_a_file_is_held_out_of_train(tmp_path: Path) -> None:
    task = Records(
        {
            "train": write_jsonl(tmp_path / "a.jsonl", *rows(200)),
            "test": write_jsonl(tmp_path / "b.jsonl", *rows(9, "t")),
        }
    )
    train, validation, test = questions(task)
    assert len(test) == 9 and validation and len(train) + len(validation) == 200


def test_a_column_that_names_the_split(tmp_path: Path) -> None:
    named = [{**row, "part": part} for row, part in zip(rows(4), ("train", "Dev", "test", "test"), strict=True)]
    task = Records(write_jsonl(tmp_path / "q.jsonl", *named), split_field="part")
    assert questions(task) == [{"q0"}, {"q1"}, {"q2", "q3"}]
    bad = write_jsonl(tmp_path / "bad.jsonl", {**GASES, "part": "holdout"})
    with pytest.raises(RecordError, match=r"bad\.jsonl, line 1, field 'part': 'holdout' is not a split"):
        Records(bad, split_field="part").examples("train")


def test_splits_never_share_a_question(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", *rows(5))
    write_jsonl(tmp_path / "validation.jsonl", *rows(2))
    write_jsonl(tmp_path / "test.jsonl", *rows(1))
    assert questions(Records(tmp_path)) == [{"q2", "q3", "q4"}, {"q1"}, {"q0"}]


def test_shuffled_by_the_seed(tmp_path: Path) -> None:
    task = Records(write_jsonl(tmp_path / "q.jsonl", *rows(100)), validation=0, test=0)
    ids = [e.id for e in task.examples("train", seed=3)]
    assert [e.id for e in task.examples("train", 10, seed=3)] == ids[:10]
    assert [e.id for e in task.examples("train", seed=4)] != ids
    with pytest.raises(DataNotFoundError, match="the test split is empty"):
        task.examples("test")


# Errors


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"references": ["x"]}, r"field 'question' is missing; add it, or name another \('references'\)"),
        ({"question": "?"}, "field 'references' is missing"),
        ({"question": " ", "references": ["x"]}, "field 'question': ' ' must be a text that is not empty"),
        ({"question": 5, "references": ["x"]}, "field 'question': 5 must be a text"),
        ({"question": "?", "references": None}, "field 'references': the value is missing; write .* an empty list"),
        ({"question": "?", "references": float("nan")}, "field 'references': the value is missing"),
        ({"question": "?", "references": ["x", None]}, "None is not a reference; it is missing"),
        ({"question": "?", "references": [["x", float("nan")]]}, "one of its names is missing"),
        ({"question": "?", "references": [[["x"]]]}, "one level too deep: give a list of aliases"),
        ({"question": "?", "references": {"text": ["x"]}}, "references_field=FIELD.text"),
        ({"question": "?", "references": [True]}, 'True is not a reference; write it as a text, "True"'),
        ({"question": "?", "references": "[0, 1]"}, r"'\[0, 1\]' may be a list or a text; .*list_texts = 'keep'"),
        ({"question": "?", "references": "[sic]"}, "may be a list or a text"),
        ({"question": "?", "references": "['a' 'b']"}, "may be a list or a text"),
        ({"question": "?", "references": "array(['a', 'b'], dtype=object)"}, "may be a list or a text"),
        ({"question": "?", "references": ["['a', 'b']"]}, "is a list written as a text; give the list itself"),
        ({"question": [{"role": "system", "content": "s"}], "references": ["x"]}, "must be a text that is not empty"),
        ({"question": "?", "references": [" "]}, "empty text in ' '"),
        ({"question": "?", "references": [3]}, "3 is not a reference"),
        ({"question": "?", "references": ["The Flu", "flu"]}, "'The Flu' and 'flu' are the same answer"),
        ({"question": "?", "references": [["a b", "c"], ["C", "A b."]]}, "'a b' and 'C' are the same answer"),
        (
            {"question": "?", "references": [{"text": "x", "weight": float("nan")}]},
            "weight nan of 'x' must be a number",
        ),
        ({"question": "?", "references": [{"text": "x", "weight": -0.1}]}, "weight -0.1 of 'x' must be a number"),
        (
            {"question": "?", "references": [{"text": "x", "weight": 0.8}, {"text": "y", "weight": 0.8}]},
            "weights sum to 1.6; they are probabilities",
        ),
    ],
)
def test_bad_records_name_file_line_field_and_value(tmp_path: Path, row: dict[str, Any], complaint: str) -> None:
    path = write_jsonl(tmp_path / "q.jsonl", GASES, row)
    with pytest.raises(RecordError, match=rf"q\.jsonl, line 2.*(?:{complaint})") as caught:
        Records(path).examples("train")
    assert "\n" not in str(caught.value)


def test_duplicate_ids_name_both_places(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "q.jsonl", {**GASES, "id": "g"}, {**GASES, "id": "h"}, {**GASES, "id": "g"})
    with pytest.raises(RecordError, match=r"line 3: id 'g' is also that of .*line 1; ids must differ"):
        Records(path, id_field="id").examples("train")
    with pytest.raises(RecordError, match="line 1: field 'x' is missing"):
        Records(path, id_field="x").examples("train")


def test_one_entry_per_reference(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "q.csv", {"question": "?", "references": "a|b", "p": "0.5", "q": "much|little"})
    with pytest.raises(RecordError, match=r"q\.csv, row 1, field 'p': 1 entries for 2 references"):
        Records(path, weights_field="p").examples("train")
    with pytest.raises(RecordError, match="weight 'much' of 'a' must be a number"):
        Records(path, weights_field="q").examples("train")


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("q.jsonl", "{}\n[1]\n", "line 1: field 'question' is missing"),
        ("q.jsonl", "[1]\n", "item 1: an object is needed, got int"),
        ("q.jsonl", "{question\n", "line 1: not valid JSON"),
        ("q.json", '{"a": 1}', "line 1: field 'question' is missing"),
        ("q.json", '{"question": "?", "references": ["x"]}\n\n3\n', "line 3: an object is needed, got int"),
        ("q.json", '{"question": "?", "references": ["x"]}\n{"a"\n', "line 3: not valid JSON"),
        ("q.json", "[" * 100_000, "not valid JSON"),
        ("q.json", "[1]", "item 1: an object is needed, got int"),
        ("q.csv", "question,references\na,b,c\n", "row 1: more cells than columns"),
        ("q.csv", 'question,references\na,"b\n', "q.csv, after line 1: unexpected end of data"),
        ("q.csv", "question,references\na,[1\n", "row 1, field 'references': '\\[1' may be a list or a text"),
        ("q.csv", "question,references\na,\n", "row 1, field 'references': the value is missing"),
        (
            "q.csv",
            "question,references\na,NaN\n",
            "'NaN' stands for a missing value; .* or \\[\"NaN\"\\] where it is one",
        ),
        ("q.parquet", "no", "not a readable Parquet file"),
        ("q.txt", "hello", "the format is not known by its name"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=complaint):
        Records(tmp_path / name).examples("train")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"none\.jsonl' does not exist"):
        Records(tmp_path / "none.jsonl")
    with pytest.raises(DataNotFoundError, match=r"data/none\.jsonl' does not exist"):
        Records("data/none.jsonl")  # a path, not a data set's name
    with pytest.raises(DataNotFoundError, match="holds no file named train, validation or test"):
        Records(tmp_path)
    write_jsonl(tmp_path / "val.jsonl", GASES)
    write_jsonl(tmp_path / "dev.jsonl", GASES)
    with pytest.raises(RecordError, match=r"dev\.jsonl and val\.jsonl are both validation"):
        Records(tmp_path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"strings": "names"}, "strings = 'names' is not known"),
        ({"style": "long"}, "style = 'long' is not known"),
        ({"validation": 0.6, "test": 0.4}, "validation = 0.6 and test = 0.4 must be shares"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Records(write_jsonl(tmp_path / "q.jsonl", GASES), **options)


# Data sets by name


def test_load_dataset_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "copy"
    folder.mkdir()
    write_jsonl(folder / "train.jsonl", *rows(3))
    write_jsonl(folder / "test.jsonl", *rows(2, "t"))
    found = load_hub(str(folder), None)
    assert {split: [r.get("question") for r in part] for split, part in found.items()} == {
        "train": ["q0", "q1", "q2"],
        "test": ["t0", "t1"],
    }
    monkeypatch.setattr("polymode.tasks.records.load_hub", lambda name, config: load_hub(str(folder), config))
    task = Records("owner/name", validation=0)
    assert {e.question: e.references for e in task.examples("test")} == {
        "t0": (Reference("x"),),
        "t1": (Reference("x"),),
    }


def test_a_name_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    with pytest.raises(DataNotFoundError, match="cannot load data set 'nobody/nothing'"):
        Records("nobody/nothing")
