"""The one-call score, and a regression test for each trap of the released code that this path avoids."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode import METHODS, ParseStatus, Reference, Score, Verdict, reward_of
from polymode.errors import ConfigError, RecordError
from polymode.verifiers.scripted import ScriptedVerifier

steady = settings(derandomize=True)


def completion(*answers: str | tuple[str, float], think: str = "hm") -> str:
    slots = ""
    for i, answer in enumerate(answers, 1):
        n = "" if len(answers) == 1 else str(i)
        if isinstance(answer, str):
            slots += f"<answer{n}>{answer}</answer{n}>"
        else:
            slots += f"<answer{n}>{answer[0]}</answer{n}><confidence{n}>{answer[1]}</confidence{n}>"
    return f"<think>{think}</think>{slots}"


def rlvr(text: str, references: Any, k: int = 3, preset: str = "paper") -> Score:
    return reward_of(text, references, k=k, method="multi-rlvr", preset=preset)


def rlcr(text: str, references: Any, k: int = 3, preset: str = "paper") -> Score:
    return reward_of(text, references, k=k, preset=preset)


def test_one_call() -> None:
    found = reward_of(completion(("the Flu", 0.8), ("mumps", 0.5)), ["flu", ["cold", "common cold"]], k=2)
    # Coverage 1; errors .2² + .5² = .29, over 2: .145; format 1.
    assert found.total == pytest.approx(1.855)
    assert found.terms == pytest.approx({"coverage": 1, "brier": -0.145, "format": 1})
    assert found.answer_set.status is ParseStatus.CLEAN
    assert [answer.text for answer in found.answer_set.answers] == ["the Flu", "mumps"]
    assert found.judgement.verdicts == (Verdict.CORRECT, Verdict.WRONG)


@pytest.mark.parametrize(
    ("method", "text", "k", "total"),
    [
        ("single-rlvr", completion("flu"), 1, 2.0),
        ("single-rlcr", completion(("flu", 0.5)), 1, 1.75),
        ("multi-rlvr", completion("flu", "cold"), 2, 3.0),
        ("multi-rlvr", completion("flu"), 1, 2.0),
        ("multi-rlcr", completion(("flu", 0.5)), 1, 1.75),
    ],
)
def test_methods(method: str, text: str, k: int, total: float) -> None:
    assert reward_of(text, ["flu", "cold"], k=k, method=method).total == total


def test_truncated_and_unscored() -> None:
    cut = reward_of("<think>still", ["flu"], k=2, finished=False)
    assert (cut.total, cut.answer_set.status) == (0, ParseStatus.TRUNCATED)
    failing = ScriptedVerifier({"boom": TimeoutError("too slow")})
    found = reward_of(completion(("boom", 0.5), ("flu", 0.5)), ["flu"], k=2, verifier=failing)
    assert (found.total, found.terms) == (None, {})
    assert found.judgement.faults == ("answer 1: TimeoutError: too slow",)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ConfigError, "k = 0 is not allowed"),
        ({"k": 2, "method": "single-rlcr"}, ConfigError, "a single method asks for one answer; use k = 1"),
        ({"k": 2, "method": "ppo"}, ConfigError, "method = 'ppo' is not known"),
        ({"k": 2, "preset": "best"}, ConfigError, "preset = 'best' is not known"),
        ({"k": 2, "references": None}, RecordError, "None is missing; write the right answers, or an empty list"),
        ({"k": 2, "references": ["flu", "The flu"]}, RecordError, "'flu' and 'The flu' are the same answer"),
        ({"k": 2, "references": [Reference("flu"), Reference("FLU")]}, RecordError, "are the same answer"),
        ({"k": 2, "references": [["flu", ""]]}, RecordError, "empty text"),
        ({"k": 2, "references": [3]}, RecordError, "3 is not a reference"),
    ],
)
def test_mistakes(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        reward_of("<answer>flu</answer>", **{"references": ["flu"], **options})
    assert "\n" not in str(caught.value)


def test_references_may_change_between_calls() -> None:
    text = completion(("flu", 1.0))
    references: list[Any] = [["flu", "influenza"]]
    assert reward_of(text, references, k=1).judgement.coverage == 1
    references[0][0] = "grippe"
    assert reward_of(text, references, k=1).judgement.coverage == 0
    references.append("grippe")
    for _ in range(2):  # a list that is refused is refused each time
        assert reward_of(text, references, k=1).judgement.n_references == 2
        with pytest.raises(RecordError, match="are the same answer"):
            reward_of(text, ["flu", "Flu"], k=1)
        with pytest.raises(RecordError, match="is not a reference"):
            reward_of(text, [["flu", True]], k=1)


def test_equal_references_are_read_anew_for_another_verifier() -> None:
    class Exact:
        def key(self, text: str) -> str:
            return text

        def same(self, a: str, b: str) -> bool:
            return a == b

        def matches(self, answer: str, reference: Reference) -> bool:
            return answer in reference.names

    class Unhashable(Exact):
        __hash__ = None  # type: ignore[assignment]

    text = completion(("Flu", 1.0))
    for verifier in (Exact(), Unhashable()):
        assert reward_of(text, ["Flu", "flu"], k=1, verifier=verifier).judgement.matches == (0,)
        with pytest.raises(RecordError, match="are the same answer"):
            reward_of(text, ["Flu", "flu"], k=1)


@pytest.mark.parametrize("form", [list, tuple])
def test_every_form_of_the_same_references_scores_alike(form: Any) -> None:
    text = completion(("cold", 0.5), ("flu", 0.75))
    forms = [
        form(["flu", form(["catarrh", "cold"])]),
        form([{"text": "flu"}, {"text": "catarrh", "aliases": ["cold"]}]),
        form([Reference("flu"), Reference("catarrh", ("cold",))]),
        form([Reference("flu"), form(["catarrh", "cold"])]),
    ]
    scores = [reward_of(text, references, k=2) for references in forms for _ in range(2)]
    assert scores == scores[:1] * len(scores)
    assert scores[0].judgement.matches == (1, 0)


@steady
@given(st.text(), st.sampled_from(list(METHODS)), st.sampled_from(["paper", "released"]))
def test_any_text_has_a_score(text: str, method: str, preset: str) -> None:
    found = reward_of(text, ["flu"], k=2 if method.startswith("multi") else 1, method=method, preset=preset)
    assert found.total == sum(found.terms.values())


# --- traps of the code released with the paper (https://github.com/ishapuri/multi_answer_rl), one test each -----------


def test_trap_1_a_bare_string_is_one_reference() -> None:
    found = reward_of(completion("u"), "flu", k=1, method="single-rlvr")
    assert (found.judgement.n_references, found.judgement.coverage) == (1, 0)
    assert reward_of(completion("flu"), "flu", k=1, method="single-rlvr").judgement.coverage == 1


def test_trap_2_coverage_is_a_count() -> None:
    references = ["flu", "cold", "mumps"]
    one, three = completion("flu", "x", "y"), completion(*references)
    assert (rlvr(one, references).terms["coverage"], rlvr(three, references).terms["coverage"]) == (1, 3)
    released = [rlvr(text, references, preset="released").terms["coverage"] for text in (one, three)]
    assert released == [0.5, 0.5]


def test_trap_3_repeats_do_not_pay_without_confidences() -> None:
    text = completion("flu", "flu", "flu")
    assert rlvr(text, ["flu"]).terms["coverage"] == 1
    assert rlvr(text, ["flu", "cold", "mumps"]).terms["coverage"] == 1
    assert rlvr(text, ["flu"], preset="released").total == 1.0  # full marks there: .5 + .5


def test_trap_4_spellings_of_one_reference_are_one_hit() -> None:
    assert rlvr(completion("flu", "Flu", "the flu"), ["flu"]).terms["coverage"] == 1
    assert rlvr(completion("flu", "influenza", "grippe"), [["flu", "influenza", "grippe"]]).terms["coverage"] == 1


def test_trap_5_duplicates_are_found_by_the_equality_of_correctness() -> None:
    text = completion(("flu", 1), ("flu.", 1), ("x", 0))
    found = rlcr(text, ["flu"])
    assert found.judgement.duplicates == (None, 0, None)
    # The repeat's label is 0, so its confidence costs 1/3.
    assert found.terms == pytest.approx({"coverage": 1, "brier": -1 / 3, "format": 1})
    # Told apart by lower case only, the released gate lets it pass with a perfect Brier term.
    assert rlcr(completion(("flu", 0.5), ("flu.", 0.5), ("x", 0)), ["flu"], preset="released").terms["brier"] > 0.4
    assert rlcr(completion(("flu", 0.5), ("Flu", 0.5), ("x", 0)), ["flu"], preset="released").terms["brier"] == 0


def test_trap_6_sums_of_exactly_one_are_not_rejected() -> None:
    qs = [0.05, 0.3, 0.65, 0.0]
    shuffled = [(a, b, c, d) for a in qs for b in qs for c in qs for d in qs if sorted((a, b, c, d)) == sorted(qs)]
    for quad in shuffled:
        answers = completion(*zip(["flu", "x", "y", "z"], quad, strict=True))
        expected = -(sum(q * q for q in quad[1:]) + (1 - quad[0]) ** 2) / 4
        assert rlcr(answers, ["flu"], k=4).terms["brier"] == pytest.approx(expected)


def test_trap_7_honest_confidences_may_sum_above_one() -> None:
    honest, dishonest = (completion(("flu", a), ("cold", b), ("x", 0)) for a, b in ((0.9, 0.9), (0.5, 0.5)))
    references = ["flu", "cold"]
    # (.01 + .01 + 0) / 3 against (.25 + .25 + 0) / 3.
    assert rlcr(honest, references).terms["brier"] == pytest.approx(-0.02 / 3)
    assert rlcr(dishonest, references).terms["brier"] == pytest.approx(-0.5 / 3)
    # Released: 0 against .5 x .8333.
    assert rlcr(honest, references, preset="released").terms["brier"] == 0
    assert rlcr(dishonest, references, preset="released").terms["brier"] == pytest.approx(0.5 * (1 - 0.5 / 3))


def test_trap_8_drafts_in_the_reasoning_are_not_graded() -> None:
    draft = completion("flu", "cold", "mumps", think="first").replace("<think>first</think>", "")
    assert rlvr(completion("x", "y", "z", think=draft), ["flu", "cold", "mumps"]).terms["coverage"] == 0
    assert rlvr(f"<think>{draft}", ["flu"]).answer_set.status is ParseStatus.MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "<answer2>cold</answer2><answer1>flu</answer1><answer3>mumps</answer3>",
        "<answer1>flu</answer1><answer2>cold</answer2><answer3>mumps</answer3><answer4>x</answer4>",
        "<answer1>flu</answer1><answer1>flu</answer1><answer2>cold</answer2><answer3>mumps</answer3>",
        "<answer1>flu</answer1><answer2></answer2><answer3>mumps</answer3>",
        "<answer1>flu</answer1><answer3>mumps</answer3>",
        "<answer1></answer1><answer2></answer2><answer3></answer3>",
    ],
)
def test_trap_9_slots_out_of_order_extra_missing_or_empty(text: str) -> None:
    for preset in ("paper", "released"):
        found = rlvr(text, ["flu", "cold", "mumps"], preset=preset)
        assert (found.total, found.answer_set.status) == (0, ParseStatus.MALFORMED)
        assert set(found.terms.values()) == {0.0}


def test_trap_10_malformed_text_is_no_perfect_brier_score() -> None:
    # Every term is 0, the total is 0: no higher than the worst clean set, all wrong with certainty.
    assert rlcr("gibberish", ["flu"]).total == 0
    worst = rlcr(completion(("x", 1), ("y", 1), ("z", 1)), ["flu"]).total
    assert worst is not None and worst >= 0
    assert math.isclose(worst, 0)


def test_a_verifier_by_name() -> None:
    assert reward_of("<answer>The Flu</answer>", "flu", k=1, method="single-rlvr", verifier="text").total == 2
    with pytest.raises(ConfigError, match="verifier = 'maths' is not known: use one of text, symbolic"):
        reward_of("<answer>1</answer>", "1", k=1, method="single-rlvr", verifier="maths")
