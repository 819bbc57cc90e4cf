"""A bonus for answers that are rarely given: outcome-based exploration (layer L2).

Song, Kempe & Munos, https://arxiv.org/abs/2509.06941, look at final answers instead of reasoning. Here for sets of K
answers; answer i of completion g of a question x earns a novelty from 0 to 1, and a repeat within its set earns 0::

    batch        1 - share of the other completions of the group that give the answer
    historical   1 / √n(x, answer),   n = completions that gave it to x so far, those of this group included
    bonus        mean of the novelty over the K answers, in [0, 1]

The paper's batch form is a penalty, minus the share; this is the same plus a constant for sets that can be parsed, and
malformed text, which gives no answers, stays below them. It is stateless and works on questions that never recur; the
historical form has a memory, so it moves on from answers tried in earlier epochs.

Neither depends on confidences, so honest ones stay optimal. Both reward wrong answers: with weight w a new one earns up
to w / K, so a right answer that everybody gives wins only if it adds at least that (recipes are checked for it), and an
uncertain one may lose. That is the price of exploration; keep w small.

Answers are the same when they match the same reference, else when the verifier's equality says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from polymode.errors import RecordError, VerifierFault
from polymode.types import Judgement
from polymode.verifiers import Verifier, is_open
from polymode.verifiers.faults import ask

T = TypeVar("T")


class AnswerNames:
    """Gives the same name to answers of one question that are the same answer."""

    def __init__(self, verifier: Verifier, earlier: Sequence[str] = ()) -> None:
        """``verifier`` is the equality on the question; ``earlier`` are names that were assigned before."""
        self._verifier = verifier
        self._key = getattr(verifier, "key", None)
        self._is_open = is_open(verifier)
        self._heads = [name[1:] for name in earlier if name[:1] == _TEXT]

    def names(self, judgement: Judgement) -> list[str | None]:
        """A name for each answer of a set: ``#2`` for reference 2, ``~flu`` for a text; None for a repeat."""
        names: list[str | None] = []
        earlier: set[str] = set()
        answers = zip(judgement.answer_set.answers, judgement.matches, judgement.duplicates, strict=True)
        for answer, match, duplicate_of in answers:
            name = self._text(answer.text) if match is None or self._is_open else f"{_REFERENCE}{match}"
            names.append(None if duplicate_of is not None or name in earlier else name)
            earlier.add(name)
        return names

    def _text(self, text: str) -> str:
        if self._key is not None:
            return _TEXT + _ask_or(text, self._key, text)
        head = next((head for head in self._heads if _ask_or(False, self._verifier.same, text, head)), None)
        if head is None:
            self._heads.append(head := text)
        return _TEXT + head


def _ask_or(default: T, method: Callable[..., T], *texts: str) -> T:
    """What the verifier's method returns, or the default after a fault."""
    try:
        return ask(method, *texts)
    except VerifierFault:
        return default


_REFERENCE, _TEXT = "#", "~"


def batch_bonus(names_G_K: Sequence[Sequence[str | None] | None]) -> list[float]:
    """Bonus of each completion of a group for answers that few of the others give, in [0, 1].

    Args:
        names_G_K: names of each completion's answers, None for a repeat; no answers for malformed text; None instead of
            a list for a completion that is left out (unscored).

    >>> batch_bonus([["a", "b"], ["a", "a2"], ["a", "b"]])
    [0.25, 0.5, 0.25]
    """
    scored = [set(names) - {None} for names in names_G_K if names is not None]
    counts = Counter(name for names in scored for name in names)
    others = max(len(scored) - 1, 1)
    return [_mean([1 - (counts[name] - 1) / others for name in names or () if name], names) for names in names_G_K]


class AnswerCounts:
    """How many completions gave each answer to each question so far; plain JSON in and out."""

    def __init__(self, state: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """Continue from ``state``, or start empty."""
        self._counts: dict[str, Counter[str]] = {}
        self._news: list[tuple[str, Counter[str]]] = []
        self.load(state or {})

    def names(self, question: str) -> Sequence[str]:
        """Names of the answers that were given to a question."""
        return list(self._counts.get(question, ()))

    def bonus(self, question: str, names_G_K: Sequence[Sequence[str | None] | None]) -> list[float]:
        """Count a group of completions, then the bonus of each from how rare its answers are, in [0, 1].

        Args:
            question: identity of the question.
            names_G_K: as for `batch_bonus`.
        """
        news = Counter(name for names in names_G_K for name in set(names or ()) if name is not None)
        counts = self._counts.setdefault(question, Counter())
        counts.update(news)
        self._news.append((question, news))
        return [_mean([counts[name] ** -0.5 for name in names or () if name], names) for names in names_G_K]

    def take_news(self) -> list[tuple[str, Counter[str]]]:
        """The counts since the last call, for the other processes of a run."""
        news, self._news = self._news, []
        return news

    def add(self, news: Sequence[tuple[str, Mapping[str, int]]]) -> None:
        """Add the counts of another process."""
        for question, counts in news:
            self._counts.setdefault(question, Counter()).update(counts)

    def state(self) -> dict[str, dict[str, int]]:
        """Everything counted, as plain JSON."""
        return {question: dict(counts) for question, counts in self._counts.items()}

    def load(self, state: Any) -> None:
        """Replace everything counted by a state.

        Raises:
            RecordError: not a valid state.
        """
        try:
            self._counts = {str(question): Counter(dict(counts)) for question, counts in state.items()}
        except (AttributeError, TypeError, ValueError):
            raise RecordError("answer counts: give a mapping of questions to mappings of answers to counts") from None
        self._news = []


def _mean(novelties: Sequence[float], names: Sequence[str | None] | None) -> float:
    """Over all K answers, repeats included; 0 without answers."""
    return sum(novelties) / len(names) if names else 0.0
