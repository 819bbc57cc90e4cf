"""Soft labels: the mass that each answer of a set adds, by hand, by enumeration and where a verifier fails."""

from itertools import permutations, product

import pytest

from polymode.distributions import check_target, distribution_of, with_target
from polymode.errors import ConfigError, RecordError, VerifierFault
from polymode.judging import judge
from polymode.soft_labels import _masses_of
from polymode.types import Answer, AnswerSet, Example, Judgement, ParseStatus, Reference, Span, Verdict
from polymode.verifiers import Verifier
from polymode.verifiers.programs import ProgramVerifier
from polymode.verifiers.scripted import ScriptedVerifier
from polymode.verifiers.text import TextVerifier

POSTERIOR = {"flu": 0.6, "cold": 0.3, "asthma": 0.08, "gout": 0.02}
DIFFERENTIAL = (Reference("flu", ("influenza",), 0.6), Reference("cold", weight=0.3))
PATIENT = Example("p", "fever?", DIFFERENTIAL, distribution=POSTERIOR, target="distribution")


class Unkeyed:
    """Text equality that has no keys, so that everything is compared pair by pair."""

    def same(self, a: str, b: str) -> bool:
        return TextVerifier().same(a, b)

    def matches(self, answer: str, reference: Reference) -> bool:
        return TextVerifier().matches(answer, reference)


def judged(texts: list[str], example: Example = PATIENT, verifier: Verifier | None = None) -> Judgement:
    answers = tuple(Answer(text, Span(0, 0), 0.5) for text in texts)
    answer_set = AnswerSet(ParseStatus.CLEAN, answers, len(texts), has_confidence=True)
    return judge(example, answer_set, verifier or TextVerifier())


@pytest.mark.parametrize("verifier", [TextVerifier(), Unkeyed()])
def test_masses_by_hand(verifier: Verifier) -> None:
    # A reference under another name; the condition below the threshold; an unlisted answer; a repeat of each kind.
    found = judged(["influenza", "Asthma", "rabies", "flu", "asthma", "cold"], verifier=verifier)
    assert found.labels == found.soft_labels == (0.6, 0.08, 0.0, 0.0, 0.0, 0.3)
    assert found.hits == (1, 0, 0, 0, 0, 1)
    assert found.coverage == 2  # counted on the differential


def test_without_a_distribution_as_target_labels_are_hits() -> None:
    found = judged(["flu", "asthma"], with_target(PATIENT, "verdict"))
    assert found.soft_labels is None
    assert found.labels == found.hits == (1, 0)


def test_weights_of_references_are_a_distribution() -> None:
    votes = (Reference("e", weight=0.501), Reference("n", weight=0.3), Reference("c", weight=0.2))  # rounded shares
    example = Example("v", "?", votes, target="distribution")
    assert judged(["n", "e", "x"], example).labels == pytest.approx((0.3 / 1.001, 0.501 / 1.001, 0))


def test_masses_of_names_of_one_reference_add_up() -> None:
    example = Example(
        "a", "?", (Reference("flu", ("influenza",)),), distribution={"flu": 0.5, "INFLUENZA": 0.25, "cold": 0.25}
    )
    example = with_target(example, "distribution")
    assert judged(["influenza", "rabies", "cold"], example).labels == (0.75, 0.0, 0.25)
    # Other answers that the verifier calls equal add up too, and count once.
    example = Example("b", "?", (), distribution={"cold": 0.5, "Cold": 0.25, "flu": 0.25}, target="distribution")
    assert judged(["COLD", "cold", "flu"], example).labels == (0.75, 0.0, 0.25)


def test_a_name_of_two_references_adds_the_mass_of_the_one_that_is_new() -> None:
    # "mercury" first takes the planet; "hg" is the element only. In the other order "mercury" is what is left.
    example = Example(
        "m", "?", (Reference("planet", ("mercury",), 0.7), Reference("element", ("mercury", "hg"), 0.3)),
        target="distribution",
    )  # fmt: skip
    assert judged(["mercury", "hg"], example).labels == (0.7, 0.3)
    assert judged(["hg", "mercury"], example).labels == (0.3, 0.7)
    # Here "mercury" takes the first reference, which "planet" then needs: the matching moves, and gains the second.
    assert judged(["mercury", "planet"], example).labels == (0.7, 0.3)
    assert judged(["mercury", "planet", "hg"], example).labels == (0.7, 0.3, 0.0)


TEXTS = ("flu", "influenza", "cold", "asthma", "gout", "rabies")


@pytest.mark.parametrize("verifier", [TextVerifier(), Unkeyed()])
def test_labels_of_every_set_are_the_mass_of_what_it_found_and_fixed_by_what_came_before(verifier: Verifier) -> None:
    kinds = {"flu": "flu", "influenza": "flu", "cold": "cold", "asthma": "asthma", "gout": "gout", "rabies": ""}
    for texts in product(TEXTS, repeat=3):
        labels = judged(list(texts), verifier=verifier).labels
        found = {kinds[text] for text in texts}
        assert sum(w or 0 for w in labels) == pytest.approx(sum(POSTERIOR.get(kind, 0) for kind in found))
        for n in (1, 2):
            assert judged(list(texts[:n]), verifier=verifier).labels == labels[:n]
    for order in permutations(POSTERIOR):
        assert judged(list(order), verifier=verifier).labels == tuple(POSTERIOR[name] for name in order)


# Faults


def test_an_answer_that_the_verifier_cannot_place_is_unscored_with_the_reason() -> None:
    class Afraid(Unkeyed):
        def same(self, a: str, b: str) -> bool:
            if "gout" in (a, b):
                raise RuntimeError("not gout")
            return super().same(a, b)

    # "flu" needs no look into the rest of the posterior; "rabies" does, and gout stands there.
    found = judged(["flu", "rabies"], verifier=Afraid())
    assert found.verdicts == (Verdict.CORRECT, Verdict.UNSCORED)
    assert (found.hits, found.labels) == ((1, None), (0.6, None))
    assert found.faults == ("answer 2: its mass in the reference distribution: RuntimeError: not gout",)
    assert not found.is_scored


def test_a_distribution_that_the_verifier_cannot_read_leaves_all_unscored() -> None:
    class Picky(TextVerifier):
        def key(self, text: str) -> str:
            if text == "gout":
                raise ValueError("no key for gout")
            return super().key(text)

    found = judged(["flu", "rabies"], verifier=Picky())
    assert found.verdicts == (Verdict.UNSCORED, Verdict.UNSCORED)
    assert all("no key for gout" in fault for fault in found.faults)
    assert judged(["flu", "rabies"], with_target(PATIENT, "verdict"), Picky()).hits == (1, 0)


def test_what_could_not_be_judged_has_no_label_and_one_fault() -> None:
    found = judged(["boom", "flu"], verifier=ScriptedVerifier({"boom": VerifierFault("down")}))
    assert found.labels == (None, 0.6)
    assert found.faults == ("answer 1: down",)


def test_a_forgotten_return_is_a_fault_not_a_mass_of_0() -> None:
    class Forgetful(Unkeyed):
        def same(self, a: str, b: str) -> bool:
            return super().same(a, b) or None  # type: ignore[return-value]

    example = Example("o", "?", (Reference("flu"),), distribution={"flu": 0.5, "cold": 0.5}, target="distribution")
    [fault] = judged(["rabies"], example, Forgetful()).faults
    assert "same or matches returned None: return True or False" in fault


def test_a_question_made_by_hand_without_a_distribution() -> None:
    found = judged(["flu"], Example("x", "?", (Reference("flu"),), target="distribution"))
    assert "give it a distribution, or weights that sum to 1" in found.faults[0]


def test_programs_have_no_masses() -> None:
    example = Example("x", "?", (Reference("assert f(1) == 1"),), target="distribution")
    with pytest.raises(ConfigError, match="right answers are without number"):
        judged(["def f(x): return x"], example, ProgramVerifier(unsafe_local=True).at(example))


def test_masses_are_sorted_out_once_for_a_question() -> None:
    class Counting(Unkeyed):
        asked = 0

        def matches(self, answer: str, reference: Reference) -> bool:
            self.asked += answer == "gout"
            return super().matches(answer, reference)

    verifier = Counting()
    for _ in range(3):
        judged(["flu", "rabies"], verifier=verifier)
    assert verifier.asked == len(DIFFERENTIAL)
    assert _masses_of(PATIENT, TextVerifier()).of_others == {"asthma": 0.08, "gout": 0.02}


# Which distribution may be a target


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ((0.6, None), "the reference 'b' has no weight"),
        ((0.6, 0.3), "the weights of the references sum to 0.9"),
        ((0.6, 0.6), "the weights of the references sum to 1.2"),
        ((0.0, 0.0), "the weights of the references sum to 0"),
        ((), "the question has no references"),
    ],
)
def test_weights_that_are_no_distribution(weights: tuple[float | None, ...], problem: str) -> None:
    references = tuple(Reference(name, weight=w) for name, w in zip("ab", weights, strict=False))
    example = Example("x", "?", references)
    assert distribution_of(example) is None
    with pytest.raises(RecordError, match=f"target = 'distribution': {problem}; .*or leave target out"):
        with_target(example, "distribution")
    assert with_target(example, "verdict") is example


@pytest.mark.parametrize(
    ("masses", "problem"),
    [
        ({"a": 0.5, "b": 0.4}, "sum to 0.9"),
        ({"a": -0.5, "b": 1.5}, "-0.5 of 'a' is not a probability"),
        ({"a": float("nan"), "b": 1.0}, "nan of 'a'"),
        ({"a": True}, "True of 'a'"),
        ({}, "sum to 0"),
    ],
)
def test_masses_that_are_no_distribution(masses: dict[str, float], problem: str) -> None:
    with pytest.raises(RecordError, match=f"distribution: .*{problem}"):
        check_target(Example("x", "?", (Reference("a"),), distribution=masses, target="distribution"))


def test_an_unknown_target() -> None:
    with pytest.raises(ConfigError, match="target = 'votes'"):
        with_target(PATIENT, "votes")  # type: ignore[arg-type]
