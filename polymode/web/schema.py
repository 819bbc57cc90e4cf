"""Requests and replies of the API (layer L6); `polymode.web.chat_schema` has the OpenAI-compatible form of them.

Requests are strict: no unknown fields, no values of another type.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from polymode.policy.policy import MAX_NAME
from polymode.prompts import MAX_K
from polymode.web.keys import Caller

MAX_QUESTION_CHARS = 16_000
"""Longest question."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Accepts 2.0 as a whole number, as JSON does. It comes after the limits, so that these are in the schema."""
Answers = Annotated[int, Field(ge=1, le=MAX_K), WHOLE]
"""Answers that may be asked for."""
QuestionText = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION_CHARS, pattern=r"\S")]
"""A text that is not blank."""
Risk = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"\S")]
"""Class of risk: one of the policy's, else normal or high."""
Meta = Annotated[dict[str, str], Field(max_length=20)]
"""Fields by which a policy may tell questions apart, with texts; a number or boolean as JSON writes it."""


Seed = Annotated[int, Field(ge=0, lt=2**31), WHOLE]


class Strict(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AnswerSetRequest(Strict):
    """A question for ranked answers and a decision."""

    question: QuestionText = Field(
        description=f"the question, a text of 1 to {MAX_QUESTION_CHARS:,} characters, not blank",
        examples=["A 31 year old man has headache, tremor, dizziness; no back pain"],
    )
    k: Answers | None = Field(
        None,
        description=f"answers to ask for, a whole number from 1 to {MAX_K}; a policy made for one K allows no other",
    )
    risk: Risk = Field(
        "normal",
        description="risk of the question: a class of the policy, without classes normal or high; with high no single "
        "answer is given",
    )
    meta: Meta = Field(
        {}, description="an object with the field by which the policy tells questions apart, if it does so by another"
    )
    seed: Seed | None = Field(
        None, description="another seed gives other answers; by default the same question gets the same answers"
    )


class AnswerItem(BaseModel):
    """One answer."""

    text: str
    confidence: float = Field(
        description="a probability, in the words of confidence_meaning, after the policy's map", ge=0, le=1
    )
    rationale: str | None = Field(
        description="words of the question that speak for it, as the model says; null where it quotes none"
    )


class Usage(BaseModel):
    """Tokens of the prompt, and of all completions; null where the back-end does not count."""

    prompt_tokens: int | None
    completion_tokens: int | None


class AnswerSetReply(BaseModel):
    """What may be shown, what was considered, and why."""

    decision: Literal["answer", "offer_set", "abstain", "escalate"]
    reason: str = Field(description="why, in one sentence, with threshold and value")
    answers: list[AnswerItem] = Field(
        description="what may be shown: one for answer, several for offer_set, none for abstain and escalate"
    )
    candidates: list[AnswerItem] = Field(
        description="all distinct answers, the most confident first, also where none may be shown, for keys with the "
        "scope review; for others the same as answers. Empty when the completion cannot be used"
    )
    confidence_meaning: str = Field(
        description="what the confidences are probabilities of, for example: the probability that the answer is the "
        "cause; with a pool the average over its completions, 0 where a completion lacks the answer"
    )
    guarantee: str | None = Field(
        description="what the policy guarantees about decisions of this kind; null when it guarantees nothing here"
    )
    no_guarantee: str | None = Field(
        description="why there is no guarantee; null when there is one, when nothing is shown, and when the "
        "policy guarantees nothing at all"
    )
    escalation_id: int | str | None = Field(
        description="of the question in the review queue; null when it was not escalated or the server has no queue"
    )
    k: int = Field(description="answers asked for")
    pool: int = Field(description="completions that the answers were pooled from")
    risk: str
    completion_status: Literal["clean", "partial", "malformed", "truncated"] = Field(
        description="whether the model followed the answer format"
    )
    model_id: str
    policy_id: str = Field(description="hash of the policy's rules")
    usage: Usage
    request_id: str

    def visible_to(self, caller: Caller) -> AnswerSetReply:
        """What this caller may see: what the policy withholds is for those who review."""
        return self if "review" in caller.scopes else self.model_copy(update={"candidates": self.answers})


class Health(BaseModel):
    """The process responds."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The model responds."""

    status: Literal["ready"] = "ready"
    model_id: str
    policy_id: str
