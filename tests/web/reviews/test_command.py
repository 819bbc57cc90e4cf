"""`polymode reviews`: counts, and resolved items as data."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from polymode.cli import main
from polymode.types import Verdict
from polymode.web.reviews.queue import ReviewQueue


def test_the_command_counts_and_writes(
    file: Path, clock, add: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ReviewQueue(file, clock=clock) as queue:
        for verdict in (Verdict.CORRECT, Verdict.WRONG):
            item_id = add(queue, f"{verdict.value}?", model_id="m")
            queue.claim("ann", item_id)
            queue.resolve(item_id, "ann", verdicts={0: verdict, 1: Verdict.WRONG})
        add(queue, "Waiting?")
    records, judged = tmp_path / "records.jsonl", tmp_path / "judged.jsonl"
    assert main(["reviews", str(file), "--records", str(records), "--judged", str(judged), "--k", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 open, 0 claimed, 2 resolved, 0 dismissed",
        "oldest open: 2026-03-01T12:00:00+00:00",
        f"records: {records} (1 questions, 1 left out, as no right answer is known)",
        f"judged: {judged} (2 answer sets)",
    ]
    assert json.loads(records.read_text())["references"] == [{"text": "flu", "aliases": []}]
    assert len(judged.read_text().splitlines()) == 2


def test_a_queue_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reviews", str(tmp_path / "none.db")]) == 2
    assert "none.db does not exist: check the path" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "alembic" else found(name))
    assert main(["reviews", str(file)]) == 2
    assert (
        "needs the package 'alembic', which is not installed: pip install 'polymode[serve]'" in capsys.readouterr().err
    )


def test_the_random_share_is_counted_and_texts_are_deleted(
    file: Path, clock, add: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    from polymode.web.live.answers import LiveAnswer, LiveAnswers

    with ReviewQueue(file, clock=clock) as queue:
        for number in range(3):
            item_id = add(queue, f"Question {number}?", origin="random" if number else "escalated")
        queue.claim("ann", item_id)
        queue.resolve(item_id, "ann", verdicts={0: Verdict.CORRECT, 1: Verdict.WRONG})
        live = LiveAnswers(queue.store, "d", clock=clock)
        for name in ("first", "second", "third"):
            live.record(LiveAnswer(name, f"{name}?", ("a",), (0.5,), 1, "answer", "normal", "", False, False, ((), ())))
            clock.pass_(86400)
    assert main(["reviews", str(file), "--delete", "third", "--delete-before", "2026-03-02"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "random share: 2 drawn, 1 resolved",
        "deleted: the texts of third",
        "deleted: the texts of 1 answers from before 2026-03-02",
    ]
    assert main(["reviews", str(file), "--delete", "third"]) == 2
    assert "no answer is stored under this request id" in capsys.readouterr().err
