"""From a question to a decided answer set, whatever protocol it came by (layer L6)."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from polymode.errors import ConfigError, GeneratorFault, PolymodeError, PromptRefusedError
from polymode.generate import Generated
from polymode.parsing import parse_answers
from polymode.policy import Conditions, Policy, decide
from polymode.policy.claims import Claim, claim
from polymode.policy.deciding import equality
from polymode.policy.inputs import screened
from polymode.policy.policy import RISK
from polymode.policy.pooling import check_pool, pool_sets
from polymode.policy.rationales import supported
from polymode.prompts import Style, build_prompt, check_k
from polymode.types import AnswerSet, Decision, DecisionKind
from polymode.web.batching import Batcher, ClosedError, PromptRequest, QueueFullError, ShareFullError
from polymode.web.gate import ServerMetrics
from polymode.web.keys import EVERYBODY, Caller
from polymode.web.live.answers import LiveAnswer
from polymode.web.live.monitor import LiveMonitor
from polymode.web.live.recorder import LiveRecorder
from polymode.web.problems import Problem
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.reviews.records import ESCALATED, RANDOM
from polymode.web.schema import AnswerItem, AnswerSetReply, AnswerSetRequest, Usage
from polymode.web.slots import OnSlot, SlotReader

log = logging.getLogger("polymode.web")

TRIAL_SECONDS = 5.0
"""Longest wait for the one token that shows whether the model answers."""
GOOD_SECONDS = 10.0
"""How long after an answer the model counts as ready."""
BAD_SECONDS = 2.0
"""How long after a failure the model is not tried again."""
ESCALATION_THREADS = 4
"""Escalated questions that are stored at once. They have threads of their own, so that a locked review queue holds up
nothing else."""


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """What is served, and how the model is sampled."""

    model_id: str
    """Name of the model, as clients see it."""
    policy: Policy
    k: int = 3
    """Answers asked for when a request does not say; the policy's, if it has one."""
    style: Style = "full"
    exclusive: bool = False
    """State in the prompt that at most one answer is correct."""
    ask: str = ""
    """What several answers are asked for with; empty means the usual sentence."""
    max_tokens: int = 1536
    """Completions are cut off at this length."""
    temperature: float = 1.0
    pool: int = 1
    """Completions of each question that are pooled into one answer set."""
    seed: int = 0
    """Another one gives other answers, repeatable all the same."""
    meaning: str = "is correct"
    """What a confidence is the probability of, after "the answer "."""
    input_check: bool = True
    """Escalate questions unlike those of the calibration, where the policy can tell them."""
    seconds: float = 60.0
    """Limit from a request's arrival to its completion."""
    conditions: Conditions | None = None
    """How completions come about, to compare with what the policy was fitted on; None: no guarantee is claimed."""

    def __post_init__(self) -> None:
        check_k(self.k)
        if self.policy.k not in (None, self.k):
            raise ConfigError(
                f"k = {self.k} does not suit the policy, which was calibrated with k = {self.policy.k}: leave k out"
            )
        check_pool(self.pool)
        if not self.model_id or not self.model_id.isprintable():
            raise ConfigError(f"model_id = {self.model_id!r} is not allowed: give a name")
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens = {self.max_tokens} is not allowed: give a whole number from 1")
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature = {self.temperature} is not allowed: give a number from 0")
        if not 0 < self.seconds <= 3600:
            raise ConfigError(f"seconds = {self.seconds} is not allowed: give a number above 0, up to 3600")


class AnswerService:
    """Asks the model through a batcher and decides."""

    def __init__(
        self,
        serving: ServingConfig,
        batcher: Batcher,
        metrics: ServerMetrics,
        escalations: ReviewQueue | None = None,
        monitor: LiveMonitor | None = None,
    ) -> None:
        self.serving, self._batcher, self._metrics, self._escalations = serving, batcher, metrics, escalations
        self.policy_id = serving.policy.digest()
        self.by = "" if serving.policy.by == RISK else serving.policy.by
        """Field other than the risk by which the policy tells questions apart."""
        self._model_problem: str | None = None
        self._model_problem_until = 0.0
        self._probe_task: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(ESCALATION_THREADS, thread_name_prefix="escalations")
        self._live = (
            None if monitor is None else LiveRecorder(monitor, self._threads, on_fault=metrics.store_faults.inc)
        )

    def close(self) -> None:
        """End the threads once what they are storing is stored."""
        self._threads.shutdown(wait=False)

    async def answer(
        self,
        request: AnswerSetRequest,
        request_id: str,
        *,
        caller: Caller = EVERYBODY,
        temperature: float | None = None,
        max_tokens: int | None = None,
        unlike: str | None = None,
        on_slot: OnSlot | None = None,
    ) -> tuple[AnswerSetReply, list[str]]:
        """The decided answer set, and the completions that it was parsed from; None stands for the server's setting.

        Args:
            request: the question.
            request_id: names it in the log and the review queue.
            caller: who asks.
            temperature: of the sampling.
            max_tokens: longest completion, up to the server's limit.
            unlike: why the question is unlike those of the calibration, where that cannot be seen in its text.
            on_slot: called from any thread with each slot of each completion once it is written; in the end with all.

        Raises:
            Problem: k does not suit the policy (422), the queue is full (429), the model or the review queue fails
                (503), or the time is over (504).
        """
        serving = self.serving
        k = self._k(request.k)
        self._check_group(request)
        prompt = build_prompt(
            request.question, k, confidence=True, exclusive=serving.exclusive, style=serving.style, ask=serving.ask
        )
        temperature = serving.temperature if temperature is None else temperature
        limit = serving.max_tokens if max_tokens is None else min(max_tokens, serving.max_tokens)
        how = {"k": k, "temperature": temperature, "max_tokens": limit, "pool": serving.pool}
        served = serving.conditions and replace(serving.conditions, **how)
        seed = serving.seed if request.seed is None else request.seed
        own_seed = (served or Conditions(**how)).seed_for(request.question, seed)
        slots = None if on_slot is None else SlotReader(k, serving.pool, on_slot)
        generated = await self._generate(
            PromptRequest(prompt, k, limit, temperature, own_seed, serving.pool),
            serving.seconds,
            caller,
            None if slots is None else slots.read,
        )
        sets = [parse_answers(one.text, k, confidence=True, finished=one.is_finished) for one in generated]
        if slots is not None:
            slots.finish(sets)
        texts = [one.text for one in generated]
        answer_set = await asyncio.to_thread(self._answer_set, request.question, texts, sets)
        question = {"risk": request.risk, "meta": request.meta}
        decision = await asyncio.to_thread(decide, answer_set, serving.policy, **question)
        if serving.input_check:
            decision = await asyncio.to_thread(screened, decision, serving.policy.inputs, request.question)
        claimed = claim(serving.policy, decision.kind, request.question, served=served, **question)
        if unlike is not None and claimed.guarantee is not None:
            claimed = Claim(None, unlike)
        is_usual = served == serving.conditions and seed == serving.seed and unlike is None
        is_random = self._live is not None and is_usual and await self._live.draws(request.question)
        item_id = await self._escalate(request, answer_set, decision, joined(texts), request_id, caller, is_random)
        if self._live is not None:
            answer = LiveAnswer(
                request_id,
                request.question,
                tuple(one.text for one in decision.ranked),
                tuple(one.confidence or 0.0 for one in decision.ranked),
                n_shown=len(decision.answers),
                kind=decision.kind.value,
                risk=request.risk,
                group=serving.policy.group_of(request.risk, request.meta),
                is_covered=claimed.guarantee is not None,
                is_random=is_random,
                item_id=item_id,
                asked_by=caller.name,
            )
            await self._live.record(answer, answer_set, decision, is_usual=is_usual)
            if claimed.guarantee is not None and self._live.reason is not None:
                claimed = Claim(None, self._live.reason)
        self._metrics.decisions.labels(decision.kind.value, request.risk).inc()
        self._metrics.completions.labels(answer_set.status.value).inc()
        usage = Usage(prompt_tokens=generated[0].n_prompt_tokens, completion_tokens=total_tokens(generated))
        self._metrics.tokens.labels("prompt").inc(usage.prompt_tokens or 0)
        self._metrics.tokens.labels("completion").inc(usage.completion_tokens or 0)
        n_released = len(decision.answers)
        candidates = [
            AnswerItem(text=one.text, confidence=one.confidence or 0.0, rationale=one.rationale)
            for one in decision.ranked
        ]
        reply = AnswerSetReply(
            decision=decision.kind.value,
            reason=decision.reason,
            answers=candidates[:n_released],
            candidates=candidates,
            confidence_meaning=f"the probability that the answer {serving.meaning}",
            guarantee=claimed.guarantee,
            no_guarantee=claimed.reason,
            escalation_id=item_id if decision.kind is DecisionKind.ESCALATE else None,
            k=k,
            pool=serving.pool,
            risk=request.risk,
            completion_status=answer_set.status.value,
            model_id=serving.model_id,
            policy_id=self.policy_id,
            usage=usage,
            request_id=request_id,
        )
        return reply, texts

    def _answer_set(self, question: str, texts: Sequence[str], sets: Sequence[AnswerSet]) -> AnswerSet:
        """What the completions of a question say together, and what of the question they say it for."""
        same = equality(self.serving.policy.equality)
        return supported(pool_sets(sets, same), question, texts, sets, same)

    async def _generate(
        self,
        request: PromptRequest,
        seconds: float,
        caller: Caller = EVERYBODY,
        on_text: Callable[[int, str], None] | None = None,
    ) -> list[Generated]:
        try:
            future = self._batcher.submit(request, owner=caller.name, share=caller.share, on_text=on_text)
            async with asyncio.timeout(seconds):
                generated = await asyncio.wrap_future(future)
        except QueueFullError as exc:
            wait = str(max(1, math.ceil(exc.seconds)))
            title = (
                "too many requests of this key wait" if isinstance(exc, ShareFullError) else "too many requests wait"
            )
            raise Problem(429, title, fix=f"ask again in {wait} s", headers={"Retry-After": wait}) from None
        except ClosedError:
            raise _unavailable("the server is shutting down") from None
        except TimeoutError:
            slow = Problem(504, f"no completion within {seconds:g} s", fix="ask again later")
            self._note(slow.title)
            raise slow from None
        except PromptRefusedError as exc:
            self._note(None)
            title, fix = f"the model's server refuses the prompt: {exc}", "ask a shorter question, or for fewer answers"
            raise Problem(422, title, field="question", allowed="a prompt that fits the model", fix=fix) from None
        except GeneratorFault as exc:
            self._metrics.faults.inc()
            down = _unavailable(f"the model cannot answer now: {exc}")
            self._note(down.title)
            raise down from None
        self._note(None)
        return generated

    async def model_problem(self) -> str | None:
        """Why the model would not answer now; None when it would.

        The last request that reached the model decides. When it failed, or was too long ago, the model is asked for one
        token, so that a server that is back is noticed without a restart and without users. Concurrent callers share
        one probe.
        """
        if time.monotonic() >= self._model_problem_until:
            if self._probe_task is None or self._probe_task.done():
                self._probe_task = asyncio.ensure_future(self._probe())
            await asyncio.shield(self._probe_task)
        return self._model_problem

    async def _probe(self) -> None:
        """Ask for one token and note the result."""
        try:
            await self._generate(PromptRequest("ready?", 1, 1, self.serving.temperature), TRIAL_SECONDS)
        except Problem as exc:
            if exc.status == 429:  # busy is not broken
                self._note(None)

    def _note(self, problem: str | None) -> None:
        """The model answered (None), or failed for this reason."""
        self._model_problem = problem
        self._model_problem_until = time.monotonic() + (GOOD_SECONDS if problem is None else BAD_SECONDS)

    def _check_group(self, request: AnswerSetRequest) -> None:
        """Refuse a class of risk, or a group, that the policy has no rules for; before the model is asked."""
        policy = self.serving.policy
        try:
            policy.rules_for(request.risk, request.meta)
        except ConfigError as exc:
            is_risk = request.risk not in policy.risks
            field, value = ("risk", request.risk) if is_risk else (f"meta.{policy.by}", request.meta.get(policy.by))
            allowed = ", ".join(map(repr, policy.risks if is_risk else policy.groups))
            fix = "name one of these, or calibrate with questions of that kind"
            raise Problem(422, str(exc).partition(":")[0], field=field, value=value, allowed=allowed, fix=fix) from None

    def _k(self, k: int | None) -> int:
        fixed = self.serving.policy.k
        if None not in (k, fixed) and k != fixed:
            allowed = f"{fixed}, which the policy was calibrated with"
            raise Problem(422, "k does not suit the policy", field="k", value=k, allowed=allowed, fix="leave k out")
        return self.serving.k if k is None else k

    async def _escalate(
        self,
        request: AnswerSetRequest,
        answer_set: AnswerSet,
        decision: Decision,
        completion: str,
        request_id: str,
        caller: Caller,
        is_random: bool,
    ) -> int | None:
        if self._escalations is None or not (is_random or decision.kind is DecisionKind.ESCALATE):
            return None
        add = partial(
            self._escalations.add,
            request.question,
            answer_set,
            decision,
            completion=completion,
            model_id=self.serving.model_id,
            policy_id=self.policy_id,
            risk=request.risk,
            equality=self.serving.policy.equality,
            request_id=request_id,
            asked_by=caller.name,
            origin=RANDOM if is_random else ESCALATED,
        )
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, add)
        except PolymodeError as exc:  # a reply that says "escalated" would be false: nobody would see the question
            if decision.kind is not DecisionKind.ESCALATE:
                log.error("a question of the random share is not in the review queue: %s", exc)
                return None
            raise _unavailable(f"the question must go to a person, and the review queue fails: {exc}") from None


def _unavailable(title: str) -> Problem:
    return Problem(503, title, fix="ask again later", headers={"Retry-After": "2"})


def total_tokens(generated: Sequence[Generated]) -> int | None:
    """Tokens of all completions; None where one was not counted."""
    counts = [one.n_tokens for one in generated if one.n_tokens is not None]
    return sum(counts) if len(counts) == len(generated) else None


def joined(texts: Sequence[str]) -> str:
    """Completions as one text, each of several under its number."""
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"--- completion {i} of {len(texts)} ---\n{text}" for i, text in enumerate(texts, 1))
