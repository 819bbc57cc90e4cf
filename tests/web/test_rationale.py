import pytest

from polymode.parsing import parse_answers
from polymode.web.answer_service import MAX_CHARS, rationale_in

SLOT = "<answer>{}</answer><confidence>0.5</confidence>"


def of(thought: str, answer: str = "flu") -> str | None:
    text = thought + SLOT.format(answer)
    answers = parse_answers(text, 1, confidence=True)
    assert answers.is_clean
    return rationale_in(text, answers.answers[0])


@pytest.mark.parametrize(
    ("thought", "found"),
    [
        ("<think> fever : flu ; so flu, cold </think>", "fever"),
        ("<think> fever : flu ; cough : cold ; aches : flu ; so flu </think>", "fever, aches"),
        ("<think>- fever: The Flu\n- rash: measles</think>", "fever"),  # equal after normalising
        ("<think> fever : flu ; fever : flu </think>", "fever"),
        ("<think> leo : mill ; mill : flu </think>", "mill"),
    ],
)
def test_findings_are_those_whose_clause_names_the_answer(thought: str, found: str) -> None:
    assert of(thought) == found


@pytest.mark.parametrize(
    "thought",
    [
        "",  # no reasoning
        "<think> so flu, cold </think>",
        "<think> The fever suggests flu. </think>",  # free text is not guessed at
        "<think> fever : influenza </think>",  # another text
        "<think> fever : flu : cold </think>",
        "<think> : flu </think>",
        "<think> fe\x1bver : flu </think>",
        f"<think> {'x' * (MAX_CHARS + 1)} : flu </think>",
    ],
)
def test_nothing_is_made_up(thought: str) -> None:
    assert of(thought) is None


def test_it_stays_short_and_whole() -> None:
    findings = [f"finding number {i}" for i in range(20)]
    said = of("<think>" + ";".join(f"{finding} : flu" for finding in findings) + "</think>")
    assert said is not None and len(said) <= MAX_CHARS
    assert said.split(", ") == findings[: said.count(",") + 1]
