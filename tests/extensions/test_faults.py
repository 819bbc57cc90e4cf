"""Whatever somebody else's verifier, term or score raises: unscored, counted, its text in the file, and no crash."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from polymode.cli import main
from polymode.errors import ConfigError
from polymode.evaluation import Evaluation, evaluate
from polymode.rewards import METHODS
from polymode.training.reward import make_reward_function
from polymode.types import Completion, Example, Reference
from polymode.verifiers import Verifier
from polymode.verifiers.choice import open_verifier
from polymode.verifiers.text import TextVerifier

TEXT = "<answer1>tea</answer1><confidence1>0.8</confidence1><answer2>{}</answer2><confidence2>0.4</confidence2>"
GOOD, BAD = TEXT.format("milk"), TEXT.format("boom")
HERE = __name__


@dataclass(frozen=True)
class Pairwise:
    """Fails on the text ``boom``."""

    def same(self, a: str, b: str) -> bool:
        if "boom" in (a, b):
            raise ZeroDivisionError("boom")
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        return self.same(answer, reference.text)


@dataclass(frozen=True)
class Keyed(Pairwise):
    def key(self, text: str) -> str:
        if text == "boom":
            raise ZeroDivisionError("boom")
        return text


@dataclass(frozen=True)
class Asking:
    """Depends on the question, and fails to prepare or to open one, or when it compares ``boom``."""

    fails: str = ""

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> "Asking":
        list(items)
        if self.fails == "prepare":
            raise OSError("no disk")
        return self

    def at(self, example: Example) -> Verifier:
        if self.fails == "at":
            raise LookupError("no such question")
        return Pairwise()


@dataclass
class Unhashable:
    """Equal to others by value, and not frozen."""

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer == reference.text


def failing_term(judgement: Any) -> float:
    raise RuntimeError("no\nterm")


def failing_score(q: float, y: float) -> float:
    raise RuntimeError("no score")


def wild_score(q: float, y: float) -> float:
    return 7.0


def failing_metric(table: Any) -> Any:
    raise RuntimeError("no metric")


def short_metric(table: Any) -> Any:
    return [1.0]


def coverage(table: Any) -> Any:
    return table.hits


def completions(*texts: str, **known: Any) -> list[Completion]:
    example = Example("q", "Name a drink.", (Reference("tea"), Reference("milk")), **known)
    return [Completion(example, text, 2, True, sample) for sample, text in enumerate(texts)]


KNOWN = ({}, {"p_correct": {"tea": 0.9, "milk": 0.5}}, {"p_correct": {"tea": 0.9, "boom": 0.5}, "exclusive": True})


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("verifier", [Pairwise(), Keyed(), Asking()])
def test_a_comparison_that_fails_leaves_its_completion_out(
    verifier: Any, known: dict[str, Any], tmp_path: Path
) -> None:
    evaluation = evaluate(completions(GOOD, BAD, **known), verifier=verifier, n_boot=20)
    good, bad = evaluation.judged
    assert (good.verdicts, bad.verdicts) == (("correct", "correct"), ("correct", "unscored"))
    assert bad.score is None and bad.faults == ("answer 2: ZeroDivisionError: boom",)
    assert evaluation.metrics["coverage"].value == 2 and evaluation.metrics["coverage"].n_unscored == 1
    evaluation.write(tmp_path)
    assert Evaluation.read(tmp_path).judged[1].faults == bad.faults


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize(
    ("fails", "fault"), [("prepare", "prepare failed: OSError: no disk"), ("at", "LookupError: no such question")]
)
def test_a_verifier_that_fails_on_everything_leaves_everything_out(
    fails: str, fault: str, known: dict[str, Any]
) -> None:
    evaluation = evaluate(completions(GOOD, GOOD, **known), verifier=Asking(fails), n_boot=20)
    assert evaluation.judged[0].faults == (f"answer 1: {fault}", f"answer 2: {fault}")
    assert evaluation.metrics["coverage"].n == 0 and evaluation.view["n_unscored"] == 2


@pytest.mark.parametrize("verifier", [Pairwise(), Keyed(), Asking()])
def test_pools_too(verifier: Any) -> None:
    single = [
        replace(one, k=1, text=f"<answer>{answer}</answer><confidence>0.5</confidence>")
        for one, answer in zip(completions(*[GOOD] * 4), ("tea", "boom", "tea", "milk"), strict=True)
    ]
    evaluation = evaluate(single, verifier=verifier, pooled=True, k=2, n_boot=0)
    assert evaluation.metrics["coverage"].value == 2  # of the second pool; the first is left out


@pytest.mark.parametrize("verifier", [Pairwise(), Keyed(), Asking()])
def test_training_gives_no_reward(verifier: Any) -> None:
    function = make_reward_function(METHODS["multi-rlcr"], 2, verifier=verifier)
    logged: dict[str, float] = {}
    references = [["tea", "milk"]] * 2
    rewards = function([GOOD, BAD], references, question=["?", "?"], log_metric=logged.__setitem__)
    assert rewards[0] is not None and rewards[1] is None
    assert logged["share_unscored"] == 0.5


def test_references_that_a_verifier_fails_on_stop_nothing() -> None:
    function = make_reward_function(METHODS["multi-rlcr"], 2, verifier=Pairwise())
    assert function([GOOD], [["boom", "milk"]]) == [None]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"terms": {f"{HERE}:failing_term": 0.5}, "format_weight": 2.0}, "term failing_term: RuntimeError: no term"),
        ({"confidence_score": f"{HERE}:failing_score"}, "term confidence_score: RuntimeError: no score"),
        (
            {"confidence_score": f"{HERE}:wild_score"},
            "term confidence_score: its mean loss is 7.0: return",
        ),
    ],
)
def test_a_term_or_score_that_fails_gives_no_reward(changes: dict[str, Any], fault: str) -> None:
    reward = replace(METHODS["multi-rlcr"].reward("paper"), **changes)
    evaluation = evaluate(completions(GOOD), reward=reward, n_boot=0)
    [one] = evaluation.judged
    assert one.score is None and one.faults[0].startswith(fault)
    assert one.verdicts == ("correct", "correct")  # what the verifier said stays
    assert make_reward_function(METHODS["multi-rlcr"], 2, reward=reward)([GOOD], [["tea", "milk"]]) == [None]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("failing_metric", f"metric '{HERE}:failing_metric' failed (RuntimeError: no metric): return one number for"),
        (
            "short_metric",
            f"metric '{HERE}:short_metric' failed (ValueError: values of shape (1,)): "
            "return one number for each of the 2 sets",
        ),
        ("coverage", f"metric '{HERE}:coverage': there is another metric 'coverage'; rename one"),
    ],
)
def test_a_metric_that_fails_is_one_line(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        evaluate(completions(GOOD, GOOD), metrics=[f"{HERE}:{name}"], n_boot=0)
    assert str(caught.value).startswith(message)


def test_a_verifier_must_have_a_hash() -> None:
    with pytest.raises(ConfigError, match=r"Unhashable' cannot be hashed: use @dataclass\(frozen=True\)"):
        open_verifier(f"{HERE}:Unhashable")


def test_what_stops_the_process_passes() -> None:
    class Stopped(TextVerifier):
        def key(self, text: str) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(completions(GOOD), verifier=Stopped(), n_boot=0)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "evaluate c.jsonl --k 2 --verifier mine:Half",
            "verifier 'mine:Half' has no method matches(answer, reference)",
        ),
        (
            "evaluate c.jsonl --k 2 --verifier mine:Fails",
            "verifier 'mine:Fails' cannot be made (RuntimeError: no lu",
        ),
        (
            "evaluate c.jsonl --k 2 --metrics mine:none",
            "metric 'mine:none' does not exist: module 'mine' has no",
        ),
        ("compare a b --out c --verifier nothing:X", "verifier 'nothing:X' cannot be imported (ModuleNotFoundError: "),
        ("generate --model m --out r --task mine:Half", "task 'mine:Half' has no method examples(split, n, seed): add"),
        ("generate --model m --out r --backend mine:Half", "generator 'mine:Half' has no method generate(prompts, "),
        ("generate --model m --out r --confidences mine:x", "confidence 'mine:x' does not exist"),
        ("answer Q --model m --backend mine:Half", "generator 'mine:Half' has no method generate(prompts, "),
        ("tasks mine:Half", "task 'mine:Half' has no method examples(split, n, seed): add what polymode.tasks.Task"),
        ("train --out r --verifier mine:Half", "verifier 'mine:Half' has no method matches(answer, "),
        ("train --out r --confidence-score mine:x", "confidence score 'mine:x' does not exist"),
    ],
)
def test_commands_say_it_in_one_line(
    command: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    (tmp_path / "mine.py").write_text(
        "class Half:\n    def same(self, a, b): return True\n"
        "class Fails:\n    def __init__(self): raise RuntimeError('no luck')\n"
        "    def same(self, a, b): return True\n    def matches(self, a, r): return True\n"
    )
    (tmp_path / "c.jsonl").write_text(json.dumps({"completion": GOOD, "references": ["tea"]}) + "\n")
    assert main(command.split()) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and message in shown.err and shown.err.count("\n") == 1
