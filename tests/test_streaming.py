"""Evaluation of a file, shard by shard and in several processes: the numbers and the lines are those of memory."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polymode import runs
from polymode.errors import ConfigError, RecordError, RunExistsError, VerifierFault, WorkerDiedError
from polymode.evaluation import Evaluation, evaluate, evaluate_groups, evaluate_into, read_completions
from polymode.evaluation.engines import LARGE, n_workers
from polymode.runs import JudgedPart, Reading, index_completions
from polymode.runs.completion_blocks import Block, scan_block
from polymode.types import Reference
from polymode.verifiers.scripted import ScriptedVerifier
from polymode.verifiers.text import TextVerifier

WORDS = ("flu", "The Flu", "cold", "mumps", "gout", "?", "é\ud83d")


@dataclass(frozen=True)
class Odd:
    """A verifier that fails on one text, or ends its process on it."""

    deadly: bool = False

    def same(self, a: str, b: str) -> bool:
        if "?" in (a, b):
            if self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            raise VerifierFault("no idea")
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        return any(self.same(answer, name) for name in reference.names)


def line(id_: Any, answers: tuple[str, ...], qs: tuple[float | None, ...], **more: Any) -> dict[str, Any]:
    k = len(answers)
    numbers = [""] if k == 1 else [str(i) for i in range(1, k + 1)]
    slots = "".join(
        f"<answer{n}>{a}</answer{n}>" + ("" if q is None else f"<confidence{n}>{q}</confidence{n}>")
        for n, a, q in zip(numbers, answers, qs, strict=True)
    )
    row = {"completion": f"<think>so {answers[0]} it is</think>{slots}", "k": k, "question": f"Q {id_}?"}
    row |= {"references": ["flu", ["cold", "a cold"]], "meta": {"kind": len(str(id_)) % 2}} | more
    return row if id_ is None else {"id": id_, **row}


def write(folder: Path, rows: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / runs.COMPLETIONS
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@st.composite
def files(draw: st.DrawFn, k: int | None = None) -> list[dict[str, Any]]:
    """Lines of up to eight questions, whose samples stand anywhere and have numbers or not."""
    rows: list[dict[str, Any]] = []
    for place in range(draw(st.integers(1, 24))):
        own_k = k or draw(st.integers(1, 3))
        answers = tuple(draw(st.lists(st.sampled_from(WORDS), min_size=own_k, max_size=own_k)))
        qs = tuple(draw(st.sampled_from([None, 0.1, 0.25, 0.3, 0.85, 1])) for _ in answers)
        id_ = draw(st.sampled_from(["a", "b", "bb", 7, "7", None]))
        more: dict[str, Any] = {"n_tokens": draw(st.sampled_from([None, 5, 9]))}
        if draw(st.booleans()):
            more["sample"] = 100 + 3 * place
        if id_ == "bb":
            more["distribution"] = {"flu": 0.5, "cold": 0.25, "gout": 0.25}
        if id_ in ("a", "bb") and draw(st.integers(0, 5)) == 0:
            more["finished"] = False
        rows.append(line(id_, answers, qs, **more))
    return rows


def same(folder: Path, whole: Evaluation, streamed: Evaluation) -> None:
    """The files that both write, and everything that is returned, to the last digit."""
    whole.write(folder / "whole", completions=folder)
    streamed.write_metrics(folder / "again", completions=folder)
    for name in (runs.JUDGED, runs.METRICS):
        stored = (folder / name).read_bytes()
        assert stored == (folder / "whole" / name).read_bytes().replace(b'"../completions', b'"completions')
    assert streamed.judged == whole.judged and streamed.question_ids == whole.question_ids
    assert streamed.losses == whole.losses
    again = Evaluation.read(folder)
    for name, statistic in whole.statistics.items():
        others = streamed.statistics[name], again.statistics[name]
        assert all(repr(other.n) == repr(statistic.n) for other in others)
        sums = getattr(statistic, "sums", ())
        assert all(repr(getattr(other, "sums", ())) == repr(sums) for other in others)


@given(rows=files())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_without_a_name_or_number_get_them_in_the_order_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    expected: list[tuple[str, int]] = []
    first: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        content = json.dumps([row["question"], row["references"]])
        id_ = str(row["id"]) if "id" in row else first.setdefault(content, str(number))
        numbers = [sample for other, sample in expected if other == id_]
        free = next(n for n in range(len(numbers), 1000) if n not in numbers)
        expected.append((id_, row.get("sample", free)))
    path = write(tmp_path_factory.mktemp("run"), rows)
    try:
        completions = read_completions(path)
    except RecordError as exc:  # a number that an earlier line got; an id that is that of a line without
        assert len(set(expected)) < len(expected) or "with another question" in str(exc)
        return
    assert [(one.example.id, one.sample) for one in completions] == expected
    assert [one.text for one in completions] == [row["completion"] for row in rows]
    offsets = runs.completion_offsets(path)
    assert list(offsets) == expected


HOW = [
    {},
    {"verifier": Odd()},
    {"verifier": ScriptedVerifier({"mumps": "flu", "gout": VerifierFault("down")})},
    {"pooled": True, "k": 2},
    {"pooled": True, "k": 2, "confidence_from": "votes", "verifier": Odd()},
    {"pool": 2},
    {"pool": 3, "verifier": Odd()},
]


@pytest.mark.parametrize("how", HOW)
@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_in_shards_has_the_numbers_of_memory(
    tmp_path_factory: pytest.TempPathFactory, how: dict[str, Any], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run")
    path = write(folder, data.draw(files(1 if how.get("pooled") else how.get("pool"))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polymode.evaluation.folder.BATCH", data.draw(st.sampled_from([1, 3, 100])))
        patch.setattr("polymode.evaluation.stored.BATCH", 2)
        patch.setattr("polymode.runs.completion_blocks.BLOCK", data.draw(st.sampled_from([1, 500, 10_000])))
        try:
            whole = evaluate(read_completions(path), n_boot=20, **how)
        except (ConfigError, RecordError) as exc:  # few samples for a pool; an id that is the number of a line without
            with pytest.raises(type(exc)) as streamed:
                evaluate_into(folder, path, n_boot=20, **how)
            assert str(streamed.value) == str(exc)
            return
        evaluation, _ = evaluate_into(folder, path, n_boot=20, **how)
    same(folder, whole, evaluation)


def test_groups_have_the_numbers_of_memory(tmp_path: Path) -> None:
    rows = [line(id_, ("flu", "?"), (0.5, 0.25)) for id_ in ("a", "bb", "ccc", "bb", "dd", "a")]
    path = write(tmp_path, rows)
    whole = evaluate_groups(read_completions(path), "kind", n_boot=20, verifier=Odd())
    evaluation, groups = evaluate_into(tmp_path, path, by="kind", n_boot=20, verifier=Odd())
    assert list(groups) == list(whole) == ["kind = 0", "kind = 1"]
    for label, group in groups.items():
        assert repr(group.stored()) == repr(whole[label].stored())
        assert group.judged == whole[label].judged
    assert runs.read_metrics(tmp_path).groups.keys() == groups.keys()
    assert evaluation.view["n_completions"] == 6
    with pytest.raises(ConfigError, match="by = 'level': question 'a' has no such field in meta; it has kind"):
        evaluate_into(tmp_path, path, by="level")


BAD = [
    ([line("a", ("flu",), (0.5,)), "[]"], "line 2"),
    ([line("a", ("flu",), (0.5,)), line("a", ("flu",), (0.5,), question="Other?")], "line 2: id 'a' stands in line 1"),
    ([line("a", ("flu",), (0.5,), sample=1)] * 3, "line 2: sample 1 of id 'a' stands in line 1 already"),
    ([line("a", ("flu",), (0.5,), sample=2), line("b", ("flu",), (0.5,), confidences=[0.5, 0.5])], "line 2: confid"),
    ([line("a", ("flu",), (0.5,), references=["flu", "the flu"])], "line 1: references"),
    ([line("a", ("flu",), (0.5,), k=None)], "line 1: k is missing"),
    ([{**line("a", ("flu",), (0.5,)), "schema": 99}], "line 1: schema 99 is newer"),
    ([line("a", ("flu",), (0.5,), target="distribution")], "line 1: "),
    ([], "no completions"),
]


@pytest.mark.parametrize("block", [1, 10_000])
@pytest.mark.parametrize(("rows", "complaint"), BAD)
def test_a_line_that_cannot_be_used_is_named_before_anything_is_judged(
    tmp_path: Path, rows: list[Any], complaint: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.runs.completion_blocks.BLOCK", block)
    path = tmp_path / runs.COMPLETIONS
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    with pytest.raises(RecordError) as whole:
        read_completions(path, verifier=TextVerifier())
    with pytest.raises(RecordError, match=complaint) as streamed:
        evaluate_into(tmp_path, path)
    assert str(streamed.value) == str(whole.value)
    assert os.listdir(tmp_path) == [runs.COMPLETIONS]


def test_numbers_that_are_equal_are_one_question(tmp_path: Path) -> None:
    references = [[{"text": "flu", "weight": weight}] for weight in (1, 1.0)]
    path = write(tmp_path, [line("a", ("flu",), (0.5,), references=own) for own in references])
    for block in (1, 10_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("polymode.runs.completion_blocks.BLOCK", block)
            assert index_completions(path, Reading()).ids == ["a"]


def test_a_block_ends_with_a_line_whatever_its_last_one_is(tmp_path: Path) -> None:
    path = write(tmp_path, [line("a", ("flu",), (0.5,))])
    path.write_bytes(b"\n \n" + path.read_bytes().rstrip(b"\n"))
    size = path.stat().st_size
    scan = scan_block(path, Reading(), None, Block(0, size, 1))
    assert (scan.offset_N, scan.line_U, scan.error) == ([3], [3], None)


def test_what_was_read_before_has_not_changed_meanwhile(tmp_path: Path) -> None:
    path = write(tmp_path, [line("a", ("flu",), (0.5,))])
    index = index_completions(path, Reading())
    write(tmp_path, [line("a", ("cold",), (0.5,))] * 2)
    with pytest.raises(runs.ChangedError, match="has changed"):
        index.questions(0, 1).read(path, index.stamp, Reading(), [0])


def test_a_damaged_or_lost_part_is_judged_again_and_nothing_counts_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("polymode.evaluation.folder.BATCH", 2)
    path = write(tmp_path, [line(id_, ("flu", "cold"), (0.5, 0.25)) for id_ in "abcdef" * 2])
    evaluate_into(tmp_path, path, n_boot=20)
    expected = {name: (tmp_path / name).read_bytes() for name in (runs.JUDGED, runs.METRICS)}
    part = JudgedPart(tmp_path / runs.JUDGED)

    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs, "remove_metrics", stop)
        evaluate_into(tmp_path, path)
    whole = part.path.read_bytes().splitlines(keepends=True)
    assert len(whole) == 1 + 12
    damaged = [whole[2][:-30] + b"\n", whole[3].replace(b'"wrong"', b'"odd"').replace(b'"correct"', b'"odd"')]
    twice = [whole[0], whole[1], *damaged, *whole[5:9], whole[5], whole[12][:40]]
    part.path.write_bytes(b"".join(twice))
    evaluate_into(tmp_path, path, n_boot=20, resume=True)
    assert {name: (tmp_path / name).read_bytes() for name in expected} == expected
    [message] = caplog.messages
    assert "line 3 is damaged: what it held is judged again" in message
    assert not part.path.exists()


def test_two_processes_on_one_output_are_one_too_many(tmp_path: Path) -> None:
    path = write(tmp_path, [line("a", ("flu",), (0.5,))])
    with (
        runs.alone(tmp_path / runs.JUDGED),
        pytest.raises(RunExistsError, match=r"judged.jsonl: another process is writing it now: wait until it is done"),
    ):
        evaluate_into(tmp_path, path)
    assert os.listdir(tmp_path) == [runs.COMPLETIONS]


def test_processes_give_the_same_files_and_one_that_dies_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.evaluation.folder.BATCH", 2)
    monkeypatch.setattr("polymode.runs.completion_blocks.BLOCK", 1000)
    answers = [("flu", "cold")] * 30 + [("flu", "?")]
    rows = [line(f"q{n}", own, (0.5, 0.25)) for n, own in enumerate(answers)]
    path = write(tmp_path, rows)
    evaluate_into(tmp_path / "one", path, n_boot=20, verifier=Odd())
    evaluate_into(tmp_path / "two", path, n_boot=20, verifier=Odd(), workers=2)
    for name in (runs.JUDGED, runs.METRICS):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with pytest.raises(WorkerDiedError, match="a worker process died .*go on with --resume"):
        evaluate_into(tmp_path / "three", path, verifier=Odd(deadly=True), workers=2)
    part = tmp_path / "three" / "judged.jsonl.part"
    n_finished = part.read_bytes().count(b"\n") - 1
    assert 0 < n_finished < 31 and not (tmp_path / "three" / runs.JUDGED).exists()


def test_a_verifier_that_cannot_travel_judges_here(tmp_path: Path) -> None:
    class Local(Odd):
        pass

    path = write(tmp_path, [line("a", ("flu", "cold"), (0.5, 0.25))])
    evaluation, _ = evaluate_into(tmp_path, path, verifier=Local(), workers=2, n_boot=0)
    assert evaluation.metrics["coverage"].value == 2


@pytest.mark.parametrize(
    ("workers", "size", "n"), [(None, 0, 1), (None, LARGE, len(os.sched_getaffinity(0))), (3, 0, 3)]
)
def test_processes_are_worth_it_for_large_files(workers: int | None, size: int, n: int) -> None:
    assert n_workers(workers, size, TextVerifier()) == n


def test_workers_end_with_the_command(tmp_path: Path) -> None:
    """Killed outright, it cannot tell its workers; they look."""
    (tmp_path / "slow_odd.py").write_text(
        "import os, time\n"
        "class Slow:\n"
        "    def same(self, a, b):\n"
        "        open('pids.txt', 'a').write(f'{os.getpid()}\\n')\n"
        "        time.sleep(0.2)\n"
        "        return a == b\n"
        "    def matches(self, answer, reference):\n"
        "        return self.same(answer, reference.text)\n"
    )
    write(tmp_path, [line(f"q{n}", ("flu",), (0.5,)) for n in range(2000)])
    args = [sys.executable, "-m", "polymode", "evaluate", ".", "--verifier", "slow_odd:Slow", "--workers", "2"]
    process = subprocess.Popen(args, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "pids.txt").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    pids = {int(pid) for pid in (tmp_path / "pids.txt").read_text().split()}
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
