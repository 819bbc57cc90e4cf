"""The one reward function, on hand-worked batches."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from polymode.errors import RecordError
from polymode.rewards import METHODS
from polymode.training.reward import make_reward_function
from polymode.types import Example, Reference
from polymode.verifiers.text import TextVerifier


def answers(*slots: tuple[str, str]) -> str:
    """A clean completion of (answer, confidence) slots."""
    return "<think> hm </think>" + "".join(
        f"<answer{i}>{text}</answer{i}><confidence{i}>{q}</confidence{i}>" for i, (text, q) in enumerate(slots, 1)
    )


class Log:
    """Records what a reward function hands to TRL."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}
        self.metrics: dict[str, list[float]] = defaultdict(list)

    def extra(self, name: str, values: list[Any]) -> None:
        assert name not in self.columns
        self.columns[name] = values

    def metric(self, name: str, value: float) -> None:
        self.metrics[name].append(value)


BATCH = [
    answers(("Tea", "0.9"), ("milk", "0.5"), ("the tea", "0.1")),
    answers(("water", "1"), ("juice", "0"), ("cocoa", "0.6")),
    "no answers at all",
]
REFERENCES = ["tea", ["cocoa", "hot chocolate"]]


def test_totals_terms_and_metrics_of_a_batch() -> None:
    log = Log()
    reward = make_reward_function(METHODS["multi-rlcr"], 3)
    totals = reward(BATCH, [REFERENCES] * 3, log_extra=log.extra, log_metric=log.metric)
    # Row 1: tea is a hit, milk wrong, the tea repeats it: y = 1, 0, 0.
    #   Brier term -((0.9-1)² + (0.5-0)² + (0.1-0)²)/3 = -0.27/3 = -0.09;  1 - 0.09 + 1 = 1.91
    # Row 2: y = 0, 0, 1 with q = 1, 0, 0.6: -(1 + 0 + 0.16)/3 = -1.16/3;  1 - 1.16/3 + 1
    # Row 3: malformed, 0.
    assert totals == pytest.approx([1.91, 2 - 1.16 / 3, 0])
    assert log.columns["term_coverage"] == [1, 1, 0]
    assert log.columns["term_brier"] == pytest.approx([-0.09, -1.16 / 3, 0])
    assert log.columns["term_format"] == [1, 1, 0]
    assert log.columns["status"] == ["clean", "clean", "malformed"]
    assert log.columns["verdicts"] == ["correct wrong repeated", "wrong wrong correct", ""]
    assert log.columns["reason"][:2] == ["", ""] and log.columns["reason"][2]
    found = {name: value for name, [value] in log.metrics.items()}
    # Over the six answers of the two clean rows: one repeat, two hits, confidences summing to 3.1.
    spread = math.sqrt((0.9**2 + 0.5**2 + 0.1**2 + 1 + 0 + 0.6**2) / 6 - (3.1 / 6) ** 2)
    assert found == pytest.approx(
        {
            "share_clean": 2 / 3,
            "share_malformed": 1 / 3,
            "share_truncated": 0,
            "share_unscored": 0,
            "coverage": 2 / 3,
            "share_duplicate": 1 / 6,
            "brier": (0.27 + 1.16) / 6,
            "mean_confidence": 3.1 / 6,
            "hit_rate": 2 / 6,
            "confidence_spread": spread,
        }
    )


def test_the_preset_decides_the_terms() -> None:
    released = make_reward_function(METHODS["multi-rlcr"], 3, preset="released")
    # Row 2: any right 0.5; confidences sum to 1.6, above 1, so no Brier term; format 0.5.
    assert released(BATCH[1:2], [REFERENCES]) == [1.0]


def test_conversations_and_plain_texts_give_the_same() -> None:
    reward = make_reward_function(METHODS["multi-rlcr"], 3)
    chats = [[{"role": "assistant", "content": text}] for text in BATCH]
    assert reward(chats, [REFERENCES] * 3) == reward(BATCH, [REFERENCES] * 3)


class Failing(TextVerifier):
    """Text equality that cannot decide about milk."""

    def key(self, text: str) -> str:
        if text == "milk":
            raise TimeoutError("judge did not answer")
        return super().key(text)

    def matches(self, answer: str, reference: Reference) -> bool:
        return self.key(answer) in {self.key(name) for name in reference.names}


def test_a_verifier_fault_is_no_reward_and_counted() -> None:
    log = Log()
    reward = make_reward_function(METHODS["multi-rlcr"], 3, verifier=Failing())
    totals = reward(BATCH[:2], [REFERENCES] * 2, log_extra=log.extra, log_metric=log.metric)
    assert totals[0] is None and totals[1] == pytest.approx(2 - 1.16 / 3)
    assert (
        log.columns["verdicts"] == ["correct unscored wrong", "wrong wrong correct"]
        or log.columns["verdicts"][0].split()[1] == "unscored"
    )
    assert log.columns["term_coverage"] == [None, 1]
    assert log.metrics["share_unscored"] == [0.5]
    assert log.metrics["coverage"] == [1]  # of the scored row alone


def test_only_finite_metrics_and_always_the_same_columns() -> None:
    reward = make_reward_function(METHODS["multi-rlcr"], 3, verifier=Failing())
    for batch in (BATCH[:1], BATCH[2:], BATCH):  # nothing scored; nothing clean; some of each
        log = Log()
        reward(batch, [REFERENCES] * len(batch), log_extra=log.extra, log_metric=log.metric)
        assert all(math.isfinite(value) for [value] in log.metrics.values())
        assert sorted(log.columns) == [
            "reason", "status", "term_brier", "term_coverage", "term_format", "verdicts",
        ]  # fmt: skip
        assert all(len(values) == len(batch) for values in log.columns.values())
    nothing_clean = Log()
    reward(BATCH[2:], [REFERENCES], log_metric=nothing_clean.metric)
    assert "brier" not in nothing_clean.metrics and nothing_clean.metrics["coverage"] == [0]


def test_without_confidences_there_is_no_calibration() -> None:
    log = Log()
    make_reward_function(METHODS["single-rlvr"], 1)(["<answer>tea</answer>"], ["tea"], log_metric=log.metric)
    assert log.metrics["coverage"] == [1]
    assert not {"brier", "mean_confidence", "hit_rate", "confidence_spread"} & set(log.metrics)


@pytest.mark.parametrize(
    "references",
    ["tea", ["tea"], [["tea", "chai"]], '["tea"]', '[["chai", "tea"]]', '"tea"', {"text": "tea"}, '{"text": "tea"}'],
)
def test_references_as_people_write_them(references: Any) -> None:
    reward = make_reward_function(METHODS["single-rlvr"], 1)
    # A bare string is one reference, not the letters t, e and a.
    assert reward(["<answer>tea</answer>", "<answer>t</answer>"], [references] * 2) == [2, 1]


@pytest.mark.parametrize("references", ["42", 42, "true", "[1, 2"])
def test_a_text_that_happens_to_be_json_is_its_own_answer(references: Any) -> None:
    reward = make_reward_function(METHODS["single-rlvr"], 1)
    text = references if isinstance(references, str) else json.dumps(references)
    assert reward([f"<answer>{text}</answer>"], [references]) == [2]


@pytest.mark.parametrize("references", [["tea", "Tea"], [3], [[]], [[["tea"]]], True, {"tea"}, "['tea' 'chai']"])
def test_references_that_cannot_be_used_are_refused(references: Any) -> None:
    with pytest.raises(RecordError, match="references, row 1: ") as caught:
        make_reward_function(METHODS["single-rlvr"], 1)(["<answer>tea</answer>"] * 2, [["tea"], references])
    assert "\n" not in str(caught.value)


def test_cut_off_at_the_limit_is_truncated_and_ended_early_is_malformed() -> None:
    log = Log()
    reward = make_reward_function(METHODS["multi-rlcr"], 3, max_completion_length=5)
    clean = answers(("tea", "1"), ("milk", "0"), ("cider", "0"))
    totals = reward(
        ["<answer1>te", "<answer1>te", clean],
        ["tea"] * 3,
        completion_ids=[[7] * 5, [7] * 4, [7] * 5],
        log_extra=log.extra,
    )
    assert log.columns["status"] == ["truncated", "malformed", "clean"]  # a whole set is clean, however long
    assert totals == [0, 0, 2]


def test_k_of_each_row() -> None:
    reward = make_reward_function(METHODS["multi-rlcr"], 3)
    two = answers(("tea", "1"), ("milk", "0"))
    assert reward([two, two], ["tea", "tea"], k=[2, 3]) == [2, 0]
    single = make_reward_function(METHODS["single-rlvr"], 3)
    assert single(["<answer>tea</answer>"], ["tea"], k=[2]) == [2]


def test_trl_sees_the_name() -> None:
    assert make_reward_function(METHODS["multi-rlcr"], 3, name="mine").__name__ == "mine"


class AsksTheQuestion:
    """A question verifier: an answer is right when the question names it."""

    def __init__(self) -> None:
        self.prepared: list[tuple[str, list[str]]] = []

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> "AsksTheQuestion":
        self.prepared += [(example.question, list(texts)) for example, texts in items]
        return self

    def at(self, example: Example) -> "Names":
        return Names(example.question)


class Names:
    def __init__(self, question: str) -> None:
        self.question = question

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer in self.question


def test_a_verifier_that_reads_the_question_sees_the_whole_batch_first() -> None:
    verifier = AsksTheQuestion()
    reward = make_reward_function(METHODS["multi-rlvr"], 2, verifier=verifier)
    batch = ["<answer1>tea</answer1><answer2>milk</answer2>"] * 2
    totals = reward(batch, references=['["x"]'] * 2, question=["milk or tea?", "water?"])
    assert verifier.prepared == [("milk or tea?", ["tea", "milk"]), ("water?", ["tea", "milk"])]
    # Format 1 each; the one reference is found in the first question (both answers match it, one counts).
    assert totals == [2.0, 1.0]


def test_tokens_say_what_a_text_leaves_out() -> None:
    """TRL's texts leave special tokens out, so a draft would be a clean answer; the tokens show that it is one."""
    written = {1: "<think><answer>milk</answer></think><answer>tea</answer>", 2: "<think><answer>tea</answer>"}
    reward = make_reward_function(METHODS["single-rlvr"], 1, text_of=lambda ids: written[ids[0]])
    shown = ["<answer>milk</answer><answer>tea</answer>", "<answer>tea</answer>"]
    assert reward(shown, ["tea"] * 2, completion_ids=[[1], [2]]) == [2, 0]
    assert make_reward_function(METHODS["single-rlvr"], 1)(shown, ["tea"] * 2, completion_ids=[[1], [2]]) == [0, 2]


def test_what_the_prompt_of_a_row_opened_counts_in_stock_trl() -> None:
    reward = make_reward_function(METHODS["single-rlvr"], 1)
    draft, answer = "<answer>tea</answer>", "so</think><answer>tea</answer>"
    chat = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think>"}]
    for prompt in ("Q<think>\n", chat):
        assert reward([draft, answer], ["tea"] * 2, prompts=[prompt] * 2) == [0, 2]
    assert reward([draft, answer], ["tea"] * 2, prompts=["Q", "Q"]) == [2, 2]
