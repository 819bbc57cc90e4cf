"""From a question to a decided answer set, whatever protocol asked (layer L4)."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from polymode.errors import ConfigError, GeneratorFault, PolymodeError, PromptRefusedError
from polymode.generate import Generated
from polymode.parsing import parse_answers
from polymode.policy import Policy, decide
from polymode.prompts import Style, build_prompt, check_k
from polymode.types import Answer, AnswerSet, Decision, DecisionKind
from polymode.web.batching import Batcher, ClosedError, PromptRequest, QueueFullError
from polymode.web.problems import Problem
from polymode.web.rationale import rationale
from polymode.web.readiness import Readiness
from polymode.web.schema import AnswerItem, AnswerSetReply, Usage
from polymode.web.server_metrics import ServerMetrics

if TYPE_CHECKING:
    from polymode.web.reviews import ReviewQueue

TRIAL_SECONDS = 5.0
"""Longest wait for the one token that shows whether the model answers."""
KEEPERS = 4
"""Escalated questions that are kept at once. Their threads are their own: while a locked review queue makes them wait,
everything else goes on."""


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """What is served, and how the model is asked. A guarantee of the policy holds for these settings only."""

    model_id: str
    """Name of the model, as clients see it."""
    policy: Policy
    """What decides."""
    k: int = 3
    """Answers asked for when a request does not say; the policy's, if it has one."""
    style: Style = "full"
    """Prompt style."""
    exclusive: bool = False
    """Say in the prompt that at most one answer is right."""
    max_tokens: int = 1536
    """Completions are cut off at this length."""
    temperature: float = 1.0
    """Sampling temperature."""
    seconds: float = 60.0
    """Limit from a request's arrival to its completion."""

    def __post_init__(self) -> None:
        check_k(self.k)
        if self.policy.k not in (None, self.k):
            raise ConfigError(
                f"k = {self.k} does not suit the policy, which was calibrated with k = {self.policy.k}: leave k out"
            )
        if not self.model_id or not self.model_id.isprintable():
            raise ConfigError(f"model_id = {self.model_id!r} is not allowed: give a name")
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens = {self.max_tokens} is not allowed: give a whole number from 1")
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature = {self.temperature} is not allowed: give a number from 0")
        if not 0 < self.seconds <= 3600:
            raise ConfigError(f"seconds = {self.seconds} is not allowed: give a number above 0, up to 3600")


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A question as a client asks it; None stands for the server's own setting."""

    question: str
    k: int | None = None
    risk: str = "normal"
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerResult:
    """A reply, and the text that it was read from."""

    reply: AnswerSetReply
    completion: str


class AnswerService:
    """Asks the model through a batcher and decides."""

    def __init__(
        self, serving: ServingConfig, batcher: Batcher, metrics: ServerMetrics, escalations: ReviewQueue | None = None
    ) -> None:
        self.serving, self._batcher, self._metrics, self._escalations = serving, batcher, metrics, escalations
        self.policy_id = serving.policy.digest()
        self.readiness = Readiness(self._try)
        self._keepers = ThreadPoolExecutor(KEEPERS, thread_name_prefix="escalations")

    def close(self) -> None:
        """End the threads, once what they are keeping is kept."""
        self._keepers.shutdown(wait=False)

    async def reply(self, asked: AnswerRequest, request_id: str) -> AnswerSetReply:
        """The decided answer set; raises as `answer`."""
        return (await self.answer(asked, request_id)).reply

    async def answer(self, asked: AnswerRequest, request_id: str) -> AnswerResult:
        """The decided answer set with the model's whole text.

        Raises:
            Problem: k does not suit the policy (422), the queue is full (429), the model or the review queue fails
                (503), or the time is over (504).
        """
        serving = self.serving
        k = self._k(asked.k)
        prompt = build_prompt(asked.question, k, confidence=True, exclusive=serving.exclusive, style=serving.style)
        temperature = serving.temperature if asked.temperature is None else asked.temperature
        limit = serving.max_tokens if asked.max_tokens is None else min(asked.max_tokens, serving.max_tokens)
        made = await self._generated(PromptRequest(prompt, k, limit, temperature, asked.seed), serving.seconds)
        answer_set, decision = await asyncio.to_thread(self._decided, made, k, asked.risk)
        escalation_id = await self._escalated(asked, answer_set, decision, made, request_id)
        self._count(made, answer_set, decision, asked.risk)
        is_as_served = (temperature, limit) == (serving.temperature, serving.max_tokens) and asked.risk == "normal"
        shown = len(decision.answers)
        candidates = [_item(answer, made.text) for answer in decision.ranked]
        reply = AnswerSetReply(
            decision=decision.kind.value,
            reason=decision.reason,
            answers=candidates[:shown],
            candidates=candidates,
            guarantee=self._guarantee(decision) if is_as_served else None,
            escalation_id=escalation_id,
            k=k,
            risk=asked.risk,  # type: ignore[arg-type]  # checked by the request's model
            completion_status=answer_set.status.value,
            model_id=serving.model_id,
            policy_id=self.policy_id,
            usage=Usage(prompt_tokens=made.n_prompt_tokens, completion_tokens=made.n_tokens),
            request_id=request_id,
        )
        return AnswerResult(reply, made.text)

    async def _generated(self, ask: PromptRequest, seconds: float) -> Generated:
        try:
            future = self._batcher.submit(ask)
        except QueueFullError:
            wait = str(math.ceil(self._batcher.seconds_until_room()))
            fix = f"ask again in {wait} s"
            raise Problem(429, "too many requests wait", fix=fix, headers={"Retry-After": wait}) from None
        except ClosedError:
            raise _closed() from None
        try:
            async with asyncio.timeout(seconds):
                made = await asyncio.wrap_future(future)
        except TimeoutError:
            slow = Problem(504, f"no completion within {seconds:g} s", fix="ask again later")
            self.readiness.note(slow.title)
            raise slow from None
        except ClosedError:
            raise _closed() from None
        except PromptRefusedError as exc:
            self.readiness.note(None)
            raise Problem(
                422,
                f"the model's server refuses the prompt: {exc}",
                field="question",
                allowed="what the model can take",
                fix="ask a shorter question, or for fewer answers",
            ) from None
        except GeneratorFault as exc:
            self._metrics.faults.inc()
            down = _unavailable(f"the model cannot answer now: {exc}")
            self.readiness.note(down.title)
            raise down from None
        self.readiness.note(None)
        return made

    async def _try(self) -> None:
        """Ask for one token; what comes of it is noted."""
        try:
            await self._generated(PromptRequest("ready?", 1, 1, self.serving.temperature), TRIAL_SECONDS)
        except Problem as exc:
            if exc.status == 429:  # busy is not broken
                self.readiness.note(None)

    def _k(self, k: int | None) -> int:
        fixed = self.serving.policy.k
        if k is None or fixed in (None, k):
            return self.serving.k if k is None else k
        raise Problem(
            422,
            "k does not suit the policy",
            field="k",
            value=k,
            allowed=f"{fixed}, which the policy was calibrated with",
            fix="leave k out",
        )

    def _decided(self, made: Generated, k: int, risk: str) -> tuple[AnswerSet, Decision]:
        answer_set = parse_answers(made.text, k, confidence=True, finished=made.is_finished)
        return answer_set, decide(answer_set, self.serving.policy, risk=risk)

    async def _escalated(
        self, asked: AnswerRequest, answer_set: AnswerSet, decision: Decision, made: Generated, request_id: str
    ) -> int | str | None:
        if self._escalations is None or decision.kind is not DecisionKind.ESCALATE:
            return None
        try:
            keep = partial(
                self._escalations.add,
                asked.question,
                answer_set,
                decision,
                completion=made.text,
                model_id=self.serving.model_id,
                policy_id=self.policy_id,
                risk=asked.risk,
                equality=self.serving.policy.equality,
                request_id=request_id,
            )
            return await asyncio.get_running_loop().run_in_executor(self._keepers, keep)
        except PolymodeError as exc:  # saying "escalated" would be a lie: nobody would look at it
            raise _unavailable(f"the question must go to a person, and the review queue fails: {exc}") from None

    def _guarantee(self, decision: Decision) -> str | None:
        found = [g.statement for g in self.serving.policy.guarantees if g.decision == decision.kind.value]
        return found[0] if found else None

    def _count(self, made: Generated, answer_set: AnswerSet, decision: Decision, risk: str) -> None:
        self._metrics.decisions.labels(decision.kind.value, risk).inc()
        self._metrics.completions.labels(answer_set.status.value).inc()
        for kind, number in (("prompt", made.n_prompt_tokens), ("completion", made.n_tokens)):
            if number is not None:
                self._metrics.tokens.labels(kind).inc(number)


def _item(answer: Answer, completion: str) -> AnswerItem:
    return AnswerItem(text=answer.text, confidence=answer.confidence or 0.0, rationale=rationale(completion, answer))


def _closed() -> Problem:
    return _unavailable("the server is shutting down")


def _unavailable(title: str) -> Problem:
    return Problem(503, title, fix="ask again later", headers={"Retry-After": "2"})
