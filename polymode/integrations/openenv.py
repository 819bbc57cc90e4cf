"""Answer sets as an OpenEnv environment (openenv-core 0.3): a question at each reset, one step, then the reward.

::

    questions = list(questions_of("records", data="questions.jsonl", k=3))  # polymode.integrations.questions
    app = create_app(lambda: AnswerSets(questions), SetAction, Observation, env_name="answer_sets")

The observation of a reset has the prompt in its metadata, that of the step the total as its reward and the terms in its
metadata. Where a verifier failed the reward is None: neither right nor wrong.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from polymode.integrations.versions import check_version

check_version("openenv-core")

from openenv.core.env_server.interfaces import Environment  # pyright: ignore[reportMissingImports]
from openenv.core.env_server.types import Action, Observation, State  # pyright: ignore[reportMissingImports]

from polymode.integrations.questions import Question, score_row


class SetAction(Action):
    """What the model wrote."""

    completion: str
    finished: bool = True


class AnswerSets(Environment):
    """Questions of a polymode task, in an order that the seed of a reset decides, else one after the other."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, questions: Sequence[Question]) -> None:
        super().__init__()
        self._questions, self._turn = questions, -1
        self._state = State()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Observation:
        """Ask a question."""
        n = len(self._questions)
        self._turn = (self._turn + 1) % n if seed is None else random.Random(seed).randrange(n)
        self._state = State(episode_id=episode_id)
        question = self._questions[self._turn]
        return Observation(metadata={"prompt": question.prompt, "id": question.row["id"]})

    def step(self, action: SetAction, timeout_s: float | None = None, **_: Any) -> Observation:
        """Score the answer set."""
        self._state.step_count += 1
        row = {**self._questions[self._turn].row, "completion": action.completion, "finished": action.finished}
        score = score_row(row)
        metadata = {"terms": dict(score.terms), "faults": list(score.judgement.faults)}
        return Observation(done=True, reward=score.total, metadata=metadata)

    @property
    def state(self) -> State:
        """The episode and its steps."""
        return self._state
