"""The taskset by the signatures of verifiers 0.4, with a stand-in for the package."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from polymode.errors import VerifierFault

from .stand_ins import with_stand_ins

SURE = "<answer1>Ne</answer1><confidence1>0.9</confidence1><answer2>iron</answer2><confidence2>0.2</confidence2>"


class Data:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class Task:
    def __init__(self, data: Data, config: Any) -> None:
        self.data, self.config = data, config

    __class_getitem__ = classmethod(lambda cls, _: cls)


class Taskset:
    def __init__(self, config: Any) -> None:
        self.config = config

    __class_getitem__ = classmethod(lambda cls, _: cls)


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Any:
    members = {"TaskData": Data, "Task": Task, "Taskset": Taskset, "TasksetConfig": Data, "Trace": object}
    v1: dict[str, Any] = {**members, "reward": lambda function: function}
    module = with_stand_ins(monkeypatch, "verifiers", {"verifiers": {"v1": SimpleNamespace(**v1)}, "verifiers.v1": v1})
    return module


def trace(reply: str, *, is_truncated: bool = False) -> Any:
    metrics: dict[str, float] = {}
    return SimpleNamespace(
        last_reply=reply, is_truncated=is_truncated, metrics=metrics, record_metric=metrics.__setitem__
    )


def test_tasks_ask_as_generate_does_and_give_the_terms(adapter: Any, tmp_path: Path) -> None:
    question = {"question": "Name a noble gas.", "references": [["neon", "Ne"], "argon"]}
    (tmp_path / "test.jsonl").write_text(json.dumps(question))
    config = adapter.SetConfig(data=str(tmp_path), k=2, task="its configuration")
    [task] = adapter.AnswerSets(config).load()
    assert adapter.__all__ == ["AnswerSets"]  # verifiers takes the one taskset of the list
    assert task.config == "its configuration"
    assert task.data.prompt.startswith("Name a noble gas.\n\nThink first")
    seen = trace(SURE)
    terms = asyncio.run(task.terms(seen))
    assert terms == pytest.approx({"coverage": 1, "brier": -0.025, "format": 1})  # -(.1² + .2²)/2
    assert seen.metrics == {"hits": 1, "clean": 1}
    assert sum(asyncio.run(task.terms(trace(SURE[:-4], is_truncated=True))).values()) == 0


def test_an_unscored_completion_is_an_error_of_its_scoring(adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(total=None, judgement=SimpleNamespace(faults=("the judge is down",)))
    monkeypatch.setattr(adapter, "score_row", lambda row: failed)
    with pytest.raises(VerifierFault, match="the judge is down"):
        asyncio.run(adapter.SetTask(Data(row={"id": "q"}), None).terms(trace("x")))
