"""`polymode confidences`: what it writes, refuses, and goes on with."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.cli import main
from polymode.cli.confidences import Confidences, _model_options, _stored, _style
from polymode.evaluation import evaluate
from polymode.types import Completion, Example, Reference

SCORER = """
from pathlib import Path
from polymode.errors import PromptRefusedError
from polymode.generate import Generated

class Scorer:
    def __init__(self, model, *, fail_on="", refuse_on=""):
        self.model, self.fail_on, self.refuse_on = model, fail_on, refuse_on

    def generate(self, prompts, *, n, max_tokens, temperature, seed):
        return [[Generated("<answer>red</answer>", 3, True)] * n for _ in prompts]

    def token_log_probabilities(self, prompts, texts):
        self._note(prompts)
        return [[(0, len(text), -1.0)] for text in texts]

    def continuation_probabilities(self, prompts, texts, groups):
        self._note(prompts)
        return [[0.1 * ("True" in group) + 0.3 * ("False" in group) for group in groups] for _ in texts]

    def openings(self, prompts):
        return [""] * len(prompts)

    def _note(self, prompts):
        with open("asked.txt", "a") as handle:
            handle.writelines(f"{prompt.splitlines()[0]}\\n" for prompt in prompts)
        if self.fail_on and any(self.fail_on in prompt for prompt in prompts):
            raise RuntimeError("out of memory")
        if self.refuse_on and any(self.refuse_on in prompt for prompt in prompts):
            raise PromptRefusedError("a prompt has 99 tokens and the model reads 9")

def halves(completions, model, *, style):
    from dataclasses import replace
    return [replace(one, confidences=(0.5,) * one.k) for one in completions]
"""
EXAMPLES = [Example(f"q{i}", f"what {i}?", (Reference("red"),), ask="Say {k}.") for i in range(4)]
SAMPLES = [
    Completion(example, f"<answer>{text}</answer>", 1, False, number)
    for example in EXAMPLES
    for number, text in enumerate(("red", "Red", "blue"))
]
Run = Callable[..., str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_scorer.py").write_text(SCORER)
    runs.write_completions(tmp_path / "run", SAMPLES)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object, code: int = 0) -> str:
        assert main(list(map(str, args))) == code, capsys.readouterr().err
        shown = capsys.readouterr()
        return shown.err if code else shown.out

    return call


def rows(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "completions.jsonl").read_text().splitlines()]


MODEL = ("--model", "m", "--backend", "my_scorer:Scorer")


def test_votes_need_no_model_and_become_a_run_folder(run: Run) -> None:
    shown = run("confidences", "run", "--method", "votes")
    assert "votes: 12 of 12 completions have confidences, 12 answers, mean 0.556\n" in shown  # (2/3 + 2/3 + 1/3) / 3
    assert [row["confidences"] for row in rows("run-votes")[:3]] == [[2 / 3], [2 / 3], [1 / 3]]
    assert [{**row, "confidences": None} for row in rows("run-votes")] == [
        {**row, "confidences": None} for row in rows("run")
    ]
    stored = runs.read_configuration(Path("run-votes")).config
    assert (stored["confidences"], stored["model"], stored["source"]) == ("votes", None, "run/completions.jsonl")
    again = runs.read_completions("run-votes")
    assert [one.example.ask for one in again] == ["Say {k}."] * 12
    # Brier: 8 right with 2/3 each miss by 1/3, 4 wrong with 1/3 miss by 1/3: 1/9.
    assert evaluate(again, n_boot=0).metrics["brier"].value == pytest.approx(1 / 9)
    assert "run folder run-votes exists already" in run("confidences", "run", "--method", "votes", code=2)
    assert "(already complete)" in run("confidences", "run", "--method", "votes", "--resume")


@pytest.mark.parametrize(
    ("method", "values", "masses"),
    [
        ("p-true", [0.25] * 3, [0.4] * 3),  # .1 / (.1 + .3)
        ("answer-probability", [0.36788] * 3, None),  # exp(-1)
        ("aggregation", [0.73576, 0.73576, 0.36788], None),  # red and Red together: 2 exp(-1)
        ("my_scorer:halves", [0.5] * 3, None),
    ],
)
def test_each_method_writes_what_it_measures(
    run: Run, method: str, values: list[float], masses: list[float] | None
) -> None:
    shown = run("confidences", "run", "--method", method, *MODEL, "--out", "out")
    first = rows("out")[:3]
    assert [row["confidences"][0] for row in first] == pytest.approx(values, abs=1e-5)
    assert ([row["confidence_mass"][0] for row in first] if masses else None) == (masses and pytest.approx(masses))
    assert ("share of the probability that the compared words hold: mean 0.400" in shown) == (masses is not None)
    assert ("note: the model would mostly say something else" in shown) == (masses is not None)


def test_after_a_failure_only_the_rest_is_measured(run: Run) -> None:
    command = ("confidences", "run", "--method", "p-true", *MODEL, "--batch", "3")
    error = run(*command, "--backend-options", "fail_on=what 2", code=1)
    assert (
        "3 of 12 completions could not be measured; the first: RuntimeError: out of memory: what is finished" in error
    )
    assert not Path("run-p-true/completions.jsonl").exists()
    Path("asked.txt").unlink()
    stored = Path("run-p-true/config.json")
    stored.write_text(stored.read_text().replace('"fail_on": "what 2"', ""))
    assert "resumed: 9 completions are measured\n" in run(*command, "--resume")
    assert Path("asked.txt").read_text().splitlines() == ["what 2?"] * 3
    assert [(row["id"], row["sample"]) for row in rows("run-p-true")] == [
        (row["id"], row["sample"]) for row in rows("run")
    ]


@pytest.mark.parametrize("method", ["p-true", "answer-probability", "aggregation"])
def test_what_does_not_fit_the_model_has_none_and_is_counted(run: Run, method: str) -> None:
    command = ("confidences", "run", "--method", method, *MODEL, "--out", "out", "--backend-options")
    shown = run(*command, "refuse_on=what 1?")
    assert f"{method}: 9 of 12 completions have confidences" in shown and "the others are not clean" not in shown
    assert (
        "3 completions have none, so that what they state counts: the model refuses them; the first, id 'q1' sample 0: "
        "a prompt has 99 tokens and the model reads 9\n" in shown
    )
    assert [row["id"] for row in rows("out") if row.get("confidences") is None] == ["q1"] * 3
    shutil.rmtree("out")
    error = run(*command, "refuse_on=what", code=1)
    assert "12 of 12 completions could not be measured; the first: a prompt has 99 tokens" in error
    assert "a prompt has 99 tokens" in run(*command, "refuse_on=what", "--resume", code=1)


def test_answers_without_mass_are_counted(run: Run) -> None:
    content = SCORER.replace("0.1 * (", "0 * (").replace("0.3 * (", '0.3 * ("what 1" in p) * (')
    Path("sure_scorer.py").write_text(content.replace("for _ in texts]", "for p in prompts]"))
    shown = run("confidences", "run", "--method", "p-true", "--model", "m", "--backend", "sure_scorer:Scorer")
    assert "p-true: 3 of 12 completions have confidences, 3 answers, mean 0.000\n" in shown
    assert "9 completions have none: the compared words have probability 0 for one of their answers\n" in shown
    assert "the others are not clean" not in shown and "hold: mean 0.075, lowest 0.000\n" in shown
    assert [row.get("confidences") for row in rows("run-p-true")] == [[0.0] if 3 <= i < 6 else None for i in range(12)]


def test_generate_measures_with_the_same_functions(run: Run) -> None:
    shown = run("generate", *MODEL, "--task", "clinic", "--n", 2, "--k", 1, "--samples", 2, "--no-confidence",
                "--confidences", "aggregation", "--out", "made")  # fmt: skip
    assert "tokens: 12 generated\n" in shown
    assert [row["confidences"][0] for row in rows("made")] == pytest.approx([0.36788] * 4, abs=1e-5)
    later = run("confidences", "made", "--method", "aggregation")  # model, back-end and style are the run's
    assert "mean 0.368\n" in later
    assert [row["confidences"] for row in rows("made-aggregation")] == [row["confidences"] for row in rows("made")]
    asked = Path("asked.txt").read_text().splitlines()
    assert sorted(asked[:4]) == sorted(asked[4:])


def test_completions_that_are_not_clean_have_none(run: Run) -> None:
    broken = [replace(SAMPLES[0], text="red", confidences=(0.9,)), *SAMPLES[1:]]
    runs.write_completions(Path("broken"), broken)
    shown = run("confidences", "broken", "--method", "votes")
    assert "votes: 11 of 12 completions have confidences" in shown and "the others are not clean" in shown
    assert "confidences" not in rows("broken-votes")[0] and rows("broken-votes")[1]["confidences"] == [1 / 3]


def test_generate_goes_on_with_what_was_measured(run: Run) -> None:
    command = ("generate", *MODEL, "--task", "clinic", "--n", 3, "--k", 1, "--batch", 1, "--no-confidence", "--out",
               "made", "--confidences", "p-true", "--style", "full")  # fmt: skip
    questions = [json.loads(line)["question"] for line in _made(run, command)]
    error = run(*command, "--backend-options", f"fail_on={questions[1]}", code=1)
    assert "1 of 3 completions could not be measured" in error and "made/completions.jsonl.part" in error
    Path("asked.txt").unlink()
    stored = Path("made/config.json")
    content = json.loads(stored.read_text())
    content["config"]["backend_options"] = {}
    stored.write_text(json.dumps(content))
    assert "resumed: 3 completions are finished\n" in run(*command, "--resume")
    assert Path("asked.txt").read_text().splitlines() == [questions[1].splitlines()[0]]
    assert [row["confidences"] for row in rows("made")] == [[pytest.approx(0.25)]] * 3


def _made(run: Run, command: tuple[Any, ...]) -> list[str]:
    """The lines of a run that is removed again."""
    run(*command)
    lines = Path("made/completions.jsonl").read_text().splitlines()
    shutil.rmtree("made")
    return lines


def test_a_method_that_the_back_end_cannot_measure_is_refused_before_it_samples(run: Run) -> None:
    error = run("generate", "--model", "m", "--backend", "openai", "--backend-options", "base_url=http://127.0.0.1:9/v1",
                "--out", "made", "--confidences", "answer-probability", code=2)  # fmt: skip
    assert "need probabilities of a text, which OpenAIGenerator does not tell" in error
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("run --method p-tru", "confidence = 'p-tru' is not known: use one of answer-probability, p-true, votes, agg"),
        ("run --method p-true", "--model is missing: p-true asks the model, and run/completions.jsonl does not name"),
        ("run --method votes --out run", "--out run holds the completions that are measured: choose another folder"),
        ("none --method votes", "none does not exist"),
        ("run --method p-true --model m --backend tpu", "--backend 'tpu' is not known"),
        ("run --method votes --reasoning much", "reasoning"),
        ("run", "method"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(run: Run, args: str, message: str) -> None:
    error = run("confidences", *args.split(), code=2)
    assert message in error and error.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["my_scorer.py", "run"]


def test_the_sets_of_a_training_run_are_asked_for_as_it_asked(tmp_path: Path) -> None:
    recipe = {"task": "clinic", "prompt_style": "full", "format": "confidence-first", "method": "multi-rlcr"}
    runs.create(tmp_path / "run", recipe)
    runs.write_steps(tmp_path / "run" / runs.TRAIN_METRICS, [])
    options = Confidences(tmp_path / "run" / "set", method="votes")
    stored = _stored(tmp_path / "run" / "set")
    assert _style(_model_options(options, stored), stored) == "confidence-first"
