"""`polymode confidences --from probe`: a tiny model whose states tell which answers are right, though it never says."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polymode import runs
from polymode.cli import main
from polymode.cli.probing import Labels, comparison, judged_labels
from polymode.evaluation import evaluate
from polymode.probe import fit_probe
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer
from polymode.types import Completion, Example, Reference
from polymode.verifiers.text import TextVerifier

RIGHT, WRONG = ("red", "green", "teal", "gold"), ("blue", "pink", "grey", "black")
Run = Callable[..., str]


def tags(answers: list[str], q: list[str]) -> str:
    slots = enumerate(zip(answers, q, strict=True), 1)
    return "".join(f"<answer{i}>{a}</answer{i}><confidence{i}>{c}</confidence{i}>" for i, (a, c) in slots)


def lines(answers: list[str], q: list[str]) -> str:
    return "\n".join(f"{i}. {a} | {c}" for i, (a, c) in enumerate(zip(answers, q, strict=True), 1))


def completions(n: int, first: int, write: Callable[..., str] = tags) -> list[Completion]:
    """Two samples of each question: two colours, and confidences that have nothing to do with them."""
    rng = np.random.default_rng(first)
    references = tuple(Reference(colour) for colour in RIGHT)
    out = []
    for number in range(first, first + n):
        example = Example(f"q{number}", f"what {number} ?", references)
        for sample in range(2):
            colours = rng.permutation([*RIGHT, *WRONG])[:2].tolist()
            stated = rng.choice(["0.2", "0.5", "0.8"], 2).tolist()
            out.append(Completion(example, write(colours, stated), 2, True, sample))
    return out


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained: its states still hold the words that it has read."""
    path = tmp_path_factory.mktemp("probed") / "model"
    stated = ["0.2", "0.5", "0.8"]
    texts = [write([*RIGHT, *WRONG][i : i + 2], stated[:2]) for write in (tags, lines) for i in range(0, 8, 2)]
    texts += [f"what {i} ? 1 2 3 4 5 6 7 8 9 0" for i in range(100)]
    texts += ["<answer3>red</answer3><confidence3>0.2</confidence3>", *stated]
    tokenizer = build_tokenizer(texts)
    size = LabModelSize(hidden=32, layers=2, heads=2, intermediate=64, positions=256)
    build_model(tokenizer, size, seed=0).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    write_run("train", completions(80, 0), model_folder)
    write_run("test", completions(20, 80), model_folder)


def write_run(name: str, content: list[Completion], model: Path, **config: Any) -> None:
    runs.create(Path(name), {"model": str(model), "style": "brief", **config})
    runs.write_completions(Path(name), content)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object, code: int = 0) -> str:
        assert main(list(map(str, args))) == code, capsys.readouterr().err
        shown = capsys.readouterr()
        return shown.err if code else shown.out

    return call


PROBE = ("--from", "probe", "--fit", "train")


def rows(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "completions.jsonl").read_text().splitlines()]


def table(shown: str) -> dict[str, list[float]]:
    """Values of each row, without their intervals."""
    names = ("stated", "probe", "slot number alone", "best constant", "best constant per slot")
    out: dict[str, list[float]] = {}
    for line in shown.splitlines():
        name, rest = line[:23].strip(), line[23:]
        if name in names and "[" in rest:
            out[name] = [float(cell.split()[-1]) for cell in rest.replace("]", "[").split("[")[:-1:2]]
    return out


def test_what_the_states_know_becomes_the_confidences(run: Run) -> None:
    shown = run("confidences", "test", *PROBE)
    assert "fitted to 320 answers of 80 questions (train)" in shown
    assert "probe: 40 of 40 completions have confidences, 80 answers" in shown
    values = table(shown)
    assert values["probe"][0] > 0.85 and abs(values["stated"][0] - 0.5) < 0.2  # AUROC in question
    assert values["probe"][2] < 0.15  # Brier
    # Slots tell nothing here, and constants are scored without the bias of choosing them: 1/4 but for noise.
    assert [values[name][0] for name in ("best constant", "best constant per slot")] == pytest.approx(
        [0.25] * 2, abs=0.02
    )
    # The numbers are those that evaluation finds in the files.
    metrics = evaluate(runs.read_completions("test-probe"), n_boot=0).metrics
    assert values["probe"][1:] == [pytest.approx(metrics[name].value, abs=6e-4) for name in ("auroc", "brier")]
    metrics = evaluate(runs.read_completions("test"), n_boot=0).metrics
    assert values["stated"][1:] == [pytest.approx(metrics[name].value, abs=6e-4) for name in ("auroc", "brier")]
    stored = runs.read_configuration(Path("test-probe")).config
    assert (stored["confidences"], stored["fit"], stored["slots"]) == ("probe", "train", True)


def test_lines_are_probed_as_tags_are(run: Run, model_folder: Path) -> None:
    write_run("train-lines", completions(80, 0, lines), model_folder, format="lines")
    write_run("test-lines", completions(20, 80, lines), model_folder, format="lines")
    shown = run("confidences", "test-lines", "--method", "probe", "--fit", "train-lines")
    assert table(shown)["probe"][0] > 0.85


def test_stored_verdicts_are_taken_and_unscored_answers_left_out(run: Run) -> None:
    run("evaluate", "train", "--n-boot", 0)
    path = Path("train/judged.jsonl")
    judged = [json.loads(line) for line in path.read_text().splitlines()]
    for row in judged:  # the other way round, and the first answer of each set without a verdict
        row["hits"] = [None, 1 - row["hits"][1]]
        row["verdicts"] = ["unscored", "correct" if row["hits"][1] else "wrong"]
    path.write_text("".join(json.dumps(row) + "\n" for row in judged))
    shown = run("confidences", "test", *PROBE, "--no-slots")
    assert "fitted to 160 answers of 80 questions" in shown
    assert table(shown)["probe"][0] < 0.45  # from half of the answers
    # A verifier that is named judges again.
    shown = run("confidences", "test", *PROBE, "--verifier", "text", "--out", "named")
    assert "fitted to 320 answers" in shown and table(shown)["probe"][0] > 0.85


def test_verdicts_in_a_folder_of_their_own_are_found_with_their_texts(run: Run) -> None:
    run("evaluate", "train", "--n-boot", 0, "--out", "verdicts")
    run("confidences", "test", "--from", "probe", "--fit", "verdicts", "--out", "a")
    run("confidences", "test", *PROBE, "--out", "b")
    assert [row["confidences"] for row in rows("a")] == [pytest.approx(row["confidences"]) for row in rows("b")]


def test_a_fitted_probe_serves_again(run: Run) -> None:
    run("confidences", "test", *PROBE, "--out", "a")
    shown = run("confidences", "test", "--from", "probe", "--fit", "a/probe.npz", "--out", "b")
    assert "fitted before to 320 answers of 80 questions" in shown
    assert [row["confidences"] for row in rows("a")] == [pytest.approx(row["confidences"]) for row in rows("b")]


def test_answers_that_the_probe_was_fitted_to_are_predicted_from_other_questions(run: Run) -> None:
    run("confidences", "train", *PROBE)
    own = rows("train-probe")
    # Whether a question's own verdicts are wrong makes no difference to the ranking of its answers.
    flipped = [
        replace(one, example=replace(one.example, references=tuple(map(Reference, WRONG))))
        if one.example.id == "q3"
        else one
        for one in completions(80, 0)
    ]
    shutil.rmtree("train")
    runs.write_completions(Path("train"), flipped)
    model = runs.read_configuration(Path("train-probe")).config["model"]
    run("confidences", "train", *PROBE, "--model", model, "--style", "brief", "--out", "again")
    before = [q for row in own if row["id"] == "q3" for q in row["confidences"]]
    after = [q for row in rows("again") if row["id"] == "q3" for q in row["confidences"]]
    assert np.argsort(before).tolist() == np.argsort(after).tolist()


def test_an_interrupted_command_goes_on_with_its_probe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("confidences", "test", *PROBE, "--out", "whole")
    from polymode.runs.partial import CompletionsPart

    add, calls = CompletionsPart.add_completions, []

    def failing(self: Any, batch: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        add(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(CompletionsPart, "add_completions", failing)
        run("confidences", "test", *PROBE, "--out", "cut", "--batch", 8, code=130)
    shown = run("confidences", "test", *PROBE, "--out", "cut", "--batch", 8, "--resume")
    assert "resumed: 16 completions are measured" in shown and "fitted before to 320 answers" in shown
    assert [row["confidences"] for row in rows("cut")] == [
        pytest.approx(row["confidences"], abs=1e-6) for row in rows("whole")
    ]


def test_completions_that_are_not_clean_have_none(run: Run, model_folder: Path) -> None:
    broken = [replace(one, text="red") if i == 0 else one for i, one in enumerate(completions(20, 80))]
    write_run("broken", broken, model_folder)
    shown = run("confidences", "broken", *PROBE)
    assert "probe: 39 of 40 completions have confidences" in shown and "the others are not clean" in shown
    assert "confidences" not in rows("broken-probe")[0]


def test_without_a_right_answer_there_is_no_auroc(run: Run, model_folder: Path) -> None:
    others = (Reference("mauve"),)
    none = [replace(one, example=replace(one.example, references=others)) for one in completions(20, 80)]
    write_run("none", none, model_folder)
    shown = run("confidences", "none", *PROBE)
    assert "0.000 right" in shown and "no question has a right and a wrong answer" in shown
    assert "nan" not in shown.lower()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("test --from probe", "--fit is missing: a probe learns from judged answers"),
        ("test --from votes --fit train", "--fit is for --from probe: leave it out, votes learns nothing"),
        ("test --from probe --fit nowhere", "nowhere has no completions: give a run folder, or a file"),
        ("test --from probe --fit nowhere.npz", "nowhere.npz does not exist: give a run folder, a file of completions"),
        ("test --from probe --fit judged/judged.jsonl", "judged/judged.jsonl holds verdicts without the texts"),
        ("test --from probe --fit few", "few: 16 judged answers are too few for a probe: give at least 20"),
        ("test --from probe --fit right", "right: all 320 answers are right: a probe needs both verdicts"),
        ("test --from probe --fit wrong", "wrong: all 320 answers are wrong: a probe needs both verdicts"),
        ("test --from probe --fit single", "single: 1 question with judged answers: a probe needs at least 2"),
        ("test --from probe --fit plain", "plain: no completion states a confidence, so there is no token to probe"),
        ("plain --from probe --fit train", "completions.jsonl: no completion states a confidence"),
        ("malformed --from probe --fit train", "none of the 40 completions is in the answer format"),
        ("foreign --from probe --fit train", "the model's tokenizer does not spell the completions as they are"),
        ("other --from probe --fit train", "/model, and the states would be read from someone/else-7B: a"),
        ("test --from probe --fit train --model a/b", "test/completions.jsonl: written by /"),
        ("test --from probe --fit a/probe.npz", "a/probe.npz: written by someone/else-7B, and the states"),
        ("test --from probe --fit other", "other: written by someone/else-7B, and the states would be read from"),
        ("three --from probe --fit train", "slot 3 has no level: the probe was fitted to answers of slots 1, 2"),
        ("test --from probe --fit broken.npz", "broken.npz is no probe that can be read"),
        ("test --from probe --fit train --backend openai --backend-options base_url=http://127.0.0.1:9/v1",
         "confidences 'probe' need hidden states, which OpenAIGenerator does not tell: use --backend transformers"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(run: Run, args: str, message: str, model_folder: Path) -> None:
    train, test = completions(80, 0), completions(20, 80)
    write_run("few", completions(4, 0), model_folder)
    write_run("single", [replace(one, example=train[0].example, sample=i) for i, one in enumerate(train)], model_folder)
    for name, colours in (("right", [*RIGHT, *WRONG]), ("wrong", ["mauve"])):
        references = tuple(map(Reference, colours))
        judged = [replace(one, example=replace(one.example, references=references)) for one in train]
        write_run(name, judged, model_folder)
    plain = "<answer1>red</answer1><answer2>blue</answer2>"
    write_run("plain", [replace(one, text=plain, has_confidence=False) for one in test], model_folder)
    write_run("malformed", [replace(one, text="red") for one in test], model_folder)
    write_run("foreign", [replace(one, text=tags(["Zürich", "Bern"], ["0.33", "0.4"])) for one in test], model_folder)
    write_run("other", test, Path("someone/else-7B"))
    text = tags(["red", "blue"], ["0.5", "0.2"]) + "<answer2>red</answer2>"
    third = text.replace("<answer2>red</answer2>", "<answer3>red</answer3><confidence3>0.2</confidence3>")
    write_run("three", [replace(one, text=third, k=3) for one in test], model_folder)
    write_run("judged", train[:9], model_folder)
    run("evaluate", "judged", "--n-boot", 0)
    Path("broken.npz").write_bytes(b"PK\x03\x04 nothing")
    questions = [one.example.question for one in train]
    states = np.random.default_rng(0).standard_normal((len(train), 1, 32))
    fit = fit_probe(
        states, [1], np.arange(len(train)) % 2, questions, np.zeros(len(train), int), model="someone/else-7B"
    )
    runs.write_probe(Path("a/probe.npz"), fit.probe)
    error = run("confidences", *args.split(), code=2)
    error = error.splitlines(keepends=True)[-1]  # above it, transformers' bar of loaded weights
    assert message in error and error.count("\n") == 1
    assert not list(Path().glob("*-probe"))


def test_verdicts_on_other_completions_are_refused(run: Run) -> None:
    run("evaluate", "train", "--n-boot", 0)
    runs.write_completions(Path("train"), completions(80, 0)[1:])
    error = run("confidences", "test", *PROBE, code=1)
    assert "train/completions.jsonl has changed since it was judged into train: run polymode evaluate again" in error


def test_generate_names_the_command_for_it(run: Run, model_folder: Path) -> None:
    error = run("generate", "--model", model_folder, "--confidences", "probe", "--out", "made", code=2)
    assert "confidences 'probe' come from judged answers of other questions" in error
    assert not Path("made").exists()


def test_numbers_of_the_table_are_finite_or_a_dash(run: Run) -> None:
    assert all(math.isfinite(value) for row in table(run("confidences", "test", *PROBE)).values() for value in row)


def test_a_question_under_two_ids_is_one_question() -> None:
    """Its answers are drawn together, so the same answers under other ids make no interval narrower."""
    q = [0.2, 0.7]
    once = [replace(one, confidences=tuple(q[: one.k])) for one in completions(12, 0)]
    again = [replace(one, example=replace(one.example, id=f"again-{one.example.id}")) for one in once]
    labels: Labels = {(one.example.id, one.sample): tuple(range(one.k)) for one in [*once, *again]}
    probe: Any = SimpleNamespace(slot_rate=lambda slot_N: np.full(len(slot_N), 0.5))
    single, double = (comparison(measured, labels, probe, n_boot=50) for measured in (once, [*once, *again]))
    assert "of 12 questions" in single.splitlines()[0] and "of 12 questions" in double.splitlines()[0]
    assert single.splitlines()[2:] == double.splitlines()[2:]


@pytest.mark.parametrize("is_judged_before", [True, False])
def test_where_the_target_is_a_distribution_confidences_are_compared_with_its_shares(is_judged_before: bool) -> None:
    shares = (Reference("red", weight=0.6), Reference("blue", weight=0.3), Reference("teal", weight=0.1))
    example = Example("q", "which ?", shares, target="distribution")
    made = [Completion(example, tags(["blue", "gold"], ["0.3", "0.0"]), 2, True)]
    verifier = TextVerifier()
    verdicts = None
    if is_judged_before:
        runs.write_completions(Path("shares"), made)
        evaluate(made, verifier=verifier, n_boot=0).write(Path("shares"))
        verdicts = Path("shares") / runs.JUDGED
    assert judged_labels(made, verdicts, verifier) == {("q", 0): (0.3, 0.0)}
