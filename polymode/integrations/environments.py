"""An environment that owns its reward, for TRL's ``environment_factory`` (TRL 1.16; `openenv` is that of OpenEnv).

::

    trainer = GRPOTrainer(MODEL, environment_factory=AnswerSetEnvironment, args=..., train_dataset=...)

The data set has the columns ``prompt``, ``references`` and optionally ``k``, ``method``, ``question``, ``target`` and
``distribution``, which TRL hands to ``reset``. The model's answer set is the argument of its last call of the tool
``submit``; a rollout without a call gets what a malformed completion gets, 0. Its advantage must not be divided by a
group's deviation (``scale_rewards="none"``).
"""

from __future__ import annotations

from typing import Any

from polymode.integrations.options import ROW_FIELDS, Options


class AnswerSetEnvironment:
    """One question, one answer set (TRL)."""

    def reset(self, references: Any = None, method: str = "multi-rlcr", **row: Any) -> None:
        """Begin with a row of the data set."""
        self._options = Options(method=method)
        self._references, self._row = references, {name: row[name] for name in ROW_FIELDS if name in row}
        self._text = ""
        return None

    def submit(self, answers: str) -> str:
        """Submit the final answers.

        Args:
            answers: all answers with their confidences, in the format that was asked for.

        Returns:
            A note that they were received.
        """
        self._text = answers
        return "received"

    def get_reward(self) -> float | None:
        """The total; None, which TRL leaves out of the group, where a verifier failed."""
        return self._options.score(self._text, self._references, self._row).total
