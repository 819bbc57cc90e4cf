"""The command line: what a user types, sees and gets back."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from polymode import runs
from polymode.cli import VERBS, flags, main, options_class, parse
from polymode.cli.generate import Generate
from polymode.cli.options import ProgramOptions
from polymode.cli.tasks import Tasks
from polymode.sandbox.bubblewrap import UNSAFE_LOCAL
from polymode.training.recipe import Recipe

LINE = {"completion": "<answer1>flu</answer1><answer2>cold</answer2>", "references": ["flu", "gout"], "k": 2}


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The one line on stderr of a command that must end with exit code 2."""
    assert main([str(arg) for arg in args]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1 and shown.err.endswith("\n")
    return shown.err


# --- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_the_first_help_names_every_command(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and verb.summary in shown for name, verb in VERBS.items())


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: polymode {verb}")
    assert max(map(len, shown.splitlines())) <= 100
    assert "\x1b" not in shown
    if verb != "doctor":  # which has no options
        assert "\nExamples:\n  " in shown and f"\n  polymode {verb}" in shown


@pytest.mark.parametrize(
    ("verb", "names"), [("relabel", "[RUNS...]"), ("tasks", "[NAME]"), ("doctor", "doctor [OPTIONS]")]
)
def test_the_usage_names_optional_arguments(verb: str, names: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(f" {names}")


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_is_a_command_line(verb: str) -> None:
    lines = flags.examples(options_class(verb)).replace("\\\n", "").splitlines()
    for line in lines:
        words = shlex.split(line, comments=True)
        if words and words[1:] != ["tasks"]:
            assert words[:2] == ["polymode", verb]
            parse(*words[1:])


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "train"])  # a recipe's options explain themselves
def test_every_option_has_a_text(verb: str) -> None:
    kind = options_class(verb)
    for parameter in flags.parameters(kind):
        assert parameter.annotation.__metadata__[-1].help, f"polymode {verb}: {parameter.name} is not explained"


@pytest.mark.parametrize("args", [["--version"], ["--help"]])
def test_the_first_help_loads_neither_numpy_nor_the_flag_parser(args: list[str]) -> None:
    code = f"import sys; from polymode.cli import main; main({args}); print({{'numpy', 'cyclopts'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nset()\n")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"


# --- what is refused, and how ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["evalute"],
            "'evalute' is not a command; did you mean evaluate? Commands: reproduce, warmup, train, merge, ",
        ),
        (["train", "--kk", "3", "--out", "x"], "unknown option 'kk'; did you mean k?"),
        (["train", "--out", "x", "--steps", "3"], "option 'steps' is called max_steps now (see polymode train --help)"),
        (
            ["train", "--out", "x", "--num-iterations", "3"],
            "'num_iterations' of TRL belongs under trl: write trl: {num_",
        ),
        (["train", "--out", "x", "--trl", "beta=1"], "trl: beta is an option of the recipe itself"),
        (["train", "--out", "x", "--trl", "beta"], "--trl 'beta' is not allowed: write NAME=VALUE"),
        (["train", "--out", "x", "--max-steps", "0"], "max_steps = 0 "),
        (["train"], "--out is missing: Run folder to create"),
        (["train", "--out"], "parameter --out requires an argument (see polymode train --help)"),
        (["train", "--out", "x", "--k", "three"], 'invalid value for --k: unable to convert "three" into int'),
        (
            ["train", "--out", "x", "--learning-rate", "fast"],
            'unable to convert "fast" into float',
        ),
        (
            ["train", "--out", "x", "--lr-scheduler-type", "up"],
            "up is not a valid SchedulerType, please select one of",
        ),
        (["train", "--out", "x", "--k", "0"], "k = 0 is not allowed"),
        (["train", "--out", "x", "--k", "1"], "k = 1 with method = 'multi-rlcr': use the single method, or k from 2"),
        (["train", "--out", "x", "--method", "dual"], '"dual" for --method. Choose from: "single-rlvr", "single-'),
        (["train", "--out", "x", "--scale-rewards", "group"], "breaks calibration (arXiv 2508.11800); use 'none' or"),
        (["train", "none.yaml", "--out", "x"], "recipe none.yaml does not exist: check the path"),
        (["generate", "--model", "m"], "--out is missing: Run folder that completions.jsonl is written into"),
        (["generate", "--model", "m", "--out", "x", "--k", "21"], "k = 21 is not allowed"),
        (
            ["generate", "--model", "m", "--out", "x", "--samples", "0"],
            'value "0" for --samples. Must be >= 1 (see',
        ),
        (
            ["generate", "--model", "m", "--out", "x", "--temperature", "-1"],
            '"-1.0" for --temperature. Must be >= 0',
        ),
        (["generate", "--model", "m", "--out", "x", "--task", "chess"], "task = 'chess' is not known: use one of"),
        (["reproduce", "slow"], "experiment 'slow' is not known: use one of quick, lab, harder-lab, ddxplus"),
        (["reproduce", "lab", "--only", "quick"], "--only 'quick' is not a part of lab: use one of clinic, "),
        (["reproduce", "--workers", "1.5"], 'invalid value for --workers: unable to convert "1.5" into int'),
        (["train", "--out", "x", "--max-steps", "2.5"], 'invalid value for --max-steps: unable to convert "2.5" into'),
        (["train", "--out", "x", "--max-steps", "nan"], 'invalid value for --max-steps: unable to convert "nan" into'),
        (["reproduce", "--workers", "-1"], 'invalid value "-1" for --workers. Must be >= 0'),
        (["evaluate"], "COMPLETIONS is missing: A completions.jsonl file, a log of inspect_ai or lm-eval, or a folder"),
        (["evaluate", "none.jsonl"], "none.jsonl does not exist: check the path"),
        (["evaluate", "none.jsonl", "--votes"], "--votes needs pooled sets: give --pool too"),
        (["evaluate", "none.jsonl", "--pool", "0"], 'invalid value "0" for --pool. Must be >= 1'),
        (["evaluate", "none.jsonl", "--verifier", "exact"], "verifier = 'exact' is not known: use one of text, symbo"),
        (["evaluate", "none.jsonl", "--verifier", "judge"], "verifier 'judge': base_url and model must be given"),
        (["evaluate", "none.jsonl", "--verifier-options", "seconds"], "--verifier-options 'seconds' is not allowed: w"),
        (["evaluate", "none.jsonl", "--verifier-options", "a=1"], "--verifier-options are given without --verifier"),
        (
            ["evaluate", "none.jsonl", "--verifier", "text", "--verifier-options", "a=1"],
            "verifier 'text': unknown option 'a'; it has none",
        ),
        (["train", "--out", "x", "--verifier", "exact"], "verifier = 'exact' is not known: use one of text, symbolic"),
        (["compare", "--out", "x"], "RUNS is missing: Run folders to compare"),
        (["compare", "none", "--out", "x"], "run none does not exist: check the path"),
        (["compare", "none"], "--out is missing: Folder for the comparison"),
        (["compare", "none", "--out", "x", "--n-boot", "-1"], 'invalid value "-1" for --n-boot. Must be >= 0'),
        (["compare", "none", "--out", "x", "--verifier-options", "a=1"], "--verifier-options are given without --ver"),
        (["compare", "none", "--out", "x", "--verifier", "exact"], "verifier = 'exact' is not known: use one of text"),
        (["calibrate"], "JUDGED is missing: A judged.jsonl file (polymode evaluate writes it), or a folder that"),
        (["calibrate", "none"], "none does not exist: check the path, or judge the completions (polymode evaluate)"),
        (["calibrate", "none", "--alpha", "0"], "alpha = 0.0 is not allowed: give a number between 0 and 1"),
        (["calibrate", "none", "--delta", "1"], "delta = 1.0 is not allowed: give a number between 0 and 1"),
        (["calibrate", "none", "--target", "all"], "target = 'all' is not known: use one of answer, set, both"),
        (["calibrate", "none", "--max-effective", "0.5"], "max_effective = 0.5 is not allowed: give a number from 1"),
        (
            ["calibrate", "none", "--abstain-below", "-1"],
            "abstain_below = -1.0 is not allowed: give a number from 0 to",
        ),
        (["answer"], "QUESTION is missing: Text of the question, in quotes"),
        (["answer", " ", "--model", "m"], "question is empty: write it in quotes after the command"),
        (["answer", "Q?", "--model", "m", "--k", "21"], "k = 21 is not allowed"),
        (["answer", "Q?", "--model", "m", "--max-tokens", "0"], 'invalid value "0" for --max-tokens. Must be >= 1'),
        (
            ["answer", "Q?", "--model", "m", "--temperature", "inf"],
            '"inf" for --temperature. Must be < inf',
        ),
        (
            ["answer", "Q?", "--model", "m", "--risk", "low"],
            "risk = 'low' is not known: use one of normal, high",
        ),
        (["answer", "Q?", "--model", "m", "--task", "chess"], "task = 'chess' is not known: use one of"),
        (
            ["answer", "Q?", "--model", "m", "--policy", "none.json"],
            "policy none.json cannot be read (no such file",
        ),
        (
            ["answer", "Q?", "--model", "m", "--style", "full", "--backend", "tpu"],
            "--backend 'tpu' is not known: use one of transformers, vllm, openai, or module:Name",
        ),
        (
            ["generate", "--model", "m", "--out", "x", "--backend", "tpu"],
            "--backend 'tpu' is not known: use one of transformers, vllm, openai, or module:Name",
        ),
        (["tasks", "chess"], "task = 'chess' is not known: use one of clinic"),
        (["tasks", "records"], "data is missing: task 'records' needs a file or a data set name"),
        (["tasks", "records", "--data", "none.jsonl"], "none.jsonl"),
        (["tasks", "ddxplus", "--data", "no/folder"], "data folder 'no/folder' does not exist"),
        (
            ["tasks", "clinic", "--task-options", "treshold=0.1"],
            "unknown option 'treshold'; known: references, threshold",
        ),
        (["tasks", "clinic", "--task-options", "threshold"], "--task-options 'threshold' is not allowed: write NAME="),
        (["tasks", "clinic", "--task-options", "threshold=7"], "threshold = 7 must lie between 0 and 1"),
        (["evaluate", "none.jsonl", "--seed", "-1"], 'invalid value "-1" for --seed. Must be >= 0'),
        (["answer", "Q?", "--model", "m", "--seed", "-1"], 'invalid value "-1" for --seed. Must be >= 0'),
        (["train", "--out", "x", "--data-field", "y"], "unknown option 'data_field' (see polymode train --help)"),
        (["evaluate", "a.jsonl", "b.jsonl"], "unexpected argument 'b.jsonl' (see polymode evaluate --help)"),
        (["doctor", "--all"], "unknown option: --all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_user_error_is_one_line_and_exit_code_2(
    args: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *args)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind that would be in the way of the corrected command


def test_an_unknown_key_of_a_recipe_is_named_with_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("method: multi-rlvr\nlearning_rat: 1e-5\n", encoding="utf-8")
    said = refused(capsys, "train", recipe, "--out", tmp_path / "run")
    assert f"recipe {recipe}: unknown option 'learning_rat'; did you mean learning_rate" in said


def test_flags_change_the_recipe_and_old_names_in_it_are_warned_of_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from polymode.training import rl

    recipes: list[Recipe] = []
    monkeypatch.setattr(rl, "train", lambda recipe, out, *, resume: recipes.append(recipe) or out)
    path = tmp_path / "mine.yaml"
    path.write_text("k: 5\nsteps: 7\ntrl: {num_iterations: 2}\n", encoding="utf-8")
    args = [
        "train",
        str(path),
        "--out",
        "x",
        "--k",
        "3",
        "--trl",
        "top_k=9",
        "--learning-rate",
        "1e-5",
        "--dtype",
        "bfloat16",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("default", FutureWarning)
        assert main(args) == 0
    shown = capsys.readouterr()
    assert shown.err == f"warning: recipe {path}: options have new names, rename them: steps -> max_steps\n"
    expected = Recipe(k=3, max_steps=7, trl={"num_iterations": 2, "top_k": 9}, learning_rate=1e-5, dtype="bfloat16")
    assert recipes == [expected]


def test_the_recipe_may_stand_behind_the_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("k: 99\n", encoding="utf-8")
    assert f"recipe {recipe}: k = 99 is not allowed" in refused(capsys, "train", "--out", tmp_path / "run", recipe)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"references": None}, "references = None is not allowed: give a list"),
        ({"references": [None]}, "references: None is not a reference; it is missing"),
        ({"references": ["flu", " "]}, "references: empty text in ' '"),
        ({"references": ["flu", "the flu"]}, "'flu' and 'the flu' are the same answer; write them as one reference"),
        ({"references": [{"text": "flu", "weight": float("nan")}]}, "weight nan of 'flu' must be a number from 0 to 1"),
        ({"distribution": {"flu": float("nan")}}, "distribution, flu = nan is not allowed: give a finite number"),
        ({"p_correct": {"flu": 2}}, "p_correct, flu = 2 is not allowed: give 1 or less"),
        ({"confidence": float("nan")}, "confidence = nan is not allowed: give true or false"),
        ({"completion": None}, "completion = None is not allowed: give a text"),
        ({"k": 0}, "k = 0 is not allowed: answers asked for must be a whole number from 1 to 20"),
        ({"k": None}, 'k is missing: add "k", the number of answers asked for, or give it as an option (--k)'),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_field(
    change: dict[str, object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "completions.jsonl", LINE, {**LINE, **change})
    line = refused(capsys, "evaluate", path)
    assert f"{path}, line 2: " in line and said in line
    assert not (tmp_path / "metrics.json").exists()


def test_a_run_folder_that_exists_needs_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"config": {}}', encoding="utf-8")
    for args in (["generate", "--model", "m"], ["reproduce", "quick"]):
        said = refused(capsys, *args, "--out", tmp_path)
        assert "exists already: pass --resume to go on, or choose another --out" in said


# --- evaluate --------------------------------------------------------------------------------------------------------


def test_evaluate_prints_the_table_and_writes_beside_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(tmp_path / "completions.jsonl", LINE, {**LINE, "references": ["rash"]})
    assert main(["evaluate", str(tmp_path), "--n-boot", "50"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("2 sets of 2, 2 questions, 2 completions\n")
    assert shown.endswith(f"metrics: {tmp_path / 'metrics.json'}\n")
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["coverage"]["value"] == 0.5  # (1 + 0) / 2
    assert len((tmp_path / "judged.jsonl").read_text().splitlines()) == 2


def test_a_model_that_states_nan_is_measured_without_it_and_told_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "<answer>flu</answer><confidence>nan</confidence>"
    path = write_lines(tmp_path / "mine.jsonl", {"completion": text, "references": ["flu"], "k": 1})
    assert main(["evaluate", str(path), "--out", str(tmp_path / "out"), "--n-boot", "0"]) == 0
    shown = capsys.readouterr().out
    assert "(1 partial)" in shown
    assert "\n  a confidence that is no plain decimal from 0 to 1: 1 partial, first id '1' sample 0 (" in shown
    view = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert view["view"]["statuses"]["partial"] == 1
    assert view["metrics"]["coverage"]["value"] == 1
    assert view["metrics"]["brier"]["value"] is None  # undefined, not 0


def test_options_say_what_the_lines_do_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": "a", "completion": f"<answer>{name}</answer>", "references": ["flu", "gout"]} for name in ("flu", "gout")
    ]
    path = write_lines(tmp_path / "samples.jsonl", *rows)
    assert "k is missing" in refused(capsys, "evaluate", path)
    options = ["--k", "1", "--confidence", "no", "--pool", "2", "--n-boot", "0"]
    assert main(["evaluate", str(path), *options]) == 0
    assert capsys.readouterr().out.startswith("1 pools of 2 single answers, 1 questions, 2 completions\n")
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["coverage"]["value"] == 2


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "trl", "datasets", "matplotlib"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
from polymode.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_evaluate_needs_no_torch(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "completions.jsonl", LINE)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, "evaluate", str(path), "--n-boot", "10"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "coverage" in done.stdout


def test_without_torch_generating_says_what_to_install(tmp_path: Path) -> None:
    args = ["generate", "--model", "m", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", BLOCKED, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("which is not installed: pip install 'polymode[train]'\n")
    assert not (tmp_path / "run").exists()


def test_evaluate_with_another_verifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("math_verify", reason="the extra `math` is not installed")
    text = "<answer1>-√2</answer1><answer2>2^(1/2)</answer2>"
    path = write_lines(tmp_path / "c.jsonl", {**LINE, "completion": text, "references": ["\\sqrt{2}", "-\\sqrt{2}"]})
    assert "are the same answer" in refused(capsys, "evaluate", path)  # as text they are
    assert main(["evaluate", str(path), "--verifier", "symbolic", "--verifier-options", "workers=1"]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["coverage"]["value"] == 2


def test_answers_that_no_judge_could_judge_are_counted_and_the_evaluation_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from polymode import endpoint

    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    other = {**LINE, "completion": "<answer1>flu</answer1><answer2>gout</answer2>"}
    path = write_lines(tmp_path / "completions.jsonl", LINE, LINE, other)
    options = ["--verifier-options", "base_url=http://127.0.0.1:9/v1", "model=m"]  # nobody listens on port 9
    assert main(["evaluate", str(path), "--verifier", "judge", *options, "--n-boot", "10"]) == 0
    assert capsys.readouterr().out.startswith("1 sets of 2, 3 questions, 3 completions, 2 unscored\n")
    rows = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text().splitlines()]
    assert [row["verdicts"] for row in rows] == [["correct", "unscored"]] * 2 + [["correct", "correct"]]
    assert "answer 2: http://127.0.0.1:9/v1/chat/completions: " in rows[0]["faults"][0]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["view"]["n_unscored"] == metrics["metrics"]["coverage"]["n_unscored"] == 2


def test_without_bubblewrap_programs_run_only_with_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    line = {"completion": "<answer>def f(n): return n * n</answer>", "k": 1}
    path = write_lines(tmp_path / "completions.jsonl", {**line, "references": ['{"asserts": ["assert f(3) == 9"]}']})
    args = ["evaluate", str(path), "--verifier", "programs", "--verifier-options", "workers=1", "--n-boot", "0"]
    said = refused(capsys, *args)
    assert "programs cannot be run safely here: " in said and "--unsafe-local (in Python unsafe_local=True)" in said
    assert main([*args, "--unsafe-local"]) == 0
    capsys.readouterr()
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["coverage"]["value"] == 1
    assert "--unsafe-local" in refused(capsys, *args)  # what one command allowed, the next does not


@pytest.mark.parametrize("args", [["tasks"], ["tasks", "--unsafe-local"]])
def test_the_flag_reaches_what_a_command_starts(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[str | None] = []

    def record(options: Tasks) -> int:
        values.append(os.environ.get(UNSAFE_LOCAL))
        return 0

    monkeypatch.setattr("polymode.cli.tasks.run_tasks", record)
    assert main(args) == 0
    assert values == ["1" if "--unsafe-local" in args else None]
    assert UNSAFE_LOCAL not in os.environ


@pytest.mark.parametrize("verb", ["reproduce", "train", "generate", "evaluate", "compare", "tasks"])
def test_every_command_that_may_run_programs_has_the_flag(verb: str) -> None:
    assert issubclass(options_class(verb), ProgramOptions)


def test_what_judges_a_file_that_names_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.jsonl"
    write_lines(file, {"completion": "<answer>tea</answer>", "references": ["tea"], "k": 1})
    assert main(["evaluate", str(file), "--n-boot", "0"]) == 0
    said = f"verifier: text equality ({file} names none; choose one with --verifier)\n"
    assert said in capsys.readouterr().out


def test_a_generated_folder_is_judged_by_its_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mbpp.jsonl").touch()
    run = tmp_path / "run"
    task_options = {"workers": 1, "distinct": "behaviour"}
    runs.create(run, Generate(model="m", out=run, task="mbpp", data=tmp_path / "data", task_options=task_options))
    tests = '{"asserts": ["assert f(3) == 9"], "inputs": ["f(-2)"]}'
    text = "<answer1>def f(n): return n * n</answer1><answer2>def f(n): return n ** 2</answer2>"
    write_lines(run / "completions.jsonl", {"completion": text, "references": [tests], "k": 2})
    args = ["evaluate", str(run), "--n-boot", "0"]
    assert main([*args, "--unsafe-local"]) == 0
    assert f"judged as {run / 'completions.jsonl'} says: programs\n" in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())["metrics"]
    assert metrics["coverage"]["value"] == 1  # both are right and do the same, which the kept option makes a repeat

    assert main([*args, "--verifier", "text"]) == 0  # what is named wins
    assert "judged as" not in capsys.readouterr().out
    assert json.loads((run / "metrics.json").read_text())["metrics"]["coverage"]["value"] == 0
    (tmp_path / "data" / "mbpp.jsonl").unlink()
    said = refused(capsys, *args)
    assert "its task 'mbpp' says what is right and cannot be opened" in said and "--verifier programs" in said
    assert main([*args, "--verifier", "programs", "--unsafe-local"]) == 0  # needs the references only


# --- compare ---------------------------------------------------------------------------------------------------------


def test_compare_prints_the_tables_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, answer in (("a", "gout"), ("b", "cold")):
        (tmp_path / name).mkdir()
        text = f"<answer1>flu</answer1><answer2>{answer}</answer2>"
        rows = [{**LINE, "id": id_, "completion": text, "references": found} for id_, found in (
            ("q1", ["flu", "gout"]), ("q2", ["flu", "rash"]),
        )]  # fmt: skip
        write_lines(tmp_path / name / "completions.jsonl", *rows)
        assert main(["evaluate", str(tmp_path / name), "--n-boot", "0"]) == 0
    capsys.readouterr()
    args = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    assert main([*args, "--against", "b", "--n-boot", "100"]) == 0
    shown = capsys.readouterr().out
    # Found: a 2 and 1, b 1 and 1. The difference of q1 is 1, of q2 0; by Student's t two questions say next to nothing.
    assert "minus b             coverage" in shown and "a        +0.50 [\N{MINUS SIGN}2.00, 2.00]" in shown, shown
    assert shown.endswith(f"excludes 0\nreport: {tmp_path / 'out' / 'report.html'}\n")
    assert "--against b" in (tmp_path / "out" / "report.html").read_text()
    assert "--against 'c' is no column: use one of a, b" in refused(capsys, *args, "--against", "c")


# --- tasks, doctor, the module ---------------------------------------------------------------------------------------


def test_tasks_lists_all_and_shows_one(capsys: pytest.CaptureFixture[str]) -> None:
    from polymode.tasks import TASKS

    assert main(["tasks"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(TASKS)
    assert main(["tasks", "clinic-diagnosis", "--n", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("reference: ") == 1 and "demonstration: <think>" in shown


def test_tasks_shows_how_records_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "q.jsonl", *[{"question": f"Q{i}?", "references": [["a", "b"]]} for i in range(20)])
    assert main(["tasks", "records", "--data", str(path), "--n", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("questions: train ") and "here are some of train" in shown
    assert "  reference: a = b\n" in shown


def test_task_options_reach_the_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "q.jsonl", *[{"prompt": f"Q{i}?", "references": ["a"]} for i in range(20)])
    args = ["tasks", "records", "--data", str(path), "--n", "1"]
    assert main([*args, "--task-options", "question_field=prompt", "test=0.5"]) == 0
    assert "  reference: a\n" in capsys.readouterr().out


def test_python_m_polymode_is_the_command_and_survives_a_closed_pipe() -> None:
    done = subprocess.run([sys.executable, "-m", "polymode", "nonsense"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 'nonsense' is not a command")
    pipe = f"{sys.executable} -m polymode doctor | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141) and "Traceback" not in done.stderr


# --- generate --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of the lab's kind with the clinic's words."""
    from polymode.tasks.lab.clinic import Clinic
    from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer

    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(Clinic().vocabulary())
    build_model(tokenizer, LabModelSize(hidden=16, layers=1, heads=2, intermediate=32), seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_generate_then_evaluate(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    args = ["generate", "--model", tiny_model, "--out", run, "--n", 3, "--samples", 2, "--max-tokens", 8]
    assert main(list(map(str, args))) == 0
    assert f"completions: {run / 'completions.jsonl'}\n" in capsys.readouterr().out
    rows = [json.loads(line) for line in (run / "completions.jsonl").read_text().splitlines()]
    assert [(row["id"], row["sample"]) for row in rows] == [(f"clinic-test-0-{i}", s) for i in range(3) for s in (0, 1)]
    assert all(row["k"] == 3 and row["confidence"] and 1 <= row["n_tokens"] <= 8 for row in rows)
    assert main(["evaluate", str(run), "--n-boot", "10"]) == 0
    assert "6 sets of 3, 3 questions, 6 completions" in capsys.readouterr().out

    assert "exists already" in refused(capsys, *args)
    before = (run / "completions.jsonl").read_bytes()
    assert main(list(map(str, [*args, "--resume", "--batch", 2, "--unsafe-local"]))) == 0  # may change
    assert "(already complete)" in capsys.readouterr().out and (run / "completions.jsonl").read_bytes() == before
    assert "k = 2 differs from the run folder's 3" in refused(capsys, *args, "--resume", "--k", 2)
    thinking = ["--chat-template", "enable_thinking=false"]
    assert "chat_template = {'enable_thinking': False} differs" in refused(capsys, *args, "--resume", *thinking)
    config = json.loads((run / "config.json").read_text())
    del config["config"]["chat_template"]  # a folder that is older than the option
    (run / "config.json").write_text(json.dumps(config))
    assert main(list(map(str, [*args, "--resume"]))) == 0


def test_a_folder_without_a_model_is_refused_before_a_run_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    said = refused(capsys, "generate", "--model", tmp_path / "empty", "--out", tmp_path / "run")
    assert f"model = '{tmp_path / 'empty'}' has no config.json: copy it there" in said
    assert not (tmp_path / "run").exists()


# --- calibrate, answer -----------------------------------------------------------------------------------------------


def judged_folder(folder: Path, n: int = 60) -> Path:
    """A judged run: the first answer is right, stated with 0.9, the second is wrong, stated with 0.1."""
    text = "<answer1>flu</answer1><confidence1>0.9</confidence1><answer2>cold</answer2><confidence2>0.1</confidence2>"
    folder.mkdir()
    rows = [{"id": str(i), "completion": text, "references": ["flu"], "k": 2, "confidence": True} for i in range(n)]
    write_lines(folder / "completions.jsonl", *rows)
    assert main(["evaluate", str(folder), "--n-boot", "0"]) == 0
    return folder


def test_calibrate_writes_a_policy_and_says_what_it_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = judged_folder(tmp_path / "run")
    capsys.readouterr()
    assert main(["calibrate", str(run), "--target", "answer", "--abstain-below", "0.3"]) == 0
    # 60 - round(0.3 * 60) = 42 are tested; 0 of 42: 1 - 0.05^(1 / 42) = 6.9%.
    assert capsys.readouterr().out == (
        "60 questions, sets of 2\n"
        "warning: some lines have no fingerprint of their question, so repeats under other ids count as further "
        "questions, and delta does not hold if there are any: give the completions their field question, and judge "
        "again with polymode evaluate\n"
        "answer_at = 0.9: 42 of 42 tested questions (100.0%) get ANSWER, 0 of them (0.0%) without anything right, "
        "upper limit 6.9%\n"
        "  With probability at least 0.95 over the draw of the calibration records, at most 0.1 of the questions that "
        "get ANSWER are answered wrongly.\n"
        "note: the run folder does not record what made the completions, so answer and serve will claim no guarantee: "
        "generate again, or name the model with --model\n"
        f"policy: {run / 'policy.json'}\n"
    )
    policy = json.loads((run / "policy.json").read_text())
    assert (policy["answer_at"], policy["abstain_below"], policy["k"]) == (0.9, 0.3, 2)
    assert len(policy["guarantees"][0]["fingerprint"]) == 64 and policy["guarantees"][0]["date"].startswith("20")
    conformal = ["--target", "conformal", "--design-share", "0.5", "--out", str(tmp_path / "p.json")]
    assert main(["calibrate", str(run / "judged.jsonl"), *conformal]) == 0
    assert json.loads((tmp_path / "p.json").read_text())["offer_at"] == 0.01


def grouped_folder(folder: Path, n: int = 240, wrong: int = 0, first: int = 0) -> Path:
    """Questions of two classes; one in ``wrong`` of the class low is answered wrongly with the same confidence."""
    text = "<answer>flu</answer><confidence>0.9</confidence>"
    folder.mkdir()
    rows = []
    for i in range(first, first + n):
        risk = "low" if i % 3 else "red flag"
        right = "flu" if risk != "low" or not wrong or i % wrong else "gout"
        meta = {"risk": risk, "ward": i % 2}
        question = f"{i}: {'fever ' * (i % 5)}{i * 7919}?"
        rows.append({"id": str(i), "question": question, "completion": text, "references": [right], "meta": meta})
    write_lines(folder / "completions.jsonl", *({**row, "k": 1, "confidence": True} for row in rows))
    assert main(["evaluate", str(folder), "--n-boot", "0"]) == 0
    return folder


def test_groups_have_their_own_alpha_and_a_policy_is_checked_on_new_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = grouped_folder(tmp_path / "run"), tmp_path / "policy.json"
    capsys.readouterr()
    own = ["--target", "answer", "--by", "risk", "--groups", "red flag:alpha=0.01", "low:alpha=0.08"]
    stated = ["--model", "m", "--backend", "openai", "--backend-options", "base_url=http://localhost:1/v1"]
    stated += ["--style", "full", "--task", "records"]
    assert main(["calibrate", str(run), *own, *stated, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    # 80 questions of red flag: no failure among 56 proves no 0.01. 160 of low: 112 are tested, with all of delta.
    assert "low: answer_at = 0.9: 112 of 112 tested questions (100.0%) get ANSWER" in printed
    assert "risk = red flag: not promised: records: 80 are too few, alpha = 0.01" in printed
    assert "every question with risk = red flag is escalated" in printed and "note: the run" not in printed
    policy = runs.read_policy(out)
    assert [(name, one.alpha, one.delta) for name, one in policy.promises] == [("low", 0.08, 0.05)]
    assert policy.conditions is not None and policy.conditions.model == "m at http://localhost:1/v1"
    assert policy.conditions.questions is not None and policy.conditions.questions.n == 240
    assert policy.conditions.verifier == {"name": "text", "options": {}} and policy.conditions.k == 1
    same = grouped_folder(tmp_path / "same")
    assert main(["calibrate", str(same), "--check", str(out), *stated]) == 2
    assert "is what the policy was calibrated on" in capsys.readouterr().err
    judged = same / "judged.jsonl"
    judged.write_text(judged.read_text(encoding="utf-8") + "\n", encoding="utf-8")  # another file, the same questions
    assert main(["calibrate", str(same), "--check", str(out), *stated]) == 2
    assert "the policy was calibrated on all of its 240 questions" in capsys.readouterr().err
    assert len(policy.known_questions) == 240
    good = grouped_folder(tmp_path / "new", n=330, first=210)
    bad = grouped_folder(tmp_path / "bad", n=300, wrong=4, first=300)
    capsys.readouterr()
    assert main(["calibrate", str(good), "--check", str(out), *stated]) == 0
    printed = capsys.readouterr().out
    assert "330 questions, sets of 1" in printed and "30 questions left out: the policy was calibrated on" in printed
    assert "low, answer, at most 0.08: 0 of 200 shown (200 new questions)" in printed and "it holds" in printed
    assert "not of what the policy was calibrated on" not in printed
    assert main(["calibrate", str(bad), "--check", str(out)]) == 1
    printed = capsys.readouterr().out
    assert "IT IS BROKEN" in printed and "it is not known how the model is run here" in printed


def test_a_policy_knows_what_it_was_fitted_on_from_generation_to_answer(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from polymode.generate import transformers
    from polymode.generate.scripted import ScriptedGenerator

    text = "<answer>flu</answer><confidence>0.9</confidence>"

    class Scripted(ScriptedGenerator):
        def __init__(self, model: str, *, chat: object = None, dtype: str = "auto") -> None:
            super().__init__([text])

    monkeypatch.setattr(transformers, "TransformersGenerator", Scripted)
    rows = [{"question": f"Fever, case {1000 + 7 * i}?", "references": ["flu"], "risk": "low"} for i in range(60)]
    write_lines(tmp_path / "data.jsonl", *rows)
    task = ["--task", "records", "--data", str(tmp_path / "data.jsonl"), "--style", "full"]
    model, run = shutil.copytree(tiny_model, tmp_path / "model"), tmp_path / "run"
    split = ["--task-options", "validation=0", "test=0", "--split", "train"]
    asked = ["generate", "--model", str(model), *task, *split, "--k", "1", "--n", "60", "--out", str(run)]
    assert main(asked) == main(["evaluate", str(run), "--n-boot", "0"]) == 0
    assert main(["calibrate", str(run), "--target", "answer", "--by", "risk"]) == 0
    printed = capsys.readouterr().out
    assert "low: answer_at = 0.9" in printed
    [note] = [line for line in printed.splitlines() if line.startswith("note:")]
    assert note.startswith("note: there is no input check, which needs the texts of")  # these are 60
    policy = runs.read_policy(run / "policy.json")
    assert policy.conditions is not None and len(policy.conditions.fingerprint) == 16
    ask = ["answer", "Fever, case 1234?", "--model", str(model), "--policy", str(run / "policy.json"), "--risk", "low"]
    assert main([*ask, *task]) == 0
    assert "\nguarantee: With probability at least 0.95" in capsys.readouterr().out
    for change, said in (
        ([*task, "--temperature", "0.5"], "the temperature is 0.5 instead of 1"),
        (["--style", "full"], "the task is clinic instead of records"),
        ([*task, "--exclusive"], ""),  # with one answer the prompt is the same
        ([*task, "--system", "Be brief."], "the system prompt, examples or chat template is another"),
        ([*task, "--backend-options", "dtype=float32"], "the sampling is {'dtype': 'float32'} instead of {}"),
        ([*task, "--dtype", "float32"], "the sampling is {'dtype': 'float32'} instead of {}"),
    ):
        assert main([*ask, *change]) == 0
        printed = capsys.readouterr().out
        assert f"no guarantee: {said}" in printed if said else "\nguarantee:" in printed
    (model / "config.json").write_text((model / "config.json").read_text() + " ", encoding="utf-8")
    assert main([*ask, *task]) == 0
    assert f"no guarantee: the model is {model} (" in capsys.readouterr().out


def test_options_of_groups_that_make_no_sense_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = grouped_folder(tmp_path / "run")
    capsys.readouterr()
    for given, said in (
        (["--groups", "low:alpha=0.1"], "--groups needs --by"),
        (["--by", "risk", "--groups", "low=0.1"], "write GROUP:NAME=VALUE"),
        (["--by", "risk", "--groups", "low:beta=0.1"], "groups, low: option = 'beta' is not known"),
        (["--by", "risk", "--groups", "low:alpha=2"], "groups, low: alpha = 2 is not allowed"),
        (["--by", "risk", "--groups", "low:alpha=x"], "groups, low: alpha = 'x' is not allowed"),
        (["--by", "risk", "--groups", "none:alpha=0.1"], "no record has risk = 'none'; they have low, red flag"),
        (["--by", "room"], "by = 'room': question '0' has no such field in meta; it has risk, ward"),
        (["--by", "risk", "--correction", "holm"], "correction = 'holm' is not known: use one of bonferroni, fixed-se"),
        (["--check", str(run), "--alpha", "0.1"], "--alpha does not go with --check"),
    ):
        assert said in refused(capsys, "calibrate", run, *given)


def test_a_calibration_that_is_refused_leaves_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = judged_folder(tmp_path / "run", n=40)
    capsys.readouterr()
    assert "records: 40 are too few" in refused(capsys, "calibrate", run)
    assert not (run / "policy.json").exists()


def test_answer_shows_a_table_and_decides_by_the_policy(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from polymode.generate import transformers
    from polymode.generate.scripted import ScriptedGenerator

    text = (
        "<answer1>flu</answer1><confidence1>0.55</confidence1><answer2>covid</answer2><confidence2>0.35</confidence2>"
    )
    monkeypatch.setattr(transformers, "TransformersGenerator", lambda *_, **__: ScriptedGenerator([text]))
    policy = tmp_path / "policy.json"
    policy.write_text('{"answer_at": 0.5, "offer_at": 0.8, "k": 2}', encoding="utf-8")
    ask = ["answer", "Fever?", "--model", str(tiny_model)]
    assert main([*ask, "--policy", str(policy)]) == 0
    assert capsys.readouterr().out == (
        "> 1  flu    0.55  ███████████\n"
        "  2  covid  0.35  ███████\n"
        "\n"
        "decision: ANSWER: flu\n"
        "reason: The most confident answer has a confidence of 0.55, at least the 0.5 required for a single answer.\n"
        "confidence: the probability that the answer is one of the conditions to consider\n"
    )
    assert main([*ask, "--policy", str(policy), "--risk", "high", "--show-text"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{text}\n\n> 1  flu") and "\ndecision: OFFER_SET: flu; covid\n" in shown
    assert main([*ask, "--k", "2"]) == 0
    assert "\n\ndecision: none, as no --policy was given\nconfidence: the prob" in capsys.readouterr().out
    assert "--k 3 does not suit the policy, which was calibrated with k = 2" in refused(
        capsys, *ask, "--policy", policy, "--k", "3"
    )
    policy.write_text('{"answer_at": 0.5, "k": 2', encoding="utf-8")
    assert f"policy {policy}: not valid JSON" in refused(capsys, *ask, "--policy", policy)
    policy.write_text('{"answer_at": 5}', encoding="utf-8")
    assert f"policy {policy}: answer_at = 5 is not allowed" in refused(capsys, *ask, "--policy", policy)


def test_an_untrained_model_is_escalated(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"answer_at": 0.5}', encoding="utf-8")
    args = ["answer", "Fever?", "--model", str(tiny_model), "--policy", str(policy), "--max-tokens", "8"]
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("no usable answer (truncated): ")
    assert "\ndecision: ESCALATE\nreason: The completion cannot be used: " in shown


def test_what_a_model_writes_cannot_steer_the_terminal() -> None:
    from polymode.cli.answer import render
    from polymode.policy import Policy, decide
    from polymode.types import Answer, AnswerSet, ParseStatus, Span

    evil = "\x1b[2Jflu\nANSWER \u202e" + "x" * 200
    answers = AnswerSet(ParseStatus.CLEAN, (Answer(evil, Span(0, len(evil)), 0.5),), 1, True)
    policy = Policy(answer_at=0.5)
    shown = render(answers, decide(answers, policy), policy, width=60, block="#")
    assert "\x1b" not in shown and "\u202e" not in shown
    table, _, decision, reason = shown.split("\n")
    assert table == "> 1  [2Jflu ANSWER xxxxxxxxxx...  0.50  ##########" and len(decision) <= 60 and reason


@pytest.mark.parametrize(
    ("args", "meaning"),
    [
        ([], "is one of the conditions to consider"),  # the lab's own prompt, so the lab's questions
        (["--style", "full"], "is correct"),
        (["--style", "full", "--exclusive"], "is the one right answer"),
        (["--style", "full", "--task", "ambigqa"], "is right in one of the question's readings"),
        (["--style", "full", "--meaning", "is a metal"], "is a metal"),
    ],
)
def test_what_a_confidence_means_is_not_taken_from_a_task_that_nobody_named(args: list[str], meaning: str) -> None:
    options = parse("answer", "Name a metal.", "--model", "m", *args)
    assert options.meaning_of_confidences() == meaning
