"""The taskset in verifiers itself: loaded by its id, and scored on traces of the shared completions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from .packages import package
from .shared_completions import GROUP, K, N, check_totals, rows
from .shared_metrics import question_number, write_questions

vf = package("verifiers.v1", "verifiers")
MODULE = "from polymode.integrations.verifiers import AnswerSets\n__all__ = ['AnswerSets']\n"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The tasks of the 100 questions, in their order."""
    from verifiers.v1.utils.loaders import load_taskset, taskset_config_type  # pyright: ignore[reportMissingImports]

    folder: Path = tmp_path_factory.mktemp("verifiers")
    (folder / "answer_sets.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        config = taskset_config_type("answer_sets")(id="answer_sets", data=str(write_questions(folder)), k=K)
        taskset = load_taskset(config)
    return sorted(taskset, key=lambda task: question_number(task.data.prompt))


def scored(task: Any, text: str) -> Any:
    """The trace of a run that ended with this reply, after scoring."""
    trace = vf.Trace.model_validate(
        {"task": {"type": "SetTask", "data": task.data.model_dump()}, "root_reply": text, "agent": {"config": {}}}
    )
    asyncio.run(task.score(trace))
    return trace


def test_import(tasks: list[Any]) -> None:
    assert len(tasks) == N // GROUP


def test_reward_terms_are_named(tasks: list[Any]) -> None:
    trace = scored(tasks[0], rows()[0][0])
    assert set(trace.rewards) == {"coverage", "brier", "format"}
    assert trace.metrics["clean"] == 1 and trace.metrics["hits"] == trace.rewards["coverage"].value


def test_totals(tasks: list[Any]) -> None:
    check_totals("verifiers", [scored(tasks[i // GROUP], text).reward for i, (text, _) in enumerate(rows())])
