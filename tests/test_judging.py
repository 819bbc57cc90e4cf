"""Verdicts, hits and duplicates: one-to-one matching with one equality."""

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import VerifierFault
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.types import Answer, AnswerSet, Example, Judgement, ParseStatus, Reference, Span, Verdict
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.scripted import ScriptedVerifier
from polymode.verifiers.text import TextVerifier

TEXT = TextVerifier()
CORRECT, WRONG, UNSCORED = Verdict
steady = settings(derandomize=True)


def answer_set(*texts: str) -> AnswerSet:
    answers = tuple(Answer(text, Span(0, len(text))) for text in texts)
    return AnswerSet(ParseStatus.CLEAN if texts else ParseStatus.MALFORMED, answers, len(texts) or 3, False)


def asked(*references: str | tuple[str, ...]) -> Example:
    names = [(ref,) if isinstance(ref, str) else ref for ref in references]
    return Example("q", "?", tuple(Reference(first, tuple(rest)) for first, *rest in names))


def judged(texts: list[str], example: Example, verifier: Verifier | QuestionVerifier = TEXT) -> Judgement:
    return judge(example, answer_set(*texts), verifier)


class Unkeyed:
    """The text equality without keys, so that judging goes the general way."""

    def same(self, a: str, b: str) -> bool:
        return TEXT.same(a, b)

    def matches(self, answer: str, reference: Reference) -> bool:
        return TEXT.matches(answer, reference)


@pytest.mark.parametrize("verifier", [TEXT, Unkeyed()])
def test_first_hit_counts_and_repeats_do_not(verifier: Verifier) -> None:
    found = judged(["the Flu", "measles", "flu.", "cold", "Measles"], asked("flu", ("common cold", "cold")), verifier)
    assert found.verdicts == (CORRECT, WRONG, CORRECT, CORRECT, WRONG)
    assert found.hits == (1, 0, 0, 1, 0)
    assert found.matches == (0, None, 0, 1, None)
    assert found.duplicates == (None, None, 0, None, 1)
    assert (found.coverage, found.n_references, found.faults, found.is_scored) == (2, 2, (), True)


@pytest.mark.parametrize("verifier", [TEXT, Unkeyed()])
def test_aliases_of_one_reference_count_once_without_being_duplicates(verifier: Verifier) -> None:
    found = judged(["cold", "common cold"], asked(("common cold", "cold")), verifier)
    assert found.hits == (1, 0)
    assert found.duplicates == (None, None)  # different texts under the verifier, the same reference
    assert found.verdicts == (CORRECT, CORRECT)


@pytest.mark.parametrize("verifier", [TEXT, Unkeyed()])
def test_an_answer_moves_to_another_reference_to_make_room(verifier: Verifier) -> None:
    # "virus" matches both references, "flu" only the first. Greedy gives reference 0 to "virus" and misses "flu".
    example = asked(("flu", "virus"), ("cold", "virus"))
    found = judged(["virus", "flu"], example, verifier)
    assert found.hits == (1, 1)
    assert found.matches == (1, 0)
    # A repeat of "virus" is a duplicate, hence no hit, although reference 1 is still free.
    found = judged(["virus", "Virus"], example, verifier)
    assert (found.hits, found.duplicates) == ((1, 0), (None, 0))


def test_a_chain_of_moves() -> None:
    # Answers a {0, 1}, b {1, 2}, c {0}, d {1}: a -> 0, b -> 1, then c needs a -> 1 and b -> 2, then none is left for d.
    example = asked(("a", "c"), ("a", "b", "d"), ("b",))
    found = judged(["a", "b", "c", "d"], example)
    assert found.hits == (1, 1, 1, 0)
    assert found.matches == (1, 2, 0, 1)
    assert found.verdicts == (CORRECT,) * 4


@pytest.mark.parametrize("verifier", [TEXT, Unkeyed()])
def test_nothing_to_judge(verifier: Verifier) -> None:
    empty = judged([], asked("flu"), verifier)
    assert (empty.verdicts, empty.hits, empty.n_references, empty.coverage) == ((), (), 1, 0)
    assert judged(["flu"], asked(), verifier).verdicts == (WRONG,)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (VerifierFault("timed out"), "timed out"),
        (ValueError("bad"), "ValueError: bad"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_a_failing_verifier_is_unscored_never_wrong(failure: Exception, text: str) -> None:
    verifier = ScriptedVerifier({"boom": failure})
    found = judged(["flu", "boom", "flu", "cold", "boom"], asked("flu", "cold"), verifier)
    assert found.verdicts == (CORRECT, UNSCORED, CORRECT, CORRECT, UNSCORED)
    assert found.hits == (1, None, 0, 1, None)
    assert found.matches == (0, None, 0, 1, None)
    assert found.duplicates == (None, None, 0, None, None)
    assert found.faults == tuple(f"answer {i}: {text}" for i in (2, 5))
    assert not found.is_scored


def test_a_reference_the_verifier_cannot_read_leaves_all_unscored() -> None:
    found = judged(["flu", "cold"], asked("flu", "boom"), ScriptedVerifier({"boom": VerifierFault("unreadable")}))
    assert found.verdicts == (UNSCORED, UNSCORED)
    assert len(found.faults) == 2


def test_a_failing_key_is_unscored() -> None:
    class Keyed(Unkeyed):
        def key(self, text: str) -> str:
            raise VerifierFault(f"no key for {text}")

        def same(self, a: str, b: str) -> bool:
            return self.key(a) == self.key(b)

        def matches(self, answer: str, reference: Reference) -> bool:
            return self.key(answer) == self.key(reference.text)

    assert judged(["flu"], asked("flu"), Keyed()).faults == ("answer 1: no key for flu",)


def test_interrupts_are_not_swallowed() -> None:
    class Interrupted(Unkeyed):
        def matches(self, answer: str, reference: Reference) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(["flu"], asked("flu"), Interrupted())


def test_the_same_reference_objects_under_another_verifier() -> None:
    class Exact(Unkeyed):
        def key(self, text: str) -> str:
            return text

    example = asked("flu")
    assert judged(["Flu"], example).hits == (1,)
    assert judged(["Flu"], example, Exact()).hits == (0,)
    assert judged(["Flu"], example).hits == (1,)


def test_more_questions_than_are_kept_indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymode.judging.MAX_INDEXED", 2)
    examples = [asked(f"answer {i}") for i in range(5)]
    for _ in range(2):
        assert [judged([f"answer {i}", "answer 0"], e).coverage for i, e in enumerate(examples)] == [1] * 5


def largest_matching(texts: list[str], example: Example) -> int:
    """By trying every assignment."""
    distinct = list(dict.fromkeys(texts))
    size = min(len(distinct), len(example.references))
    for n in range(size, 0, -1):
        for chosen in combinations(distinct, n):
            for references in permutations(example.references, n):
                if all(TEXT.matches(text, ref) for text, ref in zip(chosen, references, strict=True)):
                    return n
    return 0


names = st.sampled_from("bcdefg")
overlapping = st.lists(st.lists(names, min_size=1, max_size=3, unique=True).map(tuple), min_size=1, max_size=4)


@steady
@given(st.lists(names, min_size=1, max_size=5), overlapping, st.randoms(use_true_random=False))
def test_coverage_is_the_largest_matching_whatever_the_order(texts, references, shuffler) -> None:
    example = asked(*references)
    found = judged(texts, example)
    assert found == judged(texts, example, Unkeyed())
    assert found.coverage == largest_matching(texts, example)
    assert [largest_matching(texts[: i + 1], example) for i in range(len(texts))] == [
        sum(y or 0 for y in found.hits[: i + 1]) for i in range(len(texts))
    ]
    owners = [m for m, y in zip(found.matches, found.hits, strict=True) if y]
    assert len(set(owners)) == len(owners)
    for text, verdict, match, duplicate in zip(texts, found.verdicts, found.matches, found.duplicates, strict=True):
        assert (verdict is CORRECT) is (match is not None)
        assert match is None or TEXT.matches(text, example.references[match])
        assert duplicate is None or texts.index(text) == duplicate
    shuffled = list(texts)
    shuffler.shuffle(shuffled)
    assert judged(shuffled, example).coverage == found.coverage


def test_only_the_first_of_its_kind_makes_a_duplicate() -> None:
    # An equality that is not transitive: "both" shares a meaning with "flu" and with "cold", which share none. "both"
    # repeats "flu", so it must not cost "cold" its hit.
    verifier = ScriptedVerifier({"both": frozenset({"flu", "cold"})})
    found = judged(["flu", "both", "cold"], asked("flu", "cold"), verifier)
    assert found.duplicates == (None, 0, None)
    assert found.hits == (1, 0, 1)


class Even:
    """Open: any even number is right; numbers are equal as integers. Depends on the question's divisor."""

    open = True

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor

    def same(self, a: str, b: str) -> bool:
        return int(a) == int(b)

    def matches(self, answer: str, reference: Reference) -> bool:
        return int(answer) % self.divisor == 0


class EvenAt:
    """The divisor is what the question holds as its reference."""

    def prepare(self, items: object) -> "EvenAt":
        raise AssertionError("judging one set prepares nothing")

    def at(self, example: Example) -> Even:
        return Even(int(example.references[0].text))


def test_where_right_answers_are_without_number_every_new_right_one_counts() -> None:
    # 4, 6 and 10 are even and new; 06 repeats 6 and 3 is odd. One reference only, yet three hits; N counts as K = 5.
    judgement = judged(["4", "6", "06", "3", "10"], asked("2"), EvenAt())
    assert judgement.verdicts == (CORRECT, CORRECT, CORRECT, WRONG, CORRECT)
    assert judgement.hits == (1, 1, 0, 0, 1)
    assert judgement.duplicates == (None, None, 1, None, None)
    assert (judgement.coverage, judgement.n_references) == (3, 5)
    assert judged(["4", "6"], asked("3"), EvenAt()).hits == (0, 1)
    assert judged(["x"], asked("2"), EvenAt()).verdicts == (UNSCORED,)


class Open(ScriptedVerifier):
    """Scripted, and open: a text is right when the reference lists it, whatever it is equal to."""

    open = True

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer in reference.names


def test_a_right_answer_of_an_open_verifier_repeats_only_an_earlier_right_one() -> None:
    # "f" fails for want of an import that "import f" has; without their imports the two programs are the same.
    verifier = Open({"import f": "f", "import f #": "f"})
    example = asked(("import f", "import f #"))
    wrong_first = judged(["f", "import f"], example, verifier)
    assert (wrong_first.verdicts, wrong_first.hits) == ((WRONG, CORRECT), (0, 1))
    assert wrong_first.duplicates == (None, None)
    right_first = judged(["import f", "f"], example, verifier)
    assert (right_first.verdicts, right_first.hits) == ((CORRECT, WRONG), (1, 0))
    assert right_first.duplicates == (None, 0)
    # The second right one is a repeat of the first right one, although a wrong one came before both; a wrong answer
    # repeats the earliest equal answer, right or wrong, so that copies of one wrong program stay one program.
    three = judged(["f", "import f", "import f #", "f"], example, verifier)
    assert (three.hits, three.duplicates) == ((0, 1, 0, 0), (None, None, 1, 0))


def test_a_verifier_that_is_not_open_compares_right_answers_with_wrong_ones() -> None:
    class Closed(Open):
        open = False

    found = judged(["f", "import f"], asked("import f"), Closed({"import f": "f"}))
    assert (found.hits, found.duplicates) == ((0, 0), (None, 0))


@pytest.mark.parametrize("value", [None, "no", 0.0, [True]])
def test_a_verifier_that_returns_no_verdict_leaves_the_answer_unscored(value: object) -> None:
    class Forgetful:
        def same(self, a: str, b: str) -> bool:
            return a == b

        def matches(self, answer: str, reference: Reference) -> bool:
            return value  # type: ignore[return-value]

    answers = parse_answers("<answer>flu</answer>", 1, confidence=False)
    judgement = judge(Example("q", "", (Reference("flu"),)), answers, Forgetful())
    assert judgement.verdicts == (Verdict.UNSCORED,)
    assert "same or matches returned" in judgement.faults[0] and "return True or False" in judgement.faults[0]
