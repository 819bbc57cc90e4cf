"""Decisions about proposals, one at a time, by several people at once."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, RecordError, ReviewConflictError, WriteError
from polymode.relabel import DataFields, Desk, Proposal, read_proposals, write_proposals
from polymode.relabel.data import read_data

DATA = [{"question": "Ache?", "references": ["flu"]}, {"question": "Rash?", "references": [["measles", "rubeola"]]}]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    runs.write_jsonl(tmp_path / "questions.jsonl", DATA)
    return tmp_path / "questions.jsonl"


@pytest.fixture
def path(tmp_path: Path, data: Path) -> Path:
    mark = read_data(data, DataFields()).fingerprint
    one = Proposal("record-1", "Ache?", ("flu",), "cold", 0.5, 0.6, 0.8, 3, 5, ("a",), mark)
    write_proposals(tmp_path / "proposals.jsonl", [one, replace(one, answer="the grippe", id="record-1"),
                                                   replace(one, id="record-2", question="Rash?", answer="rubella",
                                                           references=("measles",))])  # fmt: skip
    return tmp_path / "proposals.jsonl"


@pytest.fixture
def desk(path: Path, data: Path, tmp_path: Path) -> Desk:
    return Desk(path, data, tmp_path / "new.jsonl")


def decide(desk: Desk, number: int, by: str = "ann", **what: object) -> None:
    seen = desk.proposals()[number - 1].version
    desk.decide(number, seen, by, **{"accepted": True, **what})  # type: ignore[arg-type]


def test_from_decisions_to_a_new_version(desk: Desk, data: Path, tmp_path: Path) -> None:
    before = data.read_bytes()
    decide(desk, 1)
    decide(desk, 2, answer="grippe", alias_of="flu")
    decide(desk, 3, "ben", accepted=False)
    done = desk.write("cleo")
    assert (done.n_references, done.n_aliases, done.n_records, done.n_refused, done.n_undecided) == (1, 1, 1, 1, 0)
    first, second = runs.read_jsonl(tmp_path / "new.jsonl")
    assert first["references"] == [["flu", "grippe"], "cold"] and second == DATA[1]
    assert [note["by"] for note in first["relabelled"]] == ["ann", "ann"]
    assert data.read_bytes() == before
    kept = read_proposals(tmp_path / "proposals.jsonl")
    assert [p.accepted for p in kept] == [True, True, False] and [p.accepted_by for p in kept] == ["ann", "ann", "ben"]


def test_nobody_decides_over_somebody_else(desk: Desk, path: Path) -> None:
    decide(desk, 1)
    before = path.read_bytes()
    for what in (True, False, None):
        with pytest.raises(ReviewConflictError, match="ann accepted this proposal already"):
            decide(desk, 1, "ben", accepted=what)
    assert path.read_bytes() == before
    decide(desk, 1, "ann", accepted=None)
    decide(desk, 1, "ben", accepted=False)
    assert desk.proposals()[0].proposal.accepted_by == "ben"


def test_a_decision_in_the_file_belongs_to_nobody_here(desk: Desk, path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["accepted"] = False
    runs.write_jsonl(path, lines)
    with pytest.raises(ReviewConflictError, match="somebody, in the file refused"):
        decide(desk, 1)


def test_what_was_not_seen_is_not_decided(desk: Desk) -> None:
    seen = desk.proposals()[0].version
    decide(desk, 1)
    with pytest.raises(ReviewConflictError, match="has changed since"):
        desk.decide(1, seen, "ann", accepted=False)
    with pytest.raises(ReviewConflictError, match="has changed since"):
        desk.decide(2, "", "ann", accepted=True)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"answer": " "}, "answer has 0 characters"),
        ({"answer": "x" * 20_001}, "answer has 20,001 characters"),
        ({"answer": "The Flu."}, "'The Flu.' is a reference already: refuse the proposal"),
        ({"alias_of": "gout"}, "alias_of = 'gout' is no reference"),
        ({"by": "  "}, "by is empty"),
    ],
)
def test_what_the_new_version_would_refuse_is_refused_at_once(desk: Desk, what: dict[str, str], said: str) -> None:
    before = desk.proposals()
    with pytest.raises(ConfigError, match=said):
        decide(desk, 1, **what)  # type: ignore[arg-type]
    assert desk.proposals() == before


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_proposal_that_is_not_there(desk: Desk, number: int) -> None:
    with pytest.raises(DataNotFoundError, match="the file has 3"):
        desk.decide(number, "", "ann", accepted=True)


def test_each_of_many_decisions_at_once_is_kept(path: Path, data: Path) -> None:
    one = read_proposals(path)[0]
    write_proposals(path, [replace(one, answer=f"answer {i}") for i in range(12)])
    failed: list[Exception] = []

    def work(number: int, name: str) -> None:
        try:
            decide(Desk(path, data), number, name)
        except ReviewConflictError as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(n, who)) for n in range(1, 13) for who in ("ann", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    kept = read_proposals(path)
    assert all(p.accepted and p.accepted_by in ("ann", "ben") for p in kept) and len(failed) == 12


def test_a_file_that_cannot_be_written_stays_as_it_is(desk: Desk, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteError, match="No space left"):
        decide(desk, 1)
    monkeypatch.undo()
    assert path.read_bytes() == before
    decide(desk, 1)


def test_the_three_files_must_differ(path: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(data)
    for out, said in (
        (data, "is the original"),
        (tmp_path / "link.jsonl", "is the original"),
        (path, "is the proposals file"),
        (tmp_path / "new.csv", "the new version is JSONL"),
    ):
        with pytest.raises(ConfigError, match=said):
            Desk(path, data, out)
    with pytest.raises(ConfigError, match="is the proposals file"):
        Desk(path, path)
    with pytest.raises(DataNotFoundError, match="does not exist"):
        Desk(path, tmp_path / "none.jsonl")
    with pytest.raises(DataNotFoundError, match="cannot be read"):
        Desk(tmp_path / "none.jsonl", data)
    with pytest.raises(RecordError, match="line 1"):
        Desk(data, path)


def test_without_a_name_for_it_no_new_version_is_written(path: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="--relabelled FILE"):
        Desk(path, data).write("ann")


def test_the_new_version_is_refused_where_the_data_have_changed(desk: Desk, data: Path, tmp_path: Path) -> None:
    decide(desk, 1)
    runs.write_jsonl(data, [*DATA, DATA[0]])
    with pytest.raises(ConfigError, match="another version"):
        desk.write("ann")
    assert not (tmp_path / "new.jsonl").exists()
