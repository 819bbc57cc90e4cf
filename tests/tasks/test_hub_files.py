"""Data sets as the Hugging Face hub stores them: Parquet files, in the layout and with the columns of each data set."""

import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from polymode.errors import DataNotFoundError, MissingExtraError
from polymode.tasks import open_task
from polymode.tasks.data_files import hub_files

Row = Mapping[str, Any]
TEXT, TEXTS = pa.string(), pa.list_(pa.string())

HOTPOT = pa.schema(
    {
        "id": TEXT,
        "question": TEXT,
        "answer": TEXT,
        "type": TEXT,
        "level": TEXT,
        "supporting_facts": pa.struct({"title": TEXTS, "sent_id": pa.list_(pa.int32())}),
        "context": pa.struct({"title": TEXTS, "sentences": pa.list_(TEXTS)}),
    }
)
PAIRS = pa.struct({"question": TEXTS, "answer": pa.list_(TEXTS)})
AMBIG = pa.schema(
    {
        "id": TEXT,
        "question": TEXT,
        "annotations": pa.struct({"type": TEXTS, "answer": pa.list_(TEXTS), "qaPairs": pa.list_(PAIRS)}),
        "viewed_doc_titles": TEXTS,
        "used_queries": pa.struct({"query": TEXTS}),
        "nq_answer": TEXTS,
        "nq_doc_title": TEXT,
    }
)
MBPP = {"task_id": pa.int32(), "code": TEXT, "test_list": TEXTS}
FULL = pa.schema({**MBPP, "text": TEXT, "test_setup_code": TEXT, "challenge_test_list": TEXTS})
SANITIZED = pa.schema({**MBPP, "prompt": TEXT, "source_file": TEXT, "test_imports": TEXTS})


def hub_hotpot(row: Row) -> Row:
    titles, sentences = zip(*row["context"], strict=True)
    facts = list(zip(*row["supporting_facts"], strict=True))
    return {
        **row,
        "id": row["_id"],
        "context": {"title": titles, "sentences": sentences},
        "supporting_facts": {"title": facts[0], "sent_id": facts[1]},
    }


def hub_ambig(row: Row) -> Row:
    pairs = [annotation.get("qaPairs", []) for annotation in row["annotations"]]
    columns = {
        "type": [annotation["type"] for annotation in row["annotations"]],
        "answer": [annotation.get("answer", []) for annotation in row["annotations"]],
        "qaPairs": [{name: [pair[name] for pair in own] for name in ("question", "answer")} for own in pairs],
    }
    return {**row, "annotations": columns, "nq_answer": ["x"]}


def write(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [{name: row.get(name) for name in schema.names} for row in rows]
    parquet.write_table(pa.Table.from_pylist(columns, schema), path)


def hotpot(i: int) -> Row:
    titles = [f"Needed {i}", "a", "b", "c", f"Also {i}"]
    return {
        "_id": f"id{i}",
        "question": f"Who is {i}?",
        "answer": f"person {i}",
        "type": "bridge",
        "level": "hard",
        "supporting_facts": [[titles[0], 0], [titles[-1], 1]],
        "context": [[title, ["One.", " Two."]] for title in titles],
    }


def ambig(i: int) -> Row:
    pairs = [{"question": f"Which {r} of {i}?", "answer": [f"{r}{i}", f"{r}-{i}"]} for r in ("first", "second")]
    single = {"type": "singleAnswer", "answer": [f"one{i}", f"One of {i}"]}
    return {"id": str(i), "question": f"Who {i}?", "annotations": [single, {"type": "multipleQAs", "qaPairs": pairs}]}


def mbpp(i: int, sentence: str = "text") -> Row:
    tests = [f"assert add({x}) == {x + i}" for x in (1, 2, 3)]
    code = f"def add(n):\r\n  return n + {i}"
    return {"task_id": i, sentence: f"Add {i}.", "code": code, "test_list": tests, "test_imports": ["import math"]}


def test_hotpotqa_reads_the_hub_as_the_official_files(tmp_path: Path) -> None:
    rows = [hotpot(i) for i in range(20)]
    official, hub = tmp_path / "official", tmp_path / "hub"
    official.mkdir()
    for name, part in (("hotpot_train_v1.1.json", rows[:15]), ("hotpot_dev_distractor_v1.json", rows[15:])):
        (official / name).write_text(json.dumps(part), encoding="utf-8")
    parts = [list(map(hub_hotpot, part)) for part in (rows[:8], rows[8:15], rows[15:])]
    write(hub / "distractor/train-00000-of-00002.parquet", parts[0], HOTPOT)
    write(hub / "distractor/train-00001-of-00002.parquet", parts[1], HOTPOT)
    write(hub / "distractor/validation-00000-of-00001.parquet", parts[2], HOTPOT)
    for split in ("train", "validation", "test"):
        assert open_task("hotpotqa", data=hub).examples(split) == open_task("hotpotqa", data=official).examples(split)
    assert len(open_task("hotpotqa", data=hub / "distractor").examples("test")) == 5


def test_hotpotqa_reads_lists_of_objects_and_json_lines_too(tmp_path: Path) -> None:
    row = {**hotpot(0), "context": [{"title": t, "sentences": s} for t, s in hotpot(0)["context"]]}
    row["supporting_facts"] = [{"title": t, "sent_id": n} for t, n in hotpot(0)["supporting_facts"]]
    (tmp_path / "hotpot_dev_distractor_v1.jsonl").write_text(json.dumps(row) + "\r\n", encoding="utf-8")
    (example,) = open_task("hotpotqa", data=tmp_path, modified=False).examples("test")
    assert example.question.count("One. Two.") == 5


def test_ambigqa_reads_the_hub_as_the_official_files(tmp_path: Path) -> None:
    rows = [ambig(i) for i in range(20)]
    official, hub = tmp_path / "official", tmp_path / "hub"
    official.mkdir()
    for name, part in (("train_light.json", rows[:15]), ("dev_light.json", rows[15:])):
        (official / name).write_text(json.dumps(part), encoding="utf-8")
    write(hub / "light/train-00000-of-00001.parquet", list(map(hub_ambig, rows[:15])), AMBIG)
    write(hub / "light/validation-00000-of-00001.parquet", list(map(hub_ambig, rows[15:])), AMBIG)
    for split in ("train", "validation", "test"):
        assert open_task("ambigqa", data=hub).examples(split) == open_task("ambigqa", data=official).examples(split)


@pytest.mark.parametrize("sanitized", [False, True])
def test_mbpp_reads_the_hub_as_the_official_files(tmp_path: Path, sanitized: bool) -> None:
    rows = [mbpp(i, "prompt" if sanitized else "text") for i in (2, 11, 12, 511, 601, 602)]
    official, hub = tmp_path / "official", tmp_path / "hub"
    official.mkdir()
    name = "sanitized-mbpp.json" if sanitized else "mbpp.jsonl"
    lines = json.dumps(rows) if sanitized else "".join(json.dumps(row) + "\n" for row in rows)
    (official / name).write_text(lines, encoding="utf-8")
    folder = hub / ("sanitized" if sanitized else "full")
    splits = {"prompt": rows[:1], "test": rows[1:3], "validation": rows[3:4], "train": rows[4:]}
    for split, part in splits.items():
        write(folder / f"{split}-00000-of-00001.parquet", part, SANITIZED if sanitized else FULL)
    tasks = [open_task("mbpp", data=data, sanitized=sanitized) for data in (hub, official)]
    for split, n in (("train", 2), ("validation", 1), ("test", 2)):
        read = [task.examples(split) for task in tasks]  # type: ignore[arg-type]
        ours, theirs = ([(e.id, e.question) for e in examples] for examples in read)
        assert ours == theirs and len(ours) == n
    with pytest.raises(DataNotFoundError, match=f"holds none of {name}"):
        open_task("mbpp", data=tmp_path, sanitized=sanitized)


def test_layouts_of_the_hub(tmp_path: Path) -> None:
    def files(*names: str) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return [str(path.relative_to(folder)) for path in hub_files(folder, "train", ["full"])]

    shards = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    assert files(*reversed(shards), "data/test-00000-of-00001.parquet") == shards
    assert files("train.parquet", "full/train.parquet") == ["full/train.parquet"]
    assert files("full/train/0001.parquet", "full/train/0000.parquet")[0] == "full/train/0000.parquet"
    assert files("test.parquet", "train.json") == []
    with pytest.raises(DataNotFoundError, match=r"holds 1 of the 2 files train-\*-of-00002\.parquet: download"):
        files(shards[1])


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "validation.parquet", [hub_hotpot(hotpot(0))], HOTPOT)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"validation\.parquet needs the package 'pyarrow'.*polymode\[train\]"):
        open_task("hotpotqa", data=tmp_path).examples("test")


def test_the_real_subsets_are_the_same_as_parquet(tmp_path: Path, shared_data: Path) -> None:
    for name, file, convert, schema in (
        ("hotpotqa", "hotpot_dev_distractor", hub_hotpot, HOTPOT),
        ("ambigqa", "dev_light", hub_ambig, AMBIG),
    ):
        rows = json.loads(gzip.decompress((shared_data / name / f"{file}.json.gz").read_bytes()))[:200]
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{file}.json").write_text(json.dumps(rows), encoding="utf-8")
        write(tmp_path / f"{name}-hub/validation.parquet", list(map(convert, rows)), schema)
        hub, official = (open_task(name, data=tmp_path / folder).examples("test") for folder in (f"{name}-hub", name))
        assert hub == official and len(hub) > 100
