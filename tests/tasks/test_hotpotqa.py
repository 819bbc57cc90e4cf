"""HotPotQA-Modified on handmade records, and on the real subset where it is at hand."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.prompts import build_prompt
from polymode.tasks import Task, open_task, verifier_of
from polymode.tasks.hotpotqa import HotpotQA, HotpotRecord, Paragraph, read_hotpot, removed_paragraphs


def record(i: int, *, n_others: int = 8, words: int = 5) -> dict[str, Any]:
    titles = [f"Needed {i}", *(f"Other {i} {j}" for j in range(n_others)), f"Also needed {i}"]
    return {
        "_id": f"id{i}",
        "question": f"Who is number {i}?",
        "answer": f"person {i}",
        "type": "bridge",
        "level": "hard",
        "supporting_facts": [[titles[0], 0], [titles[-1], 1], [titles[-1], 0]],
        "context": [[title, ["One sentence.", " " + "word " * words]] for title in titles],
    }


def write(folder: Path, **files: list[dict[str, Any]]) -> Path:
    names = {"train": "hotpot_train_v1.1.json", "test": "hotpot_dev_distractor_v1.json"}
    for file, rows in files.items():
        (folder / names[file]).write_text(json.dumps(rows), encoding="utf-8")
    return folder


def test_two_paragraphs_are_removed_of_which_c_are_needed(tmp_path: Path) -> None:
    task: Task = HotpotQA(write(tmp_path, test=[record(i) for i in range(300)]))
    counts = Counter()
    for example in task.examples("test"):
        number = example.id.removeprefix("hotpotqa-id")
        removed = example.meta["removed_titles"]
        assert isinstance(removed, list) and len(set(removed)) == 2
        n_needed = sum("needed" in title.lower() for title in removed)
        assert example.meta["gold_removed"] == example.meta["hidden"] == n_needed
        counts[n_needed] += 1
        # What stays: all other paragraphs in their order, the sentences joined, then the question.
        request, *shown, ask = example.question.split("\n\n")
        titles = [title for title, _ in record(int(number))["context"] if title not in removed]
        assert shown == [f"{title}: One sentence. word word word word word" for title in titles] and len(shown) == 8
        assert ask == f"Question: Who is number {number}?" and "may lack" in request
        assert example.references[0].text == example.meta["answer"] == f"person {number}"
        assert (example.exclusive, len(example.references), example.meta["source"]) == (True, 1, "hotpot")
        assert (example.meta["type"], example.meta["level"]) == ("bridge", "hard")
    # 300 draws of 1/3 each: 100 within 4 standard deviations of sqrt(300 x 1/3 x 2/3) = 8.2.
    assert set(counts) == {0, 1, 2} and all(abs(n - 100) < 33 for n in counts.values())


def test_every_paragraph_of_its_kind_is_removed_equally_often() -> None:
    paragraphs = tuple(Paragraph(str(j), "text", j in (2, 5)) for j in range(10))
    records = [HotpotRecord(f"q{i}", "?", "!", "", "", paragraphs) for i in range(3000)]
    counts = Counter(j for each in records for j in removed_paragraphs(each, seed=0))
    # A needed one goes with probability E[c] / 2 = 1/2, another with E[2 - c] / 8 = 1/8.
    for j in range(10):
        p = 1 / 2 if j in (2, 5) else 1 / 8
        assert abs(counts[j] - 3000 * p) < 4 * (3000 * p * (1 - p)) ** 0.5, j


def test_what_is_removed_depends_on_seed_and_id_alone(tmp_path: Path) -> None:
    rows = [record(i) for i in range(30)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = {e.id: e for e in HotpotQA(write(tmp_path / "a", test=rows)).examples("test")}
    part = HotpotQA(write(tmp_path / "b", test=rows[20:5:-1])).examples("test")
    assert all(whole[e.id] == e for e in part) and len(part) == 15
    other = HotpotQA(tmp_path / "a", seed=1).examples("test")
    assert sum(whole[e.id] != e for e in other) > 20


def test_left_out_records_are_counted_with_the_reason(tmp_path: Path) -> None:
    one_needed = record(3)
    one_needed["supporting_facts"] = one_needed["supporting_facts"][:1]
    rows = [record(0), record(1, n_others=1), record(2, n_others=2), one_needed, record(4, words=300)]
    task = HotpotQA(write(tmp_path, test=rows))
    assert {e.id for e in task.examples("test")} == {"hotpotqa-id0", "hotpotqa-id2"}
    assert task.left_out["test"] == {
        "fewer than two needed and two other paragraphs": 2,
        "6000 characters or more": 1,
    }
    plain = HotpotQA(tmp_path, modified=False, max_chars=100_000).examples("test")
    assert len(plain) == 5 and {e.meta["hidden"] for e in plain} == {0}
    assert all("Needed" in e.question and e.meta["removed_titles"] == [] for e in plain)


def test_the_length_limit_is_exact(tmp_path: Path) -> None:
    write(tmp_path, test=[record(0)])
    length = len(HotpotQA(tmp_path).examples("test")[0].question)
    assert len(HotpotQA(tmp_path, max_chars=length + 1).examples("test")) == 1
    assert len(HotpotQA(tmp_path, max_chars=length).examples("test")) == 0


def test_train_gives_validation_and_loses_the_questions_of_test(tmp_path: Path) -> None:
    write(tmp_path, train=[record(i) for i in range(200)], test=[record(i) | {"_id": f"t{i}"} for i in range(190, 210)])
    task = HotpotQA(tmp_path, validation=0.2)
    asked = {
        split: {e.meta["asked"] for e in task.examples(split)}  # type: ignore[arg-type]
        for split in ("train", "validation", "test")
    }
    assert len(asked["train"] | asked["validation"]) == 190 and 20 <= len(asked["validation"]) <= 60
    assert not asked["train"] & asked["validation"] and len(asked["test"]) == 20
    assert not (asked["train"] | asked["validation"]) & asked["test"]
    few = HotpotQA(tmp_path, train_rows=50, test_rows=7, validation=0.2)
    assert len(few.examples("train")) + len(few.examples("validation")) == 50 and len(few.examples("test")) == 7


def test_files_of_whole_paragraphs_are_read_beside_the_official_ones(tmp_path: Path) -> None:
    row = record(1)
    row["context"] = [[title, "".join(s), "eeded" in title] for title, s in row["context"]]
    del row["supporting_facts"]
    lines = [json.dumps(row), json.dumps(row | {"_id": "id7", "question": "Who is number 7?"})]
    with gzip.open(tmp_path / "hotpot_dev_paragraphs.jsonl.gz", "wt", encoding="utf-8") as handle:
        handle.write("\n".join(lines))
    alone = {e.id: e for e in HotpotQA(tmp_path).examples("test")}
    assert set(alone) == {"hotpotqa-id1", "hotpotqa-id7"}
    write(tmp_path, test=[record(1), record(2)])
    both = {e.id: e for e in HotpotQA(tmp_path).examples("test")}
    assert set(both) == {"hotpotqa-id1", "hotpotqa-id2", "hotpotqa-id7"}
    assert both["hotpotqa-id1"].meta == alone["hotpotqa-id1"].meta  # the same paragraphs go


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": ""}, r"item 2, field 'answer': '' must be a text that is not empty; the official test set has no"),
        ({"answer": None}, r"field 'answer': None must be a text"),
        ({"question": 3}, r"item 2, field 'question': 3 must be a text that is not empty"),
        ({"context": []}, r"field 'context': \[\] must be a list of \[title, sentences\]"),
        ({"context": {"title": [], "sentences": []}}, r"field 'context': \[\] must be a list of \[title, sentences\]"),
        ({"context": {"title": ["T"]}}, "field 'context': .* must hold lists of one length called title, sentences"),
        ({"context": {"title": ["T", "U"], "sentences": [["s"]]}}, "must hold lists of one length"),
        (
            {"supporting_facts": {"title": ["T"], "sent_id": None}},
            "must hold lists of one length called title, sent_id",
        ),
        ({"references": ["a", None]}, "field 'references': None is not a reference; it is missing"),
        ({"context": [["T", ["s"], "x"]]}, r"field 'context': \['T', \['s'\], 'x'\] must be \[title, \[sentence"),
        ({"supporting_facts": "T"}, r"field 'supporting_facts': 'T' must be a list of \[title, sentence number\]"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    write(tmp_path, test=[record(0), record(1) | change])
    with pytest.raises(RecordError, match=said):
        HotpotQA(tmp_path).examples("test")


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    row = record(0)
    del row["_id"]
    with pytest.raises(RecordError, match=r"item 1: field '_id' is missing"):
        HotpotQA(write(tmp_path, test=[row])).examples("test")


def test_missing_data_and_wrong_options_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataNotFoundError, match=r"holds no test questions: none of hotpot_dev_distractor_v1.json"):
        HotpotQA(tmp_path)
    with pytest.raises(DataNotFoundError, match=r"holds no train questions: none of hotpot_train_v1.1.json"):
        HotpotQA(write(tmp_path, test=[record(0)])).examples("train")
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    with pytest.raises(
        DataNotFoundError, match=r"hotpotqa: no data folder .*; pass --data DIR .*hotpot_train_v1.1.json"
    ):
        HotpotQA()
    for option, value, allowed in (("seed", -1, 0), ("max_chars", 0, 1), ("train_rows", 0, 1), ("test_rows", -2, 1)):
        with pytest.raises(ConfigError, match=f"{option} = {value} is not allowed: give a whole number from {allowed}"):
            HotpotQA(tmp_path, **{option: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="validation = 1 must lie between 0 and 1"):
        HotpotQA(tmp_path, validation=1)


def test_the_real_subset(shared_data: Path) -> None:
    task = open_task("hotpotqa", data=shared_data / "hotpotqa")
    assert isinstance(task, HotpotQA)
    found = {split: task.examples(split) for split in ("train", "validation", "test")}  # type: ignore[arg-type]
    # 322 + 191 dev and 100 train records, less those that are too long or have too few paragraphs.
    assert len(found["test"]) + task.left_out["test"].total() == 322 + 191
    assert len(found["train"]) + len(found["validation"]) + task.left_out["train"].total() == 100
    assert task.left_out["test"]["fewer than two needed and two other paragraphs"] == 4
    everything = [example for examples in found.values() for example in examples]
    assert len({example.meta["asked"] for example in everything}) == len(everything) > 450
    shares = Counter(example.meta["hidden"] for example in everything)
    assert all(abs(shares[c] / len(everything) - 1 / 3) < 0.08 for c in (0, 1, 2))
    assert max(len(example.question) for example in everything) < 6000
    for example in everything:
        prompt = build_prompt(example.question, 3, confidence=True, exclusive=example.exclusive)
        assert "At most one answer can be correct" in prompt
        text = f"<think>x</think><answer>{example.meta['answer']}</answer>"
        assert judge(example, parse_answers(text, 1, confidence=False), verifier_of(task)).coverage == 1


def test_every_supporting_title_of_the_real_subset_is_in_its_context(shared_data: Path) -> None:
    for name in (
        "hotpot_dev_distractor.json.gz",
        "hotpot_train_distractor_100.json.gz",
        "hotpot_dev_paragraphs.jsonl.gz",
    ):
        for each in read_hotpot(shared_data / "hotpotqa" / name):
            assert sum(paragraph.is_gold for paragraph in each.paragraphs) == 2
            assert all(
                paragraph.text and "  " not in paragraph.text for paragraph in each.paragraphs if paragraph.is_gold
            )


def test_references_of_a_record_come_before_its_answer(tmp_path: Path) -> None:
    rows = [{**record(i), "references": own} for i, own in enumerate(([["person 0", "P. 0"]], ["a", "b"], [], None))]
    (tmp_path / "hotpot_dev_distractor_v1.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    by_id = {example.id: example for example in HotpotQA(tmp_path).examples("test")}
    read = {id_[-1]: ([ref.names for ref in e.references], e.exclusive) for id_, e in by_id.items()}
    assert read == {
        "0": ([("person 0", "P. 0")], True),
        "1": ([("a",), ("b",)], False),  # several right answers do not exclude each other
        "2": ([], True),
        "3": ([("person 3",)], True),
    }
