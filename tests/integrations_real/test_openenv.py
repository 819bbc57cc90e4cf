"""The environment in OpenEnv itself, over the HTTP server that it makes."""

from __future__ import annotations

from typing import Any

import pytest

from polymode.integrations.questions import questions_of

from .packages import package
from .shared_completions import GROUP, K, check_totals, rows
from .shared_metrics import question_number, write_questions

openenv = package("openenv.core.env_server", "openenv")


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The 100 questions, in their order."""
    folder = write_questions(tmp_path_factory.mktemp("openenv"))
    return sorted(questions_of("records", data=folder, k=K), key=lambda one: question_number(one.prompt))


def test_import() -> None:
    from importlib.metadata import version

    assert version("openenv-core").startswith("0.3.")


def test_reward_through_the_server(questions: list[Any]) -> None:
    from fastapi.testclient import TestClient
    from openenv.core.env_server.types import Observation  # pyright: ignore[reportMissingImports]

    from polymode.integrations.openenv import AnswerSets, SetAction

    environment = AnswerSets(questions)
    app = openenv.create_app(lambda: environment, SetAction, Observation, env_name="answer_sets")
    with TestClient(app) as client:
        begun = client.post("/reset", json={"seed": 3})
        assert begun.status_code == 200, begun.text
        answered = client.post("/step", json={"action": {"completion": rows()[0][0]}})
        assert answered.status_code == 200, answered.text
        assert answered.json()["done"] is True
        assert isinstance(answered.json()["reward"], float)


def test_totals(questions: list[Any]) -> None:
    from polymode.integrations.openenv import AnswerSets, SetAction

    totals = []
    environment = AnswerSets(questions)
    for i, (text, _) in enumerate(rows()):
        if i % GROUP == 0:
            assert question_number(environment.reset().metadata["prompt"]) == i // GROUP
        totals.append(environment.step(SetAction(completion=text)).reward)
    check_totals("openenv", totals)
