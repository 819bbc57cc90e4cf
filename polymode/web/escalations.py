"""Where questions go that a person must answer (layer L4; standard library only).

`polymode.web.reviews.ReviewQueue` is one; anything with this method will do, a ticket system for example.
"""

from __future__ import annotations

from typing import Protocol

from polymode.types import AnswerSet, Decision


class Escalations(Protocol):
    """Takes the questions whose decision is ESCALATE."""

    def add(
        self,
        question: str,
        answer_set: AnswerSet,
        decision: Decision,
        *,
        completion: str,
        model_id: str,
        policy_id: str,
        risk: str,
        equality: str,
        request_id: str,
    ) -> int | str:
        """Keep a question for a person and return its id, once it cannot get lost.

        Called from several threads. Any PolymodeError says that it was not kept; the client is then told so.
        """
        ...
