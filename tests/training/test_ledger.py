"""The ledger between reward and trainer: one batch, taken once, by whom it belongs to."""

import pytest

from polymode.rewards import METHODS
from polymode.training.reward import ScoreLedger, make_reward_function

TEXTS = ["<answer>tea</answer>", "<think> milk </think>\n<answer>milk</answer>"]


def recorded(texts: list[str]) -> ScoreLedger:
    ledger = ScoreLedger()
    make_reward_function(METHODS["single-rlvr"], 1, ledger=ledger)(texts, ["tea"] * len(texts))
    return ledger


def test_a_batch_is_taken_once() -> None:
    ledger = recorded(TEXTS)
    batch = ledger.take(TEXTS)
    assert [scored.text for scored in batch] == TEXTS
    assert [scored.score.terms["coverage"] for scored in batch] == [1, 0]
    with pytest.raises(RuntimeError, match="no batch was scored since the last one"):
        ledger.take(TEXTS)


def test_a_text_may_begin_with_what_its_prompt_opened() -> None:
    assert len(recorded(TEXTS).take([TEXTS[0], TEXTS[1].removeprefix("<think>")])) == 2


@pytest.mark.parametrize(
    ("decoded", "message"),
    [
        (TEXTS[:1], "2 completions were scored, 1 are to be credited"),
        ([TEXTS[0], "nothing"], "are not those that are to be credited"),
    ],
)
def test_another_batch_is_refused(decoded: list[str], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        recorded(TEXTS).take(decoded)
