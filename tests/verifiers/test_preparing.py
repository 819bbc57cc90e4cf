"""What judges a batch: the verifier that `prepare` returns, or the reason why there is none."""

from collections.abc import Iterable, Sequence

import pytest

from polymode.judging import judge
from polymode.types import Answer, AnswerSet, Example, ParseStatus, Reference, Span, Verdict
from polymode.verifiers import QuestionVerifier, Verifier, prepare_verifier
from polymode.verifiers.text import TextVerifier

QUESTION = Example("q", "Tea or milk?", (Reference("tea"), Reference("milk")))
ITEMS = [(QUESTION, ["tea", "beer"])]


class Listed:
    """Right is what stands in a list; preparing puts every answer there, or fails."""

    def __init__(self, *texts: str, failure: Exception | None = None) -> None:
        self.texts, self.failure = texts, failure

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> "Listed":
        if self.failure is not None:
            raise self.failure
        return Listed(*(text for _, texts in items for text in texts))

    def at(self, example: Example) -> "Listed":
        return self

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer in self.texts


def judged(verifier: Verifier | QuestionVerifier):
    answers = tuple(Answer(text, Span(0, 1)) for text in ("tea", "beer", "wine"))
    return judge(QUESTION, AnswerSet(ParseStatus.CLEAN, answers, 3, False), verifier)


def test_the_verifier_that_prepare_returns_has_the_results() -> None:
    verifier = Listed()
    assert judged(verifier).verdicts == (Verdict.WRONG,) * 3
    assert judged(prepare_verifier(verifier, ITEMS)).verdicts == (Verdict.CORRECT, Verdict.CORRECT, Verdict.WRONG)
    assert verifier.texts == ()


def test_an_equality_without_slow_work_judges_as_it_is() -> None:
    verifier = TextVerifier()
    assert prepare_verifier(verifier, ITEMS) is verifier


def test_a_verifier_of_the_first_version_returns_nothing_and_judges_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Listed("tea")
    monkeypatch.setattr(verifier, "prepare", lambda items: None)
    assert prepare_verifier(verifier, ITEMS) is verifier


def test_a_failure_to_prepare_leaves_every_answer_unscored_with_its_text() -> None:
    judgement = judged(prepare_verifier(Listed("tea", failure=KeyError("tea")), ITEMS))
    assert judgement.verdicts == (Verdict.UNSCORED,) * 3
    assert "prepare failed: KeyError: 'tea'" in judgement.faults[0]


def test_an_interruption_is_no_failure_of_the_verifier() -> None:
    verifier = Listed()
    verifier.prepare = lambda items: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        prepare_verifier(verifier, ITEMS)
