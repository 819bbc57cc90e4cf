"""Answers that are the same have one verdict, whatever is said in which order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.types import Verdict
from polymode.web.reviews.records import ReviewAnswer, classes, repeats, with_verdicts

RIGHT, WRONG = Verdict.CORRECT, Verdict.WRONG


def answers(*texts: str, same_as: dict[int, int] | None = None) -> list[ReviewAnswer]:
    return [
        ReviewAnswer(text, 0.1, None, None, None, (same_as or {}).get(number), "") for number, text in enumerate(texts)
    ]


def verdicts(found: tuple[ReviewAnswer, ...]) -> list[Verdict | None]:
    return [answer.verdict for answer in found]


def test_classes_join_equal_texts_and_those_that_are_named_the_same() -> None:
    shown = answers("flu", "cold", "The Flu", "influenza", same_as={3: 2})
    assert classes(shown, "text") == (0, 1, 0, 0)
    assert classes(shown, "exact") == (0, 1, 2, 2)
    assert repeats(shown, "text") == (None, None, 0, None)
    assert repeats(shown, "exact") == (None, None, None, None)


def test_what_is_named_the_same_later_joins_whole_classes() -> None:
    # a = b, c = d, then b = d: all four.
    assert classes(answers("a", "b", "c", "d", same_as={1: 0, 3: 2, 2: 1}), "exact") == (0, 0, 0, 0)


def test_a_verdict_holds_for_all_that_is_the_same() -> None:
    shown = answers("flu", "cold", "The Flu", "influenza")
    assert verdicts(with_verdicts(shown, "text", {0: RIGHT, 1: WRONG}, {})) == [RIGHT, WRONG, RIGHT, None]
    found = with_verdicts(shown, "text", {0: RIGHT}, {3: 2})
    assert verdicts(found) == [RIGHT, None, RIGHT, RIGHT]
    assert found[3].same_as == 2
    # Taken back: no longer the same, the verdict stays until it is changed.
    again = with_verdicts(found, "text", {3: WRONG}, {3: None})
    assert verdicts(again) == [RIGHT, None, RIGHT, WRONG]


@pytest.mark.parametrize(
    ("marks", "same_as", "said"),
    [
        ({2: RIGHT}, {}, "answer 2 does not exist: the item has answers 0 to 1"),
        ({-1: RIGHT}, {}, "answer -1 does not exist"),
        ({True: RIGHT}, {}, "answer True does not exist"),
        ({}, {0: 5}, "answer 5 does not exist"),
        ({}, {1: 1}, "same_as: answer 1 cannot be the same as itself; name another"),
        ({0: "correct"}, {}, "verdict 'correct' of answer 0 is not allowed: use Verdict.CORRECT, Verdict.WRONG,"),
        ({0: RIGHT, 1: WRONG}, {1: 0}, "answers 'flu' and 'cold' are the same and must have one verdict"),
    ],
)
def test_what_makes_no_sense_is_refused(marks: dict, same_as: dict, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_verdicts(answers("flu", "cold"), "text", marks, same_as)
    assert said in str(caught.value)


def test_answers_that_were_judged_apart_cannot_be_named_the_same() -> None:
    apart = with_verdicts(answers("flu", "influenza"), "text", {0: RIGHT, 1: WRONG}, {})
    with pytest.raises(ConfigError, match="are the same and must have one verdict"):
        with_verdicts(apart, "text", {}, {1: 0})
    assert verdicts(with_verdicts(apart, "text", {1: RIGHT}, {1: 0})) == [RIGHT, RIGHT]


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "the b"]), min_size=1, max_size=6),
    st.data(),
)
def test_whatever_is_accepted_leaves_one_verdict_in_each_class(texts: list[str], data: st.DataObject) -> None:
    found = tuple(answers(*texts))
    for _ in range(data.draw(st.integers(1, 4))):
        number = st.integers(0, len(texts) - 1)
        marks = data.draw(st.dictionaries(number, st.sampled_from(list(Verdict)), max_size=3))
        same = data.draw(st.dictionaries(number, st.none() | number, max_size=2))
        try:
            found = with_verdicts(found, "text", marks, same)
        except ConfigError:
            continue
        assert all(found[number].verdict is verdict for number, verdict in marks.items())
    labels = classes(found, "text")
    assert all(answer.verdict is found[label].verdict for answer, label in zip(found, labels, strict=True))
    assert all(label <= number and labels[label] == label for number, label in enumerate(labels))
