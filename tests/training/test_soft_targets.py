"""Soft labels in training: from a recipe or a data set's columns to rewards, and what is refused before a model."""

import json
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError, RecordError
from polymode.rewards import METHODS
from polymode.tasks.lab.clinic import Clinic
from polymode.tasks.records import Records
from polymode.training.recipe import Recipe
from polymode.training.recipe_file import load_recipe
from polymode.training.reward import ScoreLedger, make_reward_function
from polymode.training.rows import TrainingRows
from polymode.training.shaping import check_questions
from polymode.training.validation import validation_examples
from polymode.types import Example, Reference
from polymode.verifiers.programs import ProgramVerifier
from polymode.verifiers.text import TextVerifier

VOTES = [{"text": "e", "weight": 0.5}, {"text": "n", "weight": 0.3}, {"text": "c", "weight": 0.2}]
TEXT = "<answer1>e</answer1><confidence1>0.6</confidence1><answer2>n</answer2><confidence2>0.3</confidence2>"


def votes_task(tmp_path: Path, *rows: Any) -> Records:
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Records(path, validation=0, test=0, weights="counts")


def test_columns_of_a_data_set() -> None:
    ledger, logged = ScoreLedger(), dict[str, float]()
    reward = make_reward_function(METHODS["multi-rlcr"], 2, ledger=ledger)
    rows = [VOTES, VOTES, ["e"], ["e"]]
    targets = ["distribution", None, "distribution", "distribution"]
    masses = [None, None, {"e": 0.9, "n": 0.1}, '{"e": 0.6, "n": 0.3, "c": 0.1}']
    totals = reward([TEXT] * 4, references=rows, target=targets, distribution=masses, log_metric=logged.__setitem__)
    # ((.6 - .5)² + 0) / 2; against the verdicts (.16 + .49) / 2; ((.6 - .9)² + (.3 - .1)²) / 2; 0. Coverage 2 or 1.
    assert totals == pytest.approx([3 - 0.005, 3 - 0.325, 2 - 0.065, 2])
    labels = [one.score.judgement.labels for one in ledger.take([TEXT] * 4)]
    assert labels == [(0.5, 0.3), (1, 1), (0.9, 0.1), (0.6, 0.3)]
    assert logged["coverage"] == 1.5
    assert logged["hit_rate"] == pytest.approx(sum(y or 0 for one in labels for y in one) / 8)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"target": ["distribution"], "references": [["e", "n"]]}, "row 0: .*the reference 'e' has no weight"),
        ({"target": ["distribution"], "references": [VOTES[:2]]}, r"row 0: .*weights of the references sum to 0\.8"),
        ({"target": ["votes"], "references": [VOTES]}, "row 0: target = 'votes'"),
        ({"target": ["distribution"] * 2, "references": [VOTES]}, "target has 2 entries for 1 completions"),
        ({"target": ["distribution"], "references": [["e"]], "distribution": ["e"]}, "row 0: .*is not a mapping"),
        ({"target": ["distribution"], "references": [["e"]], "distribution": [{"e": 0.5}]}, "row 0: .*sum to 0.5"),
    ],
)
def test_columns_that_make_no_distribution(columns: dict[str, Any], problem: str) -> None:
    reward = make_reward_function(METHODS["multi-rlcr"], 2)
    with pytest.raises((ConfigError, RecordError), match=problem):
        reward([TEXT], **columns)


def test_released_rewards_of_stock_trl_refuse_soft_labels() -> None:
    reward = make_reward_function(METHODS["multi-rlcr"], 2, preset="released")
    with pytest.raises(ConfigError, match="preset = 'released' with target = 'distribution'"):
        reward([TEXT], references=[VOTES], target=["distribution"])


def test_rows_carry_the_distribution(tmp_path: Path) -> None:
    task = votes_task(tmp_path, {"question": "?", "references": {"e": 5, "n": 3, "c": 2}})
    small: dict[str, Any] = {"max_steps": 1, "questions_per_step": 1, "num_generations": 2, "k": 2}
    recipe = Recipe(task="records", data=tmp_path / "votes.jsonl", target="distribution", **small)
    [row] = TrainingRows(recipe, task, conversational=False)
    assert row["target"] == "distribution"
    assert json.loads(row["distribution"]) == {"e": 0.5, "n": 0.3, "c": 0.2}
    reward = make_reward_function(METHODS["multi-rlcr"], 2)
    columns = {name: [row[name]] for name in ("references", "target", "distribution")}
    assert reward([TEXT], **columns) == pytest.approx([3 - 0.005])
    [plain] = TrainingRows(Recipe(task="records", data=tmp_path / "votes.jsonl", **small), task, conversational=False)
    assert not {"target", "distribution"} & plain.keys()


def test_the_clinics_posterior_as_target() -> None:
    task = Clinic(target="distribution")
    [row] = TrainingRows(Recipe(max_steps=1, questions_per_step=1, num_generations=2), task, conversational=False)
    [example] = task.examples("train", 1)
    masses = json.loads(row["distribution"])
    assert masses == example.distribution
    likely = list(masses)[:3]
    # Honest confidences cost nothing: coverage counts the differential, confidences the posterior.
    text = "".join(
        f"<answer{i}>{name}</answer{i}><confidence{i}>{masses[name]:.15f}</confidence{i}>"
        for i, name in enumerate(likely, 1)
    )
    reward = make_reward_function(METHODS["multi-rlcr"], 3)
    columns = {name: [row[name]] for name in ("references", "target", "distribution")}
    n_listed = len({ref.text for ref in example.references} & set(likely))
    assert reward([text], **columns) == pytest.approx([n_listed + 1])
    with pytest.raises(ConfigError, match="target = 'posterior'"):
        Clinic(target="posterior")  # type: ignore[arg-type]


def test_validation_measures_the_same_target() -> None:
    recipe = Recipe(target="distribution", validation_steps=10, validation_questions=2)
    assert [one.target for one in validation_examples(recipe, Clinic())] == ["distribution"] * 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"method": "multi-rlvr"}, "target = 'distribution' with method = 'multi-rlvr': its answers carry no confid"),
        ({"preset": "released"}, "preset = 'released' with target = 'distribution'"),
        ({"verifier": "programs"}, "with verifier = 'programs': right programs are without number"),
        ({"target": "votes"}, "target = 'votes' is not known: use one of"),
    ],
)
def test_refused_when_the_recipe_is_read(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"target": "distribution", **options}), encoding="utf-8")
    with pytest.raises(ConfigError, match=problem):
        load_recipe(path)


class Own:
    """A task of one's own, with what it says of its one question."""

    name, prompt_style = "own", "full"

    def __init__(self, example: Example) -> None:
        self.example = example

    def examples(self, split: str, n: int | None = None, *, seed: int = 0) -> list[Example]:
        return [self.example][:n]


def test_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    soft = Recipe(target="distribution")
    unweighted = Own(Example("x", "?", (Reference("a"), Reference("b"))))
    with pytest.raises(ConfigError, match="task 'own', question 'x': .*the reference 'a' has no weight"):
        check_questions(soft, unweighted, TextVerifier())  # type: ignore[arg-type]
    tests = Own(Example("x", "?", (Reference("assert f(1) == 1", weight=1.0),)))
    with pytest.raises(ConfigError, match="no end of right answers, so no reference has a mass"):
        check_questions(soft, tests, ProgramVerifier(unsafe_local=True))  # type: ignore[arg-type]
    halves = Example("y", "?", (Reference("a"),), distribution={"a": 0.5}, target="distribution")
    with pytest.raises(ConfigError, match="task 'own', question 'y': .*sum to 0.5"):
        check_questions(Recipe(), Own(halves), TextVerifier())  # type: ignore[arg-type]
    released = Recipe(preset="released", method="multi-rlcr")
    shares = Example("z", "?", (Reference("a"),), distribution={"a": 1.0}, target="distribution")
    with pytest.raises(ConfigError, match="question 'z': preset = 'released' with target = 'distribution'"):
        check_questions(released, Own(shares), TextVerifier())  # type: ignore[arg-type]
    # Several references and exclusive confidences go together where confidences are shares.
    task = votes_task(tmp_path, {"question": "?", "references": {"e": 5, "n": 3}})
    exclusive: dict[str, Any] = {"confidences": "exclusive", "confidence_score": "other"}
    check_questions(Recipe(target="distribution", **exclusive), task, TextVerifier())
    with pytest.raises(ConfigError, match="several can be right"):
        check_questions(Recipe(**exclusive), task, TextVerifier())


class Failing:
    """Cannot compare some texts."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        if not self.texts or answer in self.texts:
            raise RuntimeError(f"cannot compare {answer}")
        return answer in reference.names


@pytest.mark.parametrize("texts", [(), ("n",)], ids=["always", "one answer"])
def test_a_verifier_that_fails_on_soft_targets_is_refused(tmp_path: Path, texts: tuple[str, ...]) -> None:
    task = votes_task(tmp_path, {"question": "?", "references": {"e": 5, "n": 3, "c": 2}})
    recipe = Recipe(target="distribution", max_steps=1, questions_per_step=1)
    with pytest.raises(ConfigError, match=r"question 'record-1': the verifier fails .*cannot compare"):
        check_questions(recipe, task, Failing(*texts))
    check_questions(recipe, task, Failing("something else"))


def test_a_task_of_ones_own_may_mix_targets_but_each_is_checked() -> None:
    plain = Example("a", "?", (Reference("x"),))
    lacking = Example("b", "??", (Reference("x", weight=0.4), Reference("y", weight=0.3)), target="distribution")
    for questions in ([plain, lacking], [lacking, plain]):

        class Mixed:
            name, prompt_style = "mixed", "full"

            def examples(self, *_: Any, questions: list[Example] = questions, **__: Any) -> list[Example]:
                return questions

        with pytest.raises(ConfigError, match=r"question 'b': .*sum to 0\.7"):
            check_questions(Recipe(), Mixed(), TextVerifier())  # type: ignore[arg-type]
