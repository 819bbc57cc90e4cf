"""What is evaluated, written and read again is the same, without any verifier."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode import runs
from polymode.errors import VerifierFault
from polymode.evaluation import Evaluation, compare, evaluate, read_completions
from polymode.sandbox import ProgramTests
from polymode.types import Completion, Example, Reference
from polymode.uncertainty import Statistic, SumStatistic
from polymode.verifiers.programs import ProgramVerifier
from polymode.verifiers.scripted import ScriptedVerifier

POSTERIOR = {"flu": 0.6, "cold": 0.3, "gout": 0.1}
EXAMPLES = (
    Example("a", "A?", (Reference("flu", ("influenza",)), Reference("cold"))),
    Example("b", "B?", (Reference("flu"),), distribution=POSTERIOR, p_correct=POSTERIOR, exclusive=True),
    Example("c", "C?", (Reference("gout"), Reference("cold")), p_correct=POSTERIOR),
)


def completion(example: Example, sample: int, *answers: tuple[str, float]) -> Completion:
    slots = "".join(
        f"<answer{i}>{text}</answer{i}><confidence{i}>{q}</confidence{i}>" for i, (text, q) in enumerate(answers, 1)
    )
    text = slots if len(answers) > 1 else slots.replace("1>", ">")
    return Completion(example, f"<think>{sample}</think>{text}", max(len(answers), 1), True, sample, 10 + sample)


def sets() -> list[Completion]:
    broken = replace(completion(EXAMPLES[1], 1, ("flu", 0.5), ("cold", 0.2)), text="nothing", n_tokens=None)
    return [
        completion(EXAMPLES[0], 0, ("Influenza", 0.9), ("flu", 0.3)),
        completion(EXAMPLES[0], 1, ("mumps", 0.4), ("cold", 0.3)),
        completion(EXAMPLES[1], 0, ("cold", 0.7), ("The flu", 0.2)),
        broken,
        completion(EXAMPLES[2], 0, ("x", 0.1), ("gout", 0.35)),
    ]


def singles() -> list[Completion]:
    given = ("flu", "The Flu", "cold", "mumps", "gout", "gout", "cold")
    return [completion(e, i, (text, 0.1 * (i + 1))) for e in EXAMPLES for i, text in enumerate(given)]


def same_statistic(a: Statistic, b: Statistic) -> bool:
    if isinstance(a, SumStatistic) and isinstance(b, SumStatistic):
        return a.n == b.n and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a.sums, b.sums, strict=True))
    return type(a) is type(b)


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (sets, {}),
        (sets, {"verifier": ScriptedVerifier({"mumps": VerifierFault("no idea")})}),
        (sets, {"verifier": ScriptedVerifier({"x": "gout", "The flu": "flu"})}),
        (singles, {"pooled": True, "k": 3}),
        (singles, {"pooled": True, "k": 2, "confidence_from": "votes"}),
        (singles, {"pooled": True, "k": 3, "verifier": ScriptedVerifier({"mumps": VerifierFault("no idea")})}),
    ],
)
def test_an_evaluation_comes_back(tmp_path: Path, make: Callable[[], list[Completion]], how: dict[str, Any]) -> None:
    evaluation = evaluate(make(), n_boot=20, **how)
    evaluation.write(tmp_path)
    (tmp_path / runs.COMPLETIONS).write_text("nobody needs it")
    again = Evaluation.read(tmp_path)
    assert again.view == evaluation.view and again.question_ids == evaluation.question_ids
    assert again.judged == evaluation.judged
    assert repr(again.metrics) == repr(evaluation.metrics) and repr(again.curves) == repr(evaluation.curves)
    assert again.statistics.keys() == evaluation.statistics.keys()
    assert [n for n, one in evaluation.statistics.items() if not same_statistic(one, again.statistics[n])] == []
    difference = compare(again, evaluation, n_boot=20)
    defined = [estimate for estimate in difference.values() if not math.isnan(estimate.value)]
    assert defined and all(estimate.value == 0 for estimate in defined)
    # Three questions without a difference do not exclude one elsewhere.
    assert not any(estimate.low > 0 or estimate.high < 0 for estimate in defined)
    assert json.loads((tmp_path / runs.METRICS).read_text())["view"]["verifier"] == evaluation.view["verifier"]


class Crashes:
    """A verifier of somebody else that raises about some texts, wherever it is asked."""

    def key(self, text: str) -> str:
        if text in ("mumps", "cold"):
            raise ZeroDivisionError(text)
        return text.lower()

    def same(self, a: str, b: str) -> bool:
        return self.key(a) == self.key(b)

    def matches(self, answer: str, reference: Reference) -> bool:
        return any(self.same(answer, name) for name in reference.names)


def test_a_verifier_that_raises_is_a_fault_with_and_without_probabilities(tmp_path: Path) -> None:
    evaluation = evaluate(sets(), verifier=Crashes(), n_boot=0)
    assert {one.id for one in evaluation.judged if not one.is_scored} == {"a", "b", "c"}
    [first, *_] = (one for one in evaluation.judged if one.faults)
    assert "ZeroDivisionError" in first.faults[0]
    evaluation.write(tmp_path)
    assert Evaluation.read(tmp_path).view["n_unscored"] == evaluation.view["n_unscored"] > 0


def test_programs_keep_both_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = ProgramTests.from_json('{"asserts": ["assert f(3) > 8"], "inputs": ["f(-2)"]}')
    example = Example("sq", "Square?", (Reference(tests.to_json()),))
    programs = ("def f(n): return n * n", "def f(n): return n ** 2", "def f(n): return 10")
    texts = [(programs[0], programs[1]), (programs[1], programs[2])]
    completions = [completion(example, i, *((text, 0.5) for text in pair)) for i, pair in enumerate(texts)]
    runs.write_completions(tmp_path, completions)
    verifier = ProgramVerifier(distinct="behaviour", workers=1, unsafe_local=True)
    evaluation = evaluate(read_completions(tmp_path), verifier=verifier, n_boot=0)
    # By behaviour n * n and n ** 2 are one program, by syntax trees two.
    assert [one.distinct for one in evaluation.judged] == [{"ast": 2, "behaviour": 1}, {"ast": 2, "behaviour": 2}]
    assert evaluation.view["verifier"] == {"name": "programs", "options": {"distinct": "behaviour"}}
    evaluation.write(tmp_path)
    monkeypatch.setattr(ProgramVerifier, "at", None)  # nothing is judged again
    again = Evaluation.read(tmp_path)
    for name, value in (("coverage", 1.5), ("distinct_by_ast", 2.0), ("distinct_by_behaviour", 1.5)):
        assert again.metrics[name].value == value
        statistic = again.statistics[name]
        assert isinstance(statistic, SumStatistic)
        assert float(statistic.finish(*(part.sum() for part in statistic.sums))) == value
