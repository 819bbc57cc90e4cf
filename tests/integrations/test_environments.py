"""Environments that own their reward: that of TRL, and that of OpenEnv 0.3 with a stand-in for the package."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from polymode.errors import ConfigError
from polymode.integrations.environments import AnswerSetEnvironment
from polymode.integrations.questions import Question

from .stand_ins import with_stand_ins

SURE = "<answer1>Ne</answer1><confidence1>0.9</confidence1><answer2>iron</answer2><confidence2>0.2</confidence2>"


def test_the_environment_of_trl_gives_the_total_of_what_was_submitted_last() -> None:
    environment = AnswerSetEnvironment()
    row = {"prompt": "Name a noble gas.", "references": [["neon", "Ne"], "argon"], "k": 2}
    assert environment.reset(**row) is None
    assert environment.get_reward() == 0  # nothing was submitted
    environment.submit("<answer1>")
    assert environment.submit(SURE) == "received"
    assert environment.get_reward() == pytest.approx(1.975)  # coverage 1, Brier -(.1² + .2²)/2, format 1
    environment.reset(**row)
    assert environment.get_reward() == 0
    with pytest.raises(ConfigError, match="method = 'best' is not known"):
        environment.reset(**row, method="best")
    environment.reset(references=["neon"], method="single-rlvr", k=None)  # k is the multi methods'
    environment.submit("<answer>neon</answer>")
    assert environment.get_reward() == 2
    shares = {"neon": 0.9, "argon": 0.1}
    environment.reset(references=[["neon", "Ne"], "argon"], k=2, target="distribution", distribution=shares)
    environment.submit(SURE.replace("0.2", "0.0"))
    assert environment.get_reward() == 2  # neon: 0.9 as its share; iron: 0 as its own


def test_trl_finds_one_tool_with_a_description() -> None:
    # TRL takes every public method but reset and get_reward for a tool, and describes it by its docstring.
    names = [name for name, _ in inspect.getmembers(AnswerSetEnvironment, inspect.isfunction) if name[0] != "_"]
    assert names == ["get_reward", "reset", "submit"]
    assert "answers:" in (inspect.getdoc(AnswerSetEnvironment.submit) or "")


def test_an_openenv_episode_is_one_question_and_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Record(SimpleNamespace):
        step_count = 0

    class Environment:
        pass

    path = "openenv.core.env_server"
    modules: dict[str, Any] = {name: {} for name in ("openenv", "openenv.core", path)}
    modules |= {
        f"{path}.interfaces": {"Environment": Environment},
        f"{path}.types": dict.fromkeys(("Action", "Observation", "State"), Record),
    }
    adapter = with_stand_ins(monkeypatch, "openenv", modules)
    row = {"id": "gas", "references": [["neon", "Ne"], "argon"], "k": 2, "confidence": True}
    questions = [Question("Name a noble gas.", row), Question("Another?", {**row, "id": "other"})]
    environment = adapter.AnswerSets(questions)
    assert [environment.reset().metadata["id"] for _ in range(3)] == ["gas", "other", "gas"]
    assert len({environment.reset(seed=4).metadata["id"] for _ in range(5)}) == 1
    environment.reset()
    done = environment.step(adapter.SetAction(completion=SURE, finished=True))
    assert done.done and done.reward == pytest.approx(1.975)
    assert done.metadata["terms"] == pytest.approx({"coverage": 1, "brier": -0.025, "format": 1})
    assert environment.state.step_count == 1
