"""Bonuses for rare answers: hand-worked groups, names of answers, and counts that survive a stop."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import RecordError, VerifierFault
from polymode.exploration import AnswerCounts, AnswerNames, batch_bonus
from polymode.judging import judge
from polymode.types import Answer, AnswerSet, Example, Judgement, ParseStatus, Reference, Span
from polymode.verifiers import Verifier
from polymode.verifiers.scripted import ScriptedVerifier
from polymode.verifiers.text import TextVerifier

steady = settings(derandomize=True)


def judged(texts: Sequence[str], verifier: Verifier, *references: Reference) -> Judgement:
    answers = tuple(Answer(text, Span(0, 1)) for text in texts)
    made = AnswerSet(ParseStatus.CLEAN, answers, len(texts), False)
    return judge(Example("", "", references), made, verifier)


def test_batch_by_hand() -> None:
    # Of four sets, "flu" is in three, "cold" in two, "gout" and "mumps" in one each. Share of the three others: 2/3,
    # 1/3, 0; the set that says flu twice earns nothing for the second.
    group = [["flu", "cold"], ["flu", "gout"], ["cold", "mumps"], ["flu", None]]
    assert batch_bonus(group) == pytest.approx([(1 / 3 + 2 / 3) / 2, (1 / 3 + 1) / 2, (2 / 3 + 1) / 2, 1 / 6])


def test_batch_with_malformed_and_unscored_completions() -> None:
    # Malformed text takes part and earns nothing; an unscored completion is as if it were not there.
    assert batch_bonus([["flu"], [], ["flu"], None]) == [0.5, 0, 0.5, 0]
    assert batch_bonus([["flu"], None]) == [1, 0]
    assert batch_bonus([]) == []


def test_historical_by_hand() -> None:
    counts = AnswerCounts()
    # Two say flu, one of them cold as well: 1/√2 and (1/√2 + 1) / 2.
    assert counts.bonus("q", [["flu", None], ["flu", "cold"]]) == pytest.approx([0.5**0.5 / 2, (0.5**0.5 + 1) / 2])
    # Two more: four times flu so far. Another question has counts of its own.
    assert counts.bonus("q", [["flu"], ["flu"], [], None]) == pytest.approx([0.5, 0.5, 0, 0])
    assert counts.bonus("other", [["flu"]]) == [1]
    assert counts.state() == {"q": {"flu": 4, "cold": 1}, "other": {"flu": 1}}


names = st.lists(st.none() | st.sampled_from("abc"), min_size=2, max_size=2)
group = st.lists(st.none() | st.just([]) | names, min_size=1, max_size=5)


@steady
@given(st.lists(group, min_size=1, max_size=4))
def test_bonuses_stay_between_0_and_1_and_do_not_depend_on_order(groups) -> None:
    counts, reverse = AnswerCounts(), AnswerCounts()
    for given_names in groups:
        for bonus, back in (
            (batch_bonus(given_names), batch_bonus(given_names[::-1])),
            (counts.bonus("q", given_names), reverse.bonus("q", given_names[::-1])),
        ):
            assert all(0 <= value <= 1 for value in bonus)
            assert bonus == pytest.approx(back[::-1])
            assert [value for value, own in zip(bonus, given_names, strict=True) if not own] == [0] * sum(
                not own for own in given_names
            )


@steady
@given(st.lists(group, min_size=2, max_size=5), st.integers(1, 4))
def test_counts_go_on_after_a_stop(groups, stop: int) -> None:
    whole = AnswerCounts()
    expected = [whole.bonus("q", given_names) for given_names in groups]
    first = AnswerCounts()
    found = [first.bonus("q", given_names) for given_names in groups[:stop]]
    second = AnswerCounts(json.loads(json.dumps(first.state())))
    found += [second.bonus("q", given_names) for given_names in groups[stop:]]
    assert found == expected
    assert second.state() == whole.state()


def test_processes_tell_each_other_what_they_counted() -> None:
    one, two = AnswerCounts(), AnswerCounts()
    one.bonus("q", [["flu"], ["flu"]])
    two.bonus("q", [["cold"]])
    news = one.take_news(), two.take_news()
    one.add(news[1])
    two.add(news[0])
    assert one.state() == two.state() == {"q": {"flu": 2, "cold": 1}}
    assert one.take_news() == []


def test_a_state_that_is_none_is_refused() -> None:
    for state in (["q"], {"q": 3}, {"q": ["a"]}):
        with pytest.raises(RecordError, match="give a mapping of questions"):
            AnswerCounts().load(state)


def test_answers_with_one_reference_have_one_name() -> None:
    flu, cold = Reference("influenza", ("flu",)), Reference("cold")
    found = judged(["the Flu", "gout", "Influenza", "Gout.", "cold"], TextVerifier(), flu, cold)
    assert AnswerNames(TextVerifier()).names(found) == ["#0", "~gout", None, None, "#1"]


def test_without_keys_answers_are_compared_with_what_was_said_before() -> None:
    verifier = ScriptedVerifier({"grippe": "flu", "flu": "flu", "broken": VerifierFault("no")})
    answers = AnswerNames(verifier, earlier=["~cold", "#0"])
    assert answers.names(judged(["flu", "cold"], verifier, Reference("gout"))) == ["~flu", "~cold"]
    assert answers.names(judged(["grippe", "mumps"], verifier, Reference("gout"))) == ["~flu", "~mumps"]
    # One that cannot be compared stands for itself.
    assert answers.names(judged(["broken"], verifier, Reference("gout"))) == ["~broken"]


class Open(TextVerifier):
    """Every text that starts with "good" is right, and there is no end of them."""

    open = True

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer.startswith("good")


def test_where_right_answers_are_without_number_each_has_its_own_name() -> None:
    verifier = Open()
    found = judged(["good tea", "good cake", "Good cake.", "bad"], verifier, Reference("tests"))
    assert AnswerNames(verifier).names(found) == ["~goodtea", "~goodcake", None, "~bad"]
