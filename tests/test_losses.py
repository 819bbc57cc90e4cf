"""Why completions were lost: every departure that the parser names has a kind and a fix; the commonest come first."""

from __future__ import annotations

import pytest

from polymode.evaluation.losses import COMMONEST, Losses, loss_of
from polymode.parsing import parse_answers
from polymode.runs import JudgedCompletion

PAIR = "<answer1>a</answer1><confidence1>0.5</confidence1><answer2>b</answer2><confidence2>0.5</confidence2>"


def judged(
    text: str, k: int = 2, *, confidence: bool = True, finished: bool = True, sample: int = 0
) -> JudgedCompletion:
    found = parse_answers(text, k, confidence=confidence, finished=finished, salvage=True)
    answers = tuple(answer.text for answer in found.answers)
    return JudgedCompletion(
        id="q",
        sample=sample,
        status=found.status.value,
        reason=found.reason,
        answers=answers,
        verdicts=("wrong",) * len(answers),
    )


@pytest.mark.parametrize(
    ("one", "name", "fix"),
    [
        (judged(PAIR[:40], finished=False), "cut off before", "--max-tokens"),
        (judged(f"<think>{PAIR}"), "never closed", '"finished": false'),
        (judged(f"Here they are: {PAIR}"), "before or between the slots", "nothing but the slots"),
        (judged(f"```\n{PAIR}\n```"), "before or between the slots", "nothing but the slots"),
        (judged(f"{PAIR} Good luck!"), "after the last slot", "nothing but the slots"),
        (judged(PAIR.replace("0.5", "85%")), "no plain decimal", "the answers count"),
        (judged(PAIR.replace("0.5", "")), "no plain decimal", "the answers count"),
        (judged(PAIR.replace("0.5", "0." + "3" * 40)), "no plain decimal", "the answers count"),
        (judged("<answer1>a</answer1><answer2>b</answer2>"), "without a confidence", "--confidence no"),
        (judged(PAIR, confidence=False), "none were asked for", "--confidence yes"),
        (judged(PAIR, 1), "other numbers", "--k"),
        (judged(PAIR, 3), "fewer answers than k", "--k"),
        (judged(PAIR + "<answer3>c</answer3>"), "more slots than k", "--k"),
        (judged(PAIR.replace("a</", "</")), "an empty answer", "every slot"),
        (judged(PAIR.replace("a</", f"{'a' * 20_001}</")), "too long", "inside its tags"),
        (judged(PAIR.replace("</answer1>", "")), "not closed", "close every tag"),
        (judged(PAIR + "<analysis>"), "not closed", "close every tag"),
        (judged(f"reasoning: <confidence1> is odd {PAIR}"), "before or between the slots", "nothing but the slots"),
        (judged("x" * 8_000_001), "longer than what is read", "--max-tokens"),
        (judged("The answer is tea."), "no slot that can be read", "polymode warmup"),
        (judged("The answer is tea.", 1, confidence=False), "no slot that can be read", "--style full"),
        (judged("<think>tea</think> **tea**"), "no slot that can be read", "polymode warmup"),
        (judged(""), "no slot that can be read", "--style full"),
        (judged("", 1), "no slot that can be read", "--style full"),
    ],
)
def test_every_departure_has_a_kind_and_a_fix(one: JudgedCompletion, name: str, fix: str) -> None:
    loss = loss_of(one)
    assert loss is not None
    assert name in loss.name
    assert fix in loss.fix
    assert ("the slots are read all the same" in loss.fix) <= (one.status == "partial")


def test_the_commonest_are_told_with_their_count_an_example_and_the_fix() -> None:
    lines = [
        judged(PAIR),
        *(judged(f"So: {PAIR}", sample=i) for i in (1, 2, 3)),
        *(judged(PAIR.replace("0.5", odd), sample=i) for i, odd in enumerate(("85%", "high"), 4)),
        judged(PAIR[:40], finished=False, sample=6),
        judged("", sample=7),
    ]
    told = Losses.of(lines).describe().splitlines()
    assert told[0] == "not in the asked format: 7 of 8 completions, most of them for"
    assert len(told) == 1 + COMMONEST
    assert told[1] == (
        "  text before or between the slots (a preface, a code fence): 3 partial, first id 'q' sample 1 (slot 1: text "
        "outside the tags: 'So:'); ask for nothing but the slots after </think>; the slots are read all the same"
    )
    assert told[2].startswith("  a confidence that is no plain decimal from 0 to 1: 2 partial, first id 'q' sample 4 (")
    assert told[3].startswith("  cut off before the answers were complete: 1 truncated, first id 'q' sample 6 (")


def test_of_clean_completions_there_is_nothing_to_tell() -> None:
    assert loss_of(judged(PAIR)) is None
    assert Losses.of([judged(PAIR)]).describe() == Losses.of([]).describe() == ""
