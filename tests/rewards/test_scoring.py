"""The core of every reward: one completion and a batch score alike, refuse alike, and cross processes."""

import math
import pickle
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode import Example, Reference, Reward, Shaping, open_task, reward_of, rewards_of
from polymode.credit import centred_by_group, group_advantages
from polymode.errors import ConfigError, RecordError, UserError
from polymode.integrations import trl
from polymode.pass_at_k import pass_at_k_values
from polymode.types import Verdict
from polymode.verifiers.scripted import ScriptedVerifier
from polymode.verifiers.text import TextVerifier

steady = settings(derandomize=True)


def text(*slots: tuple[str, float]) -> str:
    return "".join(
        f"<answer{i}>{answer}</answer{i}><confidence{i}>{q}</confidence{i}>" for i, (answer, q) in enumerate(slots, 1)
    )


TEXTS = [text(("flu", 0.5), ("cold", 0)), text(("cold", 1), ("Cold", 0.5)), "malformed", text(("x", 0), ("y", 0))]
COLUMN = [["flu", ["cold", "catarrh"]], '["flu"]', "flu", []]


def test_a_batch_scores_as_its_completions_do() -> None:
    batch = rewards_of(TEXTS, COLUMN, k=2)
    assert batch == [reward_of(one, references, k=2) for one, references in zip(TEXTS, COLUMN, strict=True)]
    # Two found, (0.25 + 1)/2 off; none found, (1 + 0.25)/2 off; malformed; nothing is right and nothing is claimed.
    assert [score.total for score in batch] == [2 - 0.625 + 1, 1 - 0.625, 0, 1]
    assert all(score.total == sum(score.terms.values()) for score in batch)


@pytest.mark.parametrize(
    "references",
    [
        *(None, math.nan, np.float64("nan"), pd.NA, pd.NaT, "null", "None", "nan", "<NA>", "", " ", [None], [""]),
        *([["flu", None]], [["flu", ""]], [3], [["flu", True]], [["flu"], "Flu"], ["['a', 'b']"], True, {"flu"}),
        *(b"flu", {"name": "flu"}, [{"text": ["flu"]}], [[["flu"]]], [{"text": "flu", "weight": 2}], 3j),
    ],
    ids=repr,
)
def test_references_are_refused_with_the_same_words_everywhere(references: Any) -> None:
    with pytest.raises(RecordError) as of_one:
        reward_of(TEXTS[0], references, k=2)
    with pytest.raises(RecordError) as of_batch:
        rewards_of(TEXTS[:2], ["flu", references], k=2)
    with pytest.raises(RecordError) as of_trl:
        trl.multi_rlcr(TEXTS[:2], ["flu", references], k=[2, 2])
    words = str(of_one.value).removeprefix("references: ")
    assert "\n" not in words
    assert str(of_batch.value) == str(of_trl.value) == f"references, row 1: {words}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": True}, "k = True is not allowed|k, row|k = True"),
        ({"k": 0}, "k = 0 is not allowed"),
        ({"k": 2.5}, "2.5"),
        ({"method": "grpo"}, "method = 'grpo' is not known"),
        ({"preset": "best"}, "preset = 'best' is not known"),
        ({"verifier": "maths"}, "verifier = 'maths' is not known"),
        ({"reward": Reward(coverage_weight=0.1)}, "raise coverage_weight to at least 0.5"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    options = {"k": 2, **options}
    for call in (partial(reward_of, TEXTS[0], "flu"), partial(rewards_of, TEXTS[:1], ["flu"])):
        with pytest.raises(UserError, match=message) as caught:
            call(**options)
        assert "\n" not in str(caught.value)


def test_one_target_or_another() -> None:
    votes = [{"text": "flu", "weight": 0.75}, {"text": "cold", "weight": 0.25}]
    soft = reward_of(text(("flu", 0.75), ("cold", 0.25)), votes, k=2, target="distribution")
    assert soft.terms["brier"] == 0
    shares = {"flu": 0.5, "cold": 0.5}
    own = reward_of(text(("flu", 0.5), ("cold", 0.5)), ["flu", "cold"], k=2, target="distribution", distribution=shares)
    assert own.terms["brier"] == 0
    batch = rewards_of(
        [text(("flu", 0.5), ("cold", 0.5))] * 2,
        [["flu", "cold"]] * 2,
        k=2,
        target=["distribution", "verdict"],
        distribution=[shares, None],
    )
    assert [score.terms["brier"] for score in batch] == [0, -0.25]
    question = Example("a", "?", (Reference("flu", weight=1.0),), target="distribution")
    assert reward_of(text(("flu", 1), ("x", 0)), question, k=2).judgement.soft_labels == (1, 0)
    assert reward_of(text(("flu", 1), ("x", 0)), question, k=2, target="verdict").judgement.soft_labels is None
    with pytest.raises(ConfigError, match="target = 'votes' is not known"):
        reward_of(TEXTS[0], "flu", k=2, target="votes")  # pyright: ignore[reportArgumentType]


class Asked:
    """Reads the question; counts how often slow work was asked for."""

    def __init__(self) -> None:
        self.prepared: list[list[Sequence[str]]] = []

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> "Asked":
        self.prepared.append([answers for _, answers in items])
        return self

    def at(self, example: Example) -> "Asked":
        self.question = example.question
        return self

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer == self.question


def test_a_verifier_that_reads_the_question_works_on_the_whole_batch_at_once() -> None:
    verifier = Asked()
    one = reward_of(text(("a", 1), ("b", 0)), "unused", k=2, verifier=verifier, question="b")
    assert one.judgement.verdicts == (Verdict.WRONG, Verdict.CORRECT)
    both = rewards_of([text(("a", 1), ("b", 0))] * 2, ["unused"] * 2, k=2, verifier=verifier, question=["a", "b"])
    assert [score.judgement.hits for score in both] == [(1, 0), (0, 1)]
    assert verifier.prepared == [[["a", "b"]], [["a", "b"], ["a", "b"]]]


def test_a_tasks_own_questions_and_verifier() -> None:
    task = open_task("clinic-diagnosis")
    examples = task.examples("test", 3)
    equality = task.verifier() if hasattr(task, "verifier") else TextVerifier()  # type: ignore[attr-defined]
    right = [text((example.references[0].text, 1), ("nothing of the kind", 0)) for example in examples]
    batch = rewards_of(right, examples, k=2, verifier=equality)
    assert [score.total for score in batch] == [2, 2, 2]
    assert [
        reward_of(one, question, k=2, verifier=equality) for one, question in zip(right, examples, strict=True)
    ] == (batch)


def test_what_a_verifier_cannot_judge_has_no_total() -> None:
    verifier = ScriptedVerifier({"cold": TimeoutError("too slow")})
    score = reward_of(TEXTS[0], ["flu"], k=2, verifier=verifier)
    assert (score.total, dict(score.terms)) == (None, {})
    assert score.judgement.faults == ("answer 2: TimeoutError: too slow",)


def test_arguments_and_results_cross_processes() -> None:
    work = partial(reward_of, references=["flu", ["cold", "catarrh"]], k=2, verifier=TextVerifier())
    expected = [work(one) for one in TEXTS]
    assert pickle.loads(pickle.dumps(expected)) == expected
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(work, TEXTS)) == expected


@steady
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(TEXTS)), min_size=1, max_size=12))
def test_groups_may_come_in_any_order(rows: list[tuple[str, str]]) -> None:
    groups, texts = [group for group, _ in rows], [re.sub("<confidence.*?</confidence.>", "", one) for _, one in rows]
    shaping = Shaping(objective="pass@k", objective_k=2, exploration="batch", exploration_weight=0.25)
    options = {"k": 2, "method": "multi-rlvr", "shaping": shaping}
    scores = rewards_of(texts, [["flu"]] * len(rows), groups=groups, **options)  # type: ignore[arg-type]
    for group in set(groups):
        own = [row for row, name in enumerate(groups) if name == group]
        alone = rewards_of([texts[i] for i in own], [["flu"]] * len(own), groups=[0] * len(own), **options)  # type: ignore[arg-type]
        assert [scores[i] for i in own] == alone
        right = ["flu" in texts[i] for i in own]
        assert [score.terms["coverage"] for score in alone] == pytest.approx(pass_at_k_values(right, 2))
        advantages = centred_by_group([score.total for score in scores], groups)
        assert advantages[own] == pytest.approx(group_advantages([score.total for score in alone]))


def test_shaping_needs_to_know_the_groups() -> None:
    shaping = Shaping(objective="pass@k")
    with pytest.raises(ConfigError, match="groups is missing"):
        rewards_of(TEXTS[:1], ["flu"], k=2, method="multi-rlvr", shaping=shaping)
    with pytest.raises(RecordError, match="groups has 2 entries for 1 completions"):
        rewards_of(TEXTS[:1], ["flu"], k=2, method="multi-rlvr", shaping=shaping, groups=["a", "b"])
    with pytest.raises(ConfigError, match="'pass@k' with method = 'multi-rlcr': .* junk with confidence 0"):
        rewards_of(TEXTS[:1], ["flu"], k=2, shaping=shaping, groups=["a"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"objective": "pass@K"}, "objective = 'pass@K' is not known"),
        ({"exploration": "often"}, "exploration = 'often' is not known"),
        ({"objective_k": 0}, "objective_k = 0"),
        ({"exploration_weight": -1}, "exploration_weight = -1"),
    ],
)
def test_shaping_that_is_not_known_is_refused(options: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Shaping(**options)


def test_scalars_of_numpy_count_as_numbers() -> None:
    scores = rewards_of(TEXTS[:2], ["flu", "flu"], k=np.int64(2), finished=np.bool_(True))  # type: ignore[arg-type]
    assert scores == rewards_of(TEXTS[:2], ["flu", "flu"], k=2)


def test_advantages_by_group() -> None:
    # Group a: 1 and 4, mean 2.5; b: 0 alone among the scored.
    assert centred_by_group([1, 0, 4, None], list("abab")).tolist() == [-1.5, 0, 1.5, 0]
    # Scores 1, 0, 4: their deviation is the square root of ((2/3)² + (5/3)² + (7/3)²)/2 = 39/9.
    expected = np.array([-1.5, 0, 1.5, 0]) / ((39 / 9) ** 0.5 + 1e-4)
    assert centred_by_group([1, 0, 4, None], list("abab"), scale="batch") == pytest.approx(expected)
    with pytest.raises(RecordError, match="groups: 1 for totals of shape"):
        centred_by_group([1, 2], ["a"])
    with pytest.raises(ConfigError, match="scale = 'group' is not known"):
        centred_by_group([1, 2], ["a", "a"], scale="group")


def test_the_former_name_still_works_and_says_so() -> None:
    import polymode

    with pytest.warns(FutureWarning, match="polymode.score is now polymode.reward_of"):
        score = polymode.score  # type: ignore[attr-defined]
    assert score(completion=TEXTS[0], references=["flu"], k=2) == reward_of(TEXTS[0], ["flu"], k=2)
