"""A language model behind an OpenAI-compatible endpoint as the equality of answers (layer L1).

The judge sees the question, the references and one answer, and says which references the answer equals. Answers whose
normalised text equals a name of a reference are right without asking.

What is judged is text from a model that may have learned to please the judge; `polymode.verifiers.judge_messages` says
how it is kept from writing the verdict, and what that cannot exclude. Look at the answers a judge calls right before
you train against it.

Whatever goes wrong (endpoint down, slow, nonsense) is a VerifierFault: the answer is UNSCORED, and asked about again in
the next batch.
"""

from __future__ import annotations

import logging
import threading
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Self

from polymode.cores import n_processes_of_run
from polymode.endpoint import Endpoint, Refused
from polymode.errors import ConfigError, VerifierFault
from polymode.types import Example, Reference
from polymode.verifiers.judge_messages import INSTRUCTIONS, SCHEMA, Case, messages_for, verdict_in
from polymode.verifiers.text import TextVerifier
from polymode.verifiers.verdict_cache import Matches, VerdictCache, hash_of

log = logging.getLogger(__name__)

MAX_ANSWER_CHARS = 4000
"""Longer answers equal no reference but by text."""
MAX_CONCURRENCY = 256

_TEXT = TextVerifier()


class JudgeVerifier:
    """Asks a model which references an answer equals.

    Args:
        base_url: address up to the version, for example ``http://localhost:8000/v1``.
        model: name of the model at the endpoint.
        api_key_env: name of the environment variable that holds the key; none for an endpoint without keys.
        timeout: seconds for one request, to the last byte of the reply.
        retries: further attempts after a failure that may pass (no connection, status 429 or 5xx).
        concurrency: requests at once, of all threads and processes of a training together.
        requests_per_minute: most requests started in a minute by all of them; 0 means no limit.
        max_tokens: longest reply; models that reason before they reply need more.
        duplicates: also ask whether two answers of a set are the same; otherwise their normalised texts decide.
        structured: ask the endpoint to enforce the JSON schema; left out by itself where that is refused.
        cache: file that keeps verdicts across restarts; several runs may share it.
        request_options: further fields of each request; null removes a field, as in ``{temperature: null}``.

    Raises:
        ConfigError: an option out of its range, no key, or a cache that cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key_env: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        concurrency: int = 8,
        requests_per_minute: float = 0.0,
        max_tokens: int = 256,
        duplicates: bool = False,
        structured: bool = True,
        cache: Path | str | None = None,
        request_options: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in (("base_url", base_url), ("model", model), ("api_key_env", api_key_env or "none")):
            _check_text(name, value)
        _check_number("timeout", timeout, 0.001, 3600)
        _check_number("requests_per_minute", requests_per_minute, 0, 1e6)
        _check_number("retries", retries, 0, 20, whole=True)
        _check_number("concurrency", concurrency, 1, MAX_CONCURRENCY, whole=True)
        _check_number("max_tokens", max_tokens, 16, 1 << 20, whole=True)
        for name, value in (("duplicates", duplicates), ("structured", structured)):
            if not isinstance(value, bool):
                raise ConfigError(f"{name} = {value!r} is not allowed: give true or false")
        if request_options is not None and not isinstance(request_options, Mapping):
            raise ConfigError(f"request_options = {request_options!r} is not allowed: give an object of field: value")
        self.asks_for_duplicates = duplicates
        self.options = {"base_url": base_url, "model": model, "duplicates": duplicates}
        self._endpoint = Endpoint(
            base_url.rstrip("/") + "/chat/completions",
            api_key_env=api_key_env,
            timeout=float(timeout),
            retries=retries,
            requests_per_minute=requests_per_minute / n_processes_of_run(),
        )
        self._fields = {"model": model, "temperature": 0, "max_tokens": max_tokens, **(request_options or {})}
        self._concurrency = max(1, concurrency // n_processes_of_run())
        self._slots = threading.Semaphore(self._concurrency)  # also of trainers that judge in threads of their own
        self._is_structured = structured
        self._cache = VerdictCache(None if cache is None else Path(cache))
        self._faults: dict[str, str] = {}  # what `prepare` could not find out, and why

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> Self:
        """This judge with all answers asked about, several at once; failures are held, and logged once."""
        cases: dict[str, Case] = {}
        for example, answers in items:
            equality, distinct = self.at(example), list(dict.fromkeys(answers))
            for i, answer in enumerate(distinct):
                cases |= {self._key(case): case for case in equality.cases(answer, distinct[:i])}
        verdicts = self._cache.get_all(cases)
        faults = self._ask_all({key: case for key, case in cases.items() if key not in verdicts})
        prepared = copy(self)
        prepared._faults = faults
        return prepared

    def at(self, example: Example) -> QuestionJudge:
        """The judge's equality on one question."""
        return QuestionJudge(self, example, ChainMap({}, self._faults))

    def matches_of(self, case: Case, faults: MutableMapping[str, str]) -> Matches:
        """What the judge says about a case, asked now if neither the verdict nor its fault is there; adds a fault."""
        key = self._key(case)
        verdicts = self._cache.get_all([key])
        if key in verdicts:
            return verdicts[key]
        if key in faults:
            raise VerifierFault(faults[key])
        try:
            matches = self._ask(case)
        except VerifierFault as exc:
            faults[key] = str(exc)
            raise
        self._cache.add([(key, matches)])
        return matches

    def _key(self, case: Case) -> str:
        return hash_of([INSTRUCTIONS, self._endpoint.url, self._fields, case])

    def _ask_all(self, cases: Mapping[str, Case]) -> dict[str, str]:
        """Ask about these cases; the reason of each failure."""
        from polymode.progress import progress_bar

        faults: dict[str, str] = {}
        if not cases:
            return faults
        self._endpoint.resume()
        with ThreadPoolExecutor(min(self._concurrency, len(cases)), "polymode-judge") as pool:
            futures = {pool.submit(self._ask, case): key for key, case in cases.items()}
            try:
                bar = progress_bar(as_completed(futures), desc="judge", total=len(futures), unit=" answers")
                for future in bar:
                    try:
                        self._cache.add([(futures[future], future.result())])
                    except Exception as exc:
                        faults[futures[future]] = str(exc)
            except BaseException:  # Ctrl-C: verdicts so far stay in the cache, what is under way is cut off
                self._endpoint.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if faults:
            first = next(iter(faults.values()))
            log.warning("judge: %d of %d answers could not be judged; the first: %s", len(faults), len(cases), first)
        return faults

    def _ask(self, case: Case) -> Matches:
        body = {**self._fields, "messages": messages_for(case)}
        with self._slots:
            # Many endpoints know no schemas; the same question without one tells if that was it.
            with suppress(Refused):
                if self._is_structured:
                    return verdict_in(self._endpoint.post(_without_null({"response_format": SCHEMA, **body})), case)
            reply = self._endpoint.post(_without_null(body))
        self._is_structured = False
        return verdict_in(reply, case)


class QuestionJudge:
    """The equality on one question: normalised text, then the judge. ``faults`` are not asked about again."""

    def __init__(self, judge: JudgeVerifier, example: Example, faults: MutableMapping[str, str]) -> None:
        self._judge, self._example, self._faults = judge, example, faults

    def same(self, a: str, b: str) -> bool:
        """Whether the texts are equal; else what the judge says, if it was given the option ``duplicates``."""
        if _TEXT.same(a, b):
            return True
        return any(self._judge.matches_of(case, self._faults) for case in self._pairs(a, (b,)))

    def matches(self, answer: str, reference: Reference) -> bool:
        """Whether ``answer`` equals the reference."""
        references = self._example.references
        if reference not in references:
            references = (reference,)
        number = references.index(reference)
        numbers = [i for i, ref in enumerate(references) if _TEXT.matches(answer, ref)]
        if not numbers and (case := self._case(answer, references)) is not None:
            numbers = self._judge.matches_of(case, self._faults)
        return number in numbers

    def cases(self, answer: str, earlier: Sequence[str]) -> list[Case]:
        """What the judge has to be asked about an answer, and whether it repeats one of ``earlier``."""
        references = self._example.references
        is_right = any(_TEXT.matches(answer, ref) for ref in references)
        case = None if is_right else self._case(answer, references)
        return [*([] if case is None else [case]), *self._pairs(answer, earlier)]

    def _case(self, answer: str, references: Sequence[Reference]) -> Case | None:
        if not references or len(answer) > MAX_ANSWER_CHARS:
            return None
        return Case(self._example.question, tuple(ref.names for ref in references), answer)

    def _pairs(self, answer: str, others: Sequence[str]) -> list[Case]:
        if not self._judge.asks_for_duplicates:
            return []
        pairs = (sorted((answer, other)) for other in others if not _TEXT.same(answer, other))
        return [Case(self._example.question, ((a,),), b) for a, b in pairs if max(len(a), len(b)) <= MAX_ANSWER_CHARS]


def _without_null(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{name} = {value!r} is not allowed: give a text")


def _check_number(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        bounds = f"whole number from {low:,} to {high:,}" if whole else f"number from {low:g} to {high:g}"
        raise ConfigError(f"{name} = {value!r} is not allowed: give a {bounds}")
