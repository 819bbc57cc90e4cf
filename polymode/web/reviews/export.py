"""Reviews as data (layer L6): records for training, judged answer sets for `polymode calibrate`.

The questions of a queue are those that the policy did not answer, so they are harder than the rest. That does no harm
to records. A policy calibrated on them alone promises nothing about other questions: calibrate on a random share of all
questions, which the service may put in the queue whatever was decided.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError
from polymode.fingerprints import question_fingerprint
from polymode.policy.deciding import Same, equality
from polymode.types import Verdict
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.reviews.records import ReviewItem, classes, repeats


class Exported(NamedTuple):
    """Lines of an exported file."""

    n_written: int
    n_left_out: int
    """Records: questions of which no right answer is known."""


def export_records(queue: ReviewQueue, path: Path, *, model_id: str | None = None) -> Exported:
    """Write the resolved questions with their right answers, for the task `records`; whole or not at all.

    A question that was reviewed several times is one record. Answers that are the same are one reference with aliases.
    Where reviewers disagree the last word counts.

    Raises:
        DataNotFoundError: no resolved item.
        WriteError, ReviewStoreError.
    """
    questions: dict[str, _Question] = {}
    for item in _resolved(queue, None, model_id):
        text = item.question.strip()
        questions.setdefault(text, _Question(text, equality(item.equality), item.id, item.risk)).take(item)
    rows = [question.row() for question in questions.values() if question.references]
    return Exported(runs.write_jsonl(path, rows), len(questions) - len(rows))


def export_judged(queue: ReviewQueue, path: Path, *, k: int | None = None, model_id: str | None = None) -> Exported:
    """Write the resolved answer sets as a judged.jsonl, with confidences as stated; whole or not at all.

    Raises:
        DataNotFoundError: no resolved item.
        ConfigError: items of several K or models, of which none was chosen.
        WriteError, ReviewStoreError.
    """
    items = _resolved(queue, k, model_id)
    for name, values in (("k", {item.k for item in items}), ("model_id", {item.model_id for item in items})):
        if len(values) > 1:
            choices = ", ".join(repr(value) for value in sorted(values))
            raise ConfigError(f"{name} is not given, and resolved items have {choices}: choose one")
    return Exported(runs.write_jsonl(path, judged_rows(items)), 0)


def judged_rows(items: Iterable[ReviewItem]) -> Iterator[dict[str, Any]]:
    """Lines of a judged.jsonl. Reviews of one question are its samples, in the order in which they were finished."""
    n_samples: Counter[str] = Counter()
    for item in items:
        question = item.question.strip().encode("utf-8", "surrogatepass")
        id_ = f"question-{hashlib.sha256(question).hexdigest()[:16]}"
        labels_K = classes(item.answers, item.equality)
        right_K = [answer.verdict is Verdict.CORRECT for answer in item.answers]
        references = list(dict.fromkeys(label for label, is_right in zip(labels_K, right_K, strict=True) if is_right))
        own = item.own_answers
        hits: list[Literal[0, 1] | None] = []
        for number, answer in enumerate(own):
            is_hit = right_K[number] and labels_K[number] not in labels_K[:number]
            hits.append(None if answer.verdict is Verdict.UNSCORED else 1 if is_hit else 0)
        judged = runs.JudgedCompletion(
            id=id_,
            question=question_fingerprint(item.question) or None,
            meta={"risk": item.risk},
            origin=item.origin,  # type: ignore[arg-type]  # one of the two that the server writes
            sample=n_samples[id_],
            k=item.k,
            status=item.status.value,
            reason=item.status_reason,
            answers=tuple(answer.text for answer in own),
            confidences=tuple(answer.confidence for answer in own),
            verdicts=tuple((answer.verdict or Verdict.UNSCORED).value for answer in own),
            hits=tuple(hits),
            matches=tuple(references.index(labels_K[i]) if right_K[i] else None for i in range(len(own))),
            duplicates=repeats(own, item.equality),
            n_references=len(references),
            faults=("the reviewer could not decide",) * hits.count(None),
        )
        n_samples[id_] += 1
        about = {"item": item.id, "decision": item.kind.value, "question": item.question, **_provenance(item)}
        yield {**judged.to_row(), "review": about}


@dataclass(slots=True)
class _Question:
    """All reviews of one question together."""

    text: str
    same: Same
    first_item: int
    risk: str
    references: list[list[str]] = field(default_factory=list)
    """Names of each right answer, the canonical one first."""
    reviews: list[dict[str, Any]] = field(default_factory=list)

    def take(self, item: ReviewItem) -> None:
        """Add a later review."""
        labels = classes(item.answers, item.equality)
        for label in dict.fromkeys(labels):
            names = [answer.text for answer, own in zip(item.answers, labels, strict=True) if own == label]
            if item.answers[label].verdict is Verdict.CORRECT:
                self._add_correct(names)
            elif item.answers[label].verdict is Verdict.WRONG:
                remaining = [[name for name in ref if not self._is_in(name, names)] for ref in self.references]
                self.references = [ref for ref in remaining if ref]
        self.reviews.append({"item": item.id, **_provenance(item)})

    def row(self) -> dict[str, Any]:
        """As the task `records` reads it."""
        return {
            "id": f"review-{self.first_item}",
            "question": self.text,
            "references": [{"text": text, "aliases": aliases} for text, *aliases in self.references],
            "risk": self.risk,
            "meta": {"reviews": self.reviews},
        }

    def _add_correct(self, names: list[str]) -> None:
        overlapping = [ref for ref in self.references if any(self._is_in(name, ref) for name in names)]
        merged: list[str] = []
        for name in [*(name for ref in overlapping for name in ref), *names]:
            if not self._is_in(name, merged):
                merged.append(name)
        place = self.references.index(overlapping[0]) if overlapping else len(self.references)
        self.references = [ref for ref in self.references if ref not in overlapping]
        self.references.insert(place, merged)

    def _is_in(self, name: str, names: Iterable[str]) -> bool:
        return any(self.same(name, other) for other in names)


def _resolved(queue: ReviewQueue, k: int | None, model_id: str | None) -> tuple[ReviewItem, ...]:
    items = queue.resolved(k=k, model_id=model_id)
    if not items:
        raise DataNotFoundError(f"review queue {queue.store.name} holds no resolved item of that kind: review some")
    return items


def _provenance(item: ReviewItem) -> dict[str, Any]:
    reviews = [
        {"round": one.round, "reviewer": one.reviewer, "at": one.at.isoformat(), "verdicts": list(one.verdicts)}
        | ({"added": list(one.added)} if one.added else {})
        for one in item.rounds
    ]
    return {
        **({"reviews": reviews} if reviews else {}),
        "reviewer": item.finished_by,
        "at": item.finished_at and item.finished_at.isoformat(),
        "model_id": item.model_id,
        "policy_id": item.policy_id,
    }
