"""The ledger between reward and trainer: one batch, taken once, by whom it belongs to."""

import pytest

from polymode.rewards import METHODS
from polymode.training.reward import ScoreLedger, make_reward_function
from polymode.training.token_starts import reply_of

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


def test_a_template_may_rewrite_a_reply() -> None:
    rewritten = ["<answer>tea</answer>", " milk </think> <answer> milk </answer>"]
    assert len(recorded(TEXTS).take(rewritten)) == 2


@pytest.mark.parametrize(
    ("decoded", "message"),
    [
        (TEXTS[:1], "2 completions were scored, 1 are to be credited"),
        (["<answer>gin</answer>", "nothing"], "those that were scored|are not those that are to be credited"),
    ],
)
def test_another_batch_is_refused(decoded: list[str], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        recorded(TEXTS).take(decoded)


def test_the_reply_is_what_follows_the_reasoning() -> None:
    assert reply_of("<think> a </think>\n b ") == "b"
    assert reply_of(" b ") == "b"
