"""What a policy was fitted on, and how something else differs from it (layer L2).

A guarantee is about completions drawn like those of the calibration: of the same model, prompted and sampled in the
same way, for questions of the same kind. `Conditions` records what can be recorded of that; `polymode answer` and
`polymode serve` compare it with what they run, and claim no guarantee where anything differs or is not known.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from statistics import median_low
from typing import Any

from polymode.errors import ConfigError, number_in
from polymode.policy.inputs import InputCheck
from polymode.policy.json_fields import checked_fields, tuples_in
from polymode.policy.pooling import MAX_POOL, check_pool
from polymode.policy.reference import Reference
from polymode.prompts import check_k

MAX_VALUE = 60
"""Characters of a value that a reason shows."""


@dataclass(frozen=True, slots=True)
class QuestionStatistics:
    """What the calibration questions have in common.

    A question drawn like them is longer or shorter than all of n with a probability of at most 2 / (n + 1).
    """

    n: int
    """Questions."""
    characters: tuple[int, int, int]
    """Least, median and largest length."""
    scripts: tuple[str, ...]
    """Writing systems of their letters, by the first word of Unicode's names: LATIN, CYRILLIC, CJK."""

    def __post_init__(self) -> None:
        number_in("conditions.questions.n", self.n, 1, whole=True)
        if len(self.characters) != 3 or not all(isinstance(x, int) and x >= 0 for x in self.characters):
            raise ConfigError("conditions.questions.characters: least, median and largest length are needed")
        if not all(isinstance(script, str) for script in self.scripts):
            raise ConfigError("conditions.questions.scripts: a list of texts is needed")

    @classmethod
    def of(cls, texts: Iterable[str]) -> QuestionStatistics | None:
        """Of the questions with a text; None where there are none."""
        stripped = [text.strip() for text in texts if text.strip()]
        if not stripped:
            return None
        lengths = [len(text) for text in stripped]
        scripts = sorted(set().union(*(scripts_of(text) for text in stripped)))
        return cls(len(stripped), (min(lengths), median_low(lengths), max(lengths)), tuple(scripts))

    def difference(self, question: str) -> str:
        """How a question is unlike all of these; "" where it is not."""
        length, (least, _, most) = len(question.strip()), self.characters
        if not least <= length <= most:
            return f"the question has {length:,} characters, those of the calibration {least:,} to {most:,}"
        if unseen := sorted(scripts_of(question) - set(self.scripts)):
            return f"the question is written in {', '.join(unseen)}, those of the calibration are not"
        return ""


def scripts_of(text: str) -> set[str]:
    """Writing systems of the letters of a text."""
    return {unicodedata.name(char, "UNNAMED").split()[0] for char in set(text) if char.isalpha()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How completions come about; what is None or empty is not known, except where the field says so."""

    model: str = ""
    """Name or folder; of a model behind a server its name and the server's address."""
    fingerprint: str = ""
    """Of the model's files (`polymode.fingerprints`); empty for a model behind a server, which is told by its name."""
    task: str = ""
    style: str = ""
    """Prompt style."""
    prompts: tuple[str, ...] = ()
    """Texts of the prompts around ``{question}``: one, unless questions were asked in several ways."""
    chat: Mapping[str, Any] | None = None
    """System prompt, few-shot examples, stop texts and arguments of the chat template."""
    k: int | None = None
    """Answers asked for."""
    temperature: float | None = None
    max_tokens: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Further options that change what is sampled; none where empty."""
    pool: int = 1
    """Completions of a question that are pooled into one answer set (`polymode.policy.pooling`)."""
    confidences: str = "stated"
    """Where confidences come from: stated, or the method that measured them."""
    verifier: Mapping[str, Any] | None = None
    """Name and options of what told right from wrong. Nothing is judged in service, so only `--check` compares it."""
    questions: QuestionStatistics | None = None
    """Of the calibration; compared with each question."""
    inputs: InputCheck | None = None
    """Tells questions unlike those of the calibration, which are escalated; None where there were too few to fit it."""
    reference: Reference | None = None
    """What questions and confidences measured, to tell whether they change (`polymode.policy.monitoring`)."""

    def __post_init__(self) -> None:
        for name in ("model", "fingerprint", "task", "style", "confidences"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"conditions.{name} = {getattr(self, name)!r} is not allowed: give a text")
        if not all(isinstance(prompt, str) for prompt in self.prompts):
            raise ConfigError("conditions.prompts: a list of texts is needed")
        for name in ("chat", "sampling", "verifier"):
            if not isinstance(getattr(self, name) or {}, Mapping):
                raise ConfigError(f"conditions.{name} = {getattr(self, name)!r:.60} is not allowed: give an object")
        if self.k is not None:
            check_k(self.k)
        if self.temperature is not None:
            number_in("conditions.temperature", self.temperature, 0)
        if self.max_tokens is not None:
            number_in("conditions.max_tokens", self.max_tokens, 1, whole=True)
        check_pool(self.pool)

    def seed_for(self, question: str, seed: int = 0) -> int:
        """Seed of a question's completions, in 0..2^31 - 65: the same question gets the same answer.

        It depends on the question, without regard to case and white space, on what decides how a completion is drawn
        (model, prompt, K, temperature, further sampling options), and on ``seed``: never on time or other questions.
        """
        from polymode.fingerprints import question_fingerprint, same_question  # numpy, which deciding does without

        model = self.fingerprint or self.model
        own = (same_question(question_fingerprint(question)), model, self.prompts, self.chat, self.k)
        text = json.dumps([seed, *own, float(self.temperature or 0), dict(self.sampling)], sort_keys=True, default=str)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (2**31 - MAX_POOL)

    @staticmethod
    def from_json(row: object) -> Conditions:
        """The conditions of a JSON object; what is missing is not known. Raises ConfigError."""
        values = tuples_in(checked_fields(row, Conditions, "conditions"), "conditions", "prompts")
        if values.get("questions") is not None:
            where, needed = "conditions.questions", [one.name for one in fields(QuestionStatistics)]
            questions = checked_fields(values["questions"], QuestionStatistics, where, needed=needed)
            values["questions"] = QuestionStatistics(**tuples_in(questions, where, "characters", "scripts"))
        if values.get("inputs") is not None:
            where, needed = "conditions.inputs", [one.name for one in fields(InputCheck)]
            inputs = checked_fields(values["inputs"], InputCheck, where, needed=needed)
            values["inputs"] = InputCheck(**tuples_in(inputs, where, "sketches", "medians", "spreads"))
        if values.get("reference") is not None:
            reference = checked_fields(values["reference"], Reference, "conditions.reference")
            values["reference"] = Reference(**{name: _rows(name, rows) for name, rows in reference.items()})
        return Conditions(**values)

    def differences(self, other: Conditions | None) -> tuple[str, ...]:
        """How ``other`` differs from these, one clause each; what either does not know differs."""
        if other is None:
            return ("it is not known how the model is run here",)
        clauses = [self._model_difference(other)]
        for name, label in _LABELS.items():
            own, now = getattr(self, name), getattr(other, name)
            if own in (None, "", ()):
                clauses.append(f"the {label} of the calibration is not recorded")
            elif now != own:
                clauses.append(_changed(label, now, own))
        return tuple(clause for clause in clauses if clause)

    def _model_difference(self, other: Conditions) -> str:
        if not self.model:
            return "the model of the calibration is not recorded"
        if self.fingerprint != other.fingerprint:
            marks = [f"{one.model or 'another'} ({one.fingerprint or 'unknown'})" for one in (other, self)]
            return f"the model is {marks[0]} instead of {marks[1]}"
        if not self.fingerprint and self.model != other.model:
            return f"the model is {other.model or 'not known'} instead of {self.model}"
        return ""


_LABELS = {
    "task": "task",
    "style": "prompt style",
    "prompts": "prompt's text",
    "chat": "system prompt, examples or chat template",
    "k": "number of answers",
    "temperature": "temperature",
    "max_tokens": "token limit",
    "sampling": "sampling",
    "pool": "number of pooled completions",
    "confidences": "source of the confidences",
}


def _rows(name: str, rows: object) -> tuple[tuple[float, ...], ...]:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ConfigError(f"conditions.reference.{name}: a list of lists is needed")
    return tuple(tuple(row) for row in rows)


def _changed(label: str, now: object, own: object) -> str:
    if isinstance(own, (Mapping, tuple)) and label != "sampling":
        return f"the {label} is another"
    if isinstance(own, Mapping):
        return f"the {label} is {dict(now or {})!r:.{MAX_VALUE}} instead of {dict(own)!r:.{MAX_VALUE}}"  # type: ignore[call-overload]
    values = [f"{value:g}" if isinstance(value, float) else str(value) for value in (now, own)]
    return f"the {label} is {values[0]:.{MAX_VALUE}} instead of {values[1]:.{MAX_VALUE}}"
