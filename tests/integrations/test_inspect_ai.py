"""The task, scorer and metrics by the signatures of inspect_ai 0.3.285, with a stand-in for the package."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from polymode.evaluation import evaluate
from polymode.runs import completion_of

from .stand_ins import with_stand_ins

SURE = "<answer1>Ne</answer1><confidence1>0.9</confidence1><answer2>iron</answer2><confidence2>0.2</confidence2>"
UNSURE = "<answer1>argon</answer1><confidence1>0.6</confidence1><answer2>neon</answer2><confidence2>0.5</confidence2>"


@dataclass
class Score:
    value: Any
    explanation: str | None = None
    metadata: Any = None
    reason: str | None = None

    @classmethod
    def unscored(cls, **fields: Any) -> Score:
        return cls(value=math.nan, **fields)


@dataclass
class Sample:
    input: str
    target: Any
    id: Any
    metadata: Any


@dataclass(frozen=True)
class Broken:
    """A verifier that never answers."""

    def same(self, a: str, b: str) -> bool:
        raise RuntimeError("down")

    def matches(self, answer: str, reference: Any) -> bool:
        raise RuntimeError("down")


def marked(**marks: Any) -> Callable[[Any], Any]:
    """A decorator that notes with what it was called."""

    def decorate(function: Any) -> Any:
        function.__dict__.update(marks)
        return function

    return decorate


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Any:
    plain = ("Metric", "SampleScore", "Scorer", "Target", "Value")
    modules = {
        "inspect_ai": {"Task": lambda **options: SimpleNamespace(**options), "task": marked(is_task=True)},
        "inspect_ai.dataset": {"MemoryDataset": lambda samples, name: samples, "Sample": Sample},
        "inspect_ai.scorer": {
            **dict.fromkeys(plain, object),
            "Score": Score,
            "metric": lambda **options: marked(**options),
            "scorer": lambda **options: marked(**options),
        },
        "inspect_ai.solver": {"TaskState": object, "generate": lambda: "generate"},
    }
    return with_stand_ins(monkeypatch, "inspect_ai", modules)


@pytest.fixture
def data(tmp_path: Path) -> str:
    question = {"question": "Name a noble gas.", "references": [["neon", "Ne"], "argon"]}
    (tmp_path / "test.jsonl").write_text(json.dumps(question))
    return str(tmp_path)


def state(metadata: dict[str, Any], *texts: str, epoch: int = 1, reason: str = "stop") -> Any:
    """What a scorer sees of a sample whose reply has these choices."""
    choices = [{"message": {"role": "assistant", "content": text}, "stop_reason": reason} for text in texts]
    output = SimpleNamespace(model_dump=lambda mode: {"choices": choices, "usage": {"output_tokens": 9}})
    return SimpleNamespace(sample_id="q", epoch=epoch, input_text="Name one.", metadata=metadata, output=output)


def scored(score: Any, *arguments: Any) -> Score:
    return asyncio.run(score(*arguments))


def test_the_metrics_read_every_epoch_by_itself(adapter: Any) -> None:
    assert adapter.set_metrics.scores == "unreduced"
    assert adapter.answer_sets.is_task


def test_a_task_asks_as_generate_does_and_carries_the_line(adapter: Any, data: str) -> None:
    made = adapter.answer_sets(data=data, k=2, verifier="symbolic")
    [sample] = made.dataset
    assert sample.input.startswith("Name a noble gas.\n\nThink first") and "<answer2>" in sample.input
    assert sample.target == ["neon", "argon"]
    row = sample.metadata["polymode"]
    assert row["k"] == 2 and row["meta"]["verifier"]["name"] == "symbolic"
    assert not row.keys() & {"completion", "sample", "n_tokens", "finished"}


def test_metrics_are_those_of_evaluate_at_several_epochs(adapter: Any, data: str) -> None:
    [sample] = adapter.answer_sets(data=data, k=2).dataset
    score = adapter.set_score()
    scores = [
        scored(score, state(sample.metadata, text, epoch=epoch), sample.target)
        for epoch, text in enumerate((SURE, UNSURE, "no idea"), 1)
    ]
    # Coverage 1, Brier -(.1² + .2²)/2, format 1; coverage 2, Brier -(.4² + .5²)/2, format 1; nothing.
    assert [one.value["score"] for one in scores] == pytest.approx([1.975, 2.795, 0])
    assert scores[0].value == pytest.approx({"score": 1.975, "coverage": 1, "brier": -0.025, "format": 1})
    assert scores[1].explanation == UNSURE
    metrics = adapter.set_metrics()([SimpleNamespace(score=one) for one in scores])
    rows = [row for one in scores for row in one.metadata["polymode"]]
    assert [row["sample"] for row in rows] == [0, 1, 2]
    expected = evaluate([completion_of(row, "here") for row in rows], n_boot=0).metrics
    assert metrics["coverage"] == expected["coverage"].value == 1
    assert metrics["ece"] == expected["ece"].value
    assert metrics["score"] == pytest.approx(4.77 / 3) and metrics["n_unscored"] == 0
    assert metrics.keys() - {"score", "n_unscored"} == {
        name for name, one in expected.items() if one.n and not math.isnan(one.value)
    }
    assert adapter.set_metrics()([]) == {"n_unscored": 0}


def test_choices_of_one_reply_and_samples_of_other_tasks(adapter: Any) -> None:
    score = adapter.set_score(k=2)
    both = scored(score, state({}, SURE, UNSURE, epoch=3), ["neon", "argon"])
    # "Ne" is no alias here: coverage 0, Brier -(.81 + .04)/2, format 1.
    assert both.value["score"] == pytest.approx((0.575 + 2.795) / 2)
    assert [row["sample"] for row in both.metadata["polymode"]] == [4, 5]
    aliases = {"references": [["neon", "Ne"], "argon"]}
    assert scored(score, state(aliases, SURE), ["x"]).value["score"] == pytest.approx(1.975)
    [cut] = scored(score, state(aliases, SURE[:-5], reason="max_tokens"), ["x"]).metadata["polymode"]
    assert cut["finished"] is False


def test_no_output_and_a_verifier_that_fails_are_unscored(adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "broken", ModuleType("broken"))
    sys.modules["broken"].Broken = Broken  # pyright: ignore[reportAttributeAccessIssue]
    empty = scored(adapter.set_score(k=2), state({}), ["neon"])
    assert math.isnan(empty.value) and empty.reason == "no_response"
    score = adapter.set_score(k=2, verifier="broken:Broken")
    failed = scored(score, state({}, SURE), ["neon"])
    assert math.isnan(failed.value["score"])
    assert adapter.set_metrics()([SimpleNamespace(score=failed)])["n_unscored"] == 1
