"""The experiments with pretrained models: their arms as data, and all of them on a tiny chat model, end to end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode import runs
from polymode.cli import main
from polymode.compare.columns import find_runs
from polymode.errors import ConfigError
from polymode.reproduce import devices, run, worker
from polymode.reproduce.paper import PAPER, PAPERS, SMOLLM2, SMOLLM2_PRESETS
from polymode.reproduce.plans import Arm, Plan, View, plans
from polymode.reproduce.run import Launch, reproduce
from polymode.rewards import METHODS
from polymode.tasks import open_task
from polymode.training.lab_model import build_model, build_tokenizer
from polymode.training.recipe_file import load_recipe
from polymode.types import Completion

from ..training.conftest import CHAT_TEMPLATE, SMALL, Drinks
from .finished import Finished

QWEN = {"task": "ddxplus", "model": "Qwen/Qwen3-8B"}
OTHER = {"task": "list-questions", "model": "tiny"}

# --- plans -----------------------------------------------------------------------------------------------------------


def arms_of(plan: Plan) -> dict[str, Arm]:
    return {str(arm.folder): arm for arm in plan.arms}


def test_the_arms_of_the_paper() -> None:
    (plan,) = plans("paper", None, {**OTHER, "seeds": 2, "steps": 7, "questions": 50})
    arms = arms_of(plan)
    trained = ("single-rlvr", "single-rlcr", "multi-rlvr-k3", "multi-rlcr-k3")
    assert list(arms) == [
        *("untrained/seed-0", "warm-up/seed-0", "distilled/seed-0"),
        *(f"{name}/seed-{seed}" for seed in (0, 1) for name in trained),
    ]
    assert (plan.questions, plan.deep_questions, plan.deep_answers, plan.k) == (50, 50, 30, 3)
    assert not arms["untrained/seed-0"].is_trained and arms["untrained/seed-0"].starts_from is None
    assert [view.name for view in arms["warm-up/seed-0"].views] == ["samples", "prompted"]
    assert arms["distilled/seed-0"].views == (View("set", 3, 1, True),)
    start = Path("warm-up/seed-0")
    assert {arm.starts_from for name, arm in arms.items() if not name.startswith(("untrained", "warm-up"))} == {start}
    assert {arm.recipe.max_steps for arm in plan.arms} == {7}
    assert {arm.recipe.method for arm in plan.arms} == set(METHODS)


def test_distillation_reads_the_models_own_samples_in_its_own_format() -> None:
    (plan,) = plans("paper", None, {**OTHER, "warmup_options": {"samples": 9}})
    distilled, warmup = (arms_of(plan)[f"{name}/seed-0"].supervised for name in ("distilled", "warm-up"))
    assert distilled is not None and warmup is not None
    assert (distilled.demonstrations, distilled.sample_prompt, distilled.samples) == ("self", "format", 9)
    assert (warmup.demonstrations, warmup.methods, distilled.methods) == ("task", tuple(METHODS), ("multi-rlcr",))
    assert distilled.references == "none"


def test_the_papers_model_needs_no_warm_up() -> None:
    (plan,) = plans("paper", None, QWEN)
    assert "warm-up" not in {arm.name for arm in plan.arms}
    assert {arm.starts_from for arm in plan.arms} == {None}
    distilled = arms_of(plan)["distilled/seed-0"].supervised
    assert distilled is not None and distilled.sample_prompt == "plain"
    (warmed,) = plans("paper", None, {**QWEN, "warmup": "self"})
    assert arms_of(warmed)["multi-rlcr-k3/seed-0"].starts_from == Path("warm-up/seed-0")
    (asked,) = plans("paper", None, {"task": "hotpotqa", "model": "other"})  # a task without demonstrations
    own = arms_of(asked)["warm-up/seed-0"].supervised
    assert own is not None and own.demonstrations == "self"


def test_adapters_take_ten_times_the_rate() -> None:
    (plan,) = plans("paper", None, {**OTHER, "lora": {"r": 4}})
    arm, before = (arms_of(plan)[f"{name}/seed-0"] for name in ("multi-rlcr-k3", "warm-up"))
    assert before.supervised is not None
    assert (arm.recipe.learning_rate, arm.recipe.lora) == (pytest.approx(1e-5), {"r": 4})
    assert (before.supervised.learning_rate, before.supervised.lora) == (pytest.approx(2e-4), {"r": 4})
    (own,) = plans("paper", None, {**OTHER, "lora": {"r": 4}, "recipe_options": {"learning_rate": 3e-6, "k": 5}})
    assert (own.arms[-1].recipe.learning_rate, own.arms[-1].name, own.k) == (3e-6, "multi-rlcr-k5", 5)


@pytest.mark.parametrize("task", ["ddxplus", "hotpotqa", "mbpp"])
def test_the_paper_plans_have_the_hyperparameters_of_the_recipe_files(root: Path, task: str) -> None:
    file = load_recipe(root / "recipes" / f"qwen3-8b-{task}-multi-rlcr.yaml")
    machine = {"use_vllm": False, "dtype": "auto", "seed": 0, "model": None, "trl": {}}
    assert replace(file, **machine) == PAPERS[task]
    assert PAPERS["ambigqa"] == replace(PAPER, task="ambigqa")


def test_the_recipe_file_of_smollm2_is_the_recipe_of_its_experiment(root: Path) -> None:
    file = load_recipe(root / "recipes" / "smollm2-list-questions.yaml")
    assert file == replace(SMOLLM2, model="HuggingFaceTB/SmolLM2-135M-Instruct")


def test_smollm2_runs_three_tasks_in_lines(tmp_path: Path) -> None:
    (tmp_path / "ddxplus").mkdir()
    every = plans("smollm2", tmp_path, {"model": "folder"})
    assert [plan.name for plan in every] == ["list-questions", "ddxplus", "ambigqa"]
    data = [{arm.recipe.data for arm in plan.arms} for plan in every]
    assert data == [{None}, {tmp_path / "ddxplus"}, {tmp_path}]
    demonstrations = [arms_of(plan)["warm-up/seed-0"].supervised.demonstrations for plan in every]  # type: ignore[union-attr]
    assert demonstrations == ["task", "task", "task"]
    for plan in every:
        assert {arm.recipe.format for arm in plan.arms} == {"lines"}
        by_credit = {arm.recipe.method for arm in plan.arms if arm.recipe.credit == "expected"}
        assert by_credit == {"single-rlcr", "multi-rlcr"}  # the others have one term alone
    assert every[0].questions == len(open_task("list-questions", conditions=1).examples("test")) >= 300
    assert len(SMOLLM2_PRESETS) == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("paper", {}, "--task is missing"),
        ("paper", {"task": "ddxplus"}, "--model is missing"),
        ("paper", {**OTHER, "steps": 0}, "steps = 0"),
        ("paper", {**OTHER, "warmup": "none.jsonl"}, "warmup = 'none.jsonl' is no file"),
        ("paper", {**OTHER, "recipe_options": {"method": "multi-rlvr"}}, "'method', which the experiment sets"),
        ("paper", {**OTHER, "recipe_options": {"max_step": 3}}, "max_step"),
        ("paper", {**OTHER, "warmup_options": {"rate": 3}}, "warmup_options has 'rate'"),
        ("paper", {**OTHER, "warmup_options": {"samples": 0}}, "samples = 0"),
        ("paper", {"task": "mbpp", "model": "m", "format": "lines"}, "a line holds no program"),
        ("smollm2", {"task": "ddxplus"}, "use --only ddxplus"),
        ("quick", {"steps": 3, "dtype": "float32"}, "--steps, --dtype with the experiment quick"),
    ],
)
def test_what_does_not_go_together_is_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        plans(name, None, options)
    assert "\n" not in str(caught.value)


# --- devices ---------------------------------------------------------------------------------------------------------


def test_what_all_wait_for_has_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    launch = run.Launch("paper", workers=4)
    assert launch.environment(0)["OMP_NUM_THREADS"] == "2"
    assert launch.environment(0, is_awaited=True)["OMP_NUM_THREADS"] == "8"


def test_each_process_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5")
    assert devices.chosen("auto") == devices.chosen("cuda") == ("2", "GPU-5")
    own = [devices.environment("auto", ("2", "GPU-5"), slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)]
    assert own == ["2", "GPU-5", "2"]
    assert devices.chosen("cpu") == ()
    assert devices.environment("cpu", (), 0) == {"CUDA_VISIBLE_DEVICES": ""}
    assert devices.environment("auto", (), 0) == devices.environment(None, ("2",), 0) == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert devices.chosen("auto") == ()
    with pytest.raises(ConfigError, match="no NVIDIA GPU was found"):
        devices.chosen("cuda")


def test_gpus_are_those_that_nvidia_smi_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.gpus() == ("0", "1")
    tool.unlink()
    assert devices.gpus() == ()


# --- a miniature of all arms, end to end -----------------------------------------------------------------------------

ARMS = ("untrained", "warm-up", "distilled", "single-rlvr", "single-rlcr", "multi-rlvr-k2", "multi-rlcr-k2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny chat model that knows nothing, questions, and demonstrations of every format."""
    folder = tmp_path_factory.mktemp("world")
    task, rng = Drinks(), np.random.default_rng(0)
    tokenizer = build_tokenizer(task.vocabulary())
    tokenizer.chat_template = CHAT_TEMPLATE
    build_model(tokenizer, SMALL, seed=0).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    examples = task.examples("train")
    rows = [{"question": one.question, "references": [ref.text for ref in one.references]} for one in examples]
    (folder / "drinks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    demonstrations = [
        Completion(one, task.demonstrate(one, k, confidence=q, rng=rng), k, q, sample=4 * again + 2 * (k - 1) + q)
        for again in range(8)
        for one in examples
        for k in (1, 2)
        for q in (False, True)
    ]
    runs.write_completions(folder / "demonstrations", demonstrations)
    return folder


def options_of(world: Path) -> dict[str, Any]:
    return {
        "task": "records",
        "task_options": {"style": "brief", "validation": 0.2, "test": 0.4},
        "model": str(world / "model"),
        "warmup": str(world / "demonstrations" / "completions.jsonl"),
        "steps": 2,
        "questions": 6,
        "deep_questions": 2,
        "dtype": "float32",
        "recipe_options": {
            "k": 2,
            "questions_per_step": 2,
            "num_generations": 2,
            "device_batch": 4,
            "max_completion_length": 30,
            "save_steps": 1,
        },
        "warmup_options": {
            "steps": 100,
            "batch": 16,
            "device_batch": 16,
            "learning_rate": 1e-2,
            "questions": 8,
            "samples": 8,
            "check": 4,
        },
    }


@pytest.fixture(scope="module")
def started() -> list[str]:
    return []


@pytest.fixture(scope="module")
def patched(started: list[str]) -> Iterator[None]:
    def start(launch: Launch, plan: Plan, arm: Arm, root: Path, slot: int, **_: Any) -> Finished:
        started.append(arm.name)
        assert slot == 0
        (root / arm.folder).mkdir(parents=True, exist_ok=True)
        return Finished(worker.main(launch.job(plan, arm, root)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_start", start)
        patch.setattr(run, "_POLL_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def finished(world: Path, patched: None, started: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "paper"
    (report,) = reproduce("paper", out, data=world / "drinks.jsonl", workers=1, options=options_of(world))
    assert report == out / "report.html"
    assert started == list(ARMS)
    return out


def test_every_arm_is_measured_on_the_same_questions(finished: Path) -> None:
    paths = finished.glob("*/*/*/metrics.json")
    found = {f"{path.parent.parent.parent.name}/{path.parent.name}": path for path in paths}
    both = ("untrained", "warm-up", "single-rlvr", "single-rlcr")
    sets = ("distilled", "multi-rlvr-k2", "multi-rlcr-k2")
    of_both = {f"{arm}/{view}" for arm in both for view in ("samples", "prompted")}
    assert set(found) == of_both | {f"{arm}/set" for arm in sets}
    questions = set()
    for name, path in found.items():
        metrics = runs.read_metrics(path.parent)
        assert metrics.view["n_questions"] == 6 and metrics.pool == (2 if name.endswith("samples") else 1)
        assert {"unique_answers@30", "modal_share@30"} <= metrics.metrics.keys()
        questions.add(tuple(sorted({one.example.id for one in runs.read_completions(path.parent)})))
    assert len(questions) == 1


def test_warm_up_teaches_the_format_and_all_others_start_from_it(finished: Path, world: Path) -> None:
    summary = runs.read_json(finished / "warm-up/seed-0/warmup.json")
    assert summary["clean_before"] <= 0.25 and summary["clean_after"] >= 0.75
    warmed = str((finished / "warm-up/seed-0/model").resolve())
    models = {arm: runs.read_configuration(finished / arm / "seed-0").config["model"] for arm in ARMS[1:]}
    assert models == {"warm-up": str(world / "model"), **dict.fromkeys(ARMS[2:], warmed)}


def test_the_distilled_model_learnt_shares_of_its_own_samples(finished: Path) -> None:
    demonstrations = runs.read_completions(finished / "distilled/seed-0/demonstrations")
    assert {(one.k, one.has_confidence) for one in demonstrations} == {(2, True)}
    texts = [text for one in demonstrations for text in one.text.split("<confidence1>")[1:]]
    shares = {round(i / n, 2) for n in range(1, 9) for i in range(n + 1)}  # of eight samples, those in the format count
    assert texts and {float(text.split("<")[0]) for text in texts} <= shares


def test_page_and_table_show_every_arm(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    table = (finished / "table.md").read_text(encoding="utf-8")
    for label in (
        *("untrained, 2 samples", "untrained, asked for 2", "warm-up, 2 samples", "warm-up, asked for 2"),
        *("distilled, asked for 2", "single-rlvr, 2 samples", "multi-rlcr, one completion of 2"),
    ):
        assert label in page and label in table, label
    assert "polymode reproduce paper --task records" in page and "read off its figures" not in page + table
    assert "| modal_share@30 |" in table
    assert len(find_runs(finished)) == 11


def test_a_finished_experiment_goes_on_with_the_same_options_only(
    finished: Path, world: Path, started: list[str], tmp_path: Path
) -> None:
    data, options = world / "drinks.jsonl", options_of(world)
    before = len(started)
    reproduce("paper", finished, data=data, workers=1, options={**options, "device": "cpu"}, resume=True)
    assert len(started) == before
    with pytest.raises(ConfigError, match="steps = 3 differs from the experiment's 2"):
        reproduce("paper", finished, data=data, options={**options, "steps": 3}, resume=True)
    (finished / "single-rlvr/seed-0/prompted/metrics.json").unlink()
    reproduce("paper", finished, data=data, workers=1, options=options, resume=True, only="single-rlvr")
    assert started[before:] == ["single-rlvr"]


def test_an_experiment_begun_without_data_goes_on_with_them(tmp_path: Path) -> None:
    """As smollm2, whose list questions need none."""
    content = {"experiment": "smollm2", "data": None, "steps": 2}
    runs.create(tmp_path, content)
    run._check_same(tmp_path, {**content, "data": tmp_path})
    before = runs.read_json(tmp_path / runs.CONFIG)
    run._record_data(tmp_path, tmp_path / "mine")
    run._record_data(tmp_path, tmp_path / "other")
    after = runs.read_json(tmp_path / runs.CONFIG)
    assert after == {**before, "config": {**content, "data": str(tmp_path / "mine")}}
    with pytest.raises(ConfigError, match="other' differs from the experiment's"):
        run._check_same(tmp_path, {**content, "data": tmp_path / "other"})
    runs.create(tmp_path / "with", {**content, "data": tmp_path})
    with pytest.raises(ConfigError, match="data = None differs from the experiment's"):
        run._check_same(tmp_path / "with", content)


def test_numbers_of_the_paper_stand_beside_ours_for_its_model_alone(finished: Path, tmp_path: Path) -> None:
    from polymode.reproduce.published import beside_the_paper, markdown

    (plan,) = plans("paper", None, QWEN)
    for arm in ("single-rlvr/seed-0/samples", "multi-rlvr-k3/seed-0/set"):
        folder = tmp_path / arm
        folder.mkdir(parents=True)
        source = finished / arm.replace("-k3", "-k2") / "metrics.json"
        (folder / "metrics.json").write_bytes(source.read_bytes())
    rows = beside_the_paper(plan, tmp_path)
    assert {(row.metric, row.arm, row.paper) for row in rows} >= {
        ("coverage", "multi-rlvr, seed 0", 0.80),
        ("unique_references@30", "single-rlvr, seed 0", 0.812),
    }
    ours = runs.read_metrics(tmp_path / "multi-rlvr-k3/seed-0/set").metrics["coverage"].value
    assert f"| coverage | multi-rlvr, seed 0 | {ours:.3g} [" in markdown(rows)
    assert all(row.ours != "undefined" for row in rows if "unique" in row.metric)
    (other,) = plans("paper", None, {**QWEN, "model": "Qwen/Qwen3-0.6B"})
    assert beside_the_paper(other, tmp_path) == [] and markdown([]) == ""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_experiment_goes_on(world: Path, tmp_path: Path) -> None:
    """In processes as they are: the command is killed, its arm ends too, and the same command goes on."""
    out, options = tmp_path / "run", options_of(world)
    args = ["reproduce", "paper", "--task", "records", "--data", str(world / "drinks.jsonl"), "--out", str(out)]
    for name in ("model", "warmup", "steps", "questions", "dtype"):
        args += [f"--{name}", str(options[name])]
    args += ["--deep-questions", "2", "--only", "warm-up", "--device", "cpu", "--workers", "1"]
    for name in ("task_options", "recipe_options", "warmup_options"):
        args += [f"--{name.replace('_', '-')}", *(f"{key}={value}" for key, value in options[name].items())]
    process = subprocess.Popen(
        [sys.executable, "-m", "polymode", *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    losses = out / "warm-up/seed-0/metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (losses.exists() and losses.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    (arm,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "warm-up/seed-0/model").exists()
    deadline = time.monotonic() + 120
    while is_running(int(arm)):  # it looks once a second whether its parent is there
        assert time.monotonic() < deadline
        time.sleep(0.05)
    demonstrations = (out / "warm-up/seed-0/demonstrations/completions.jsonl").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_POLL_SECONDS", 0.1)
        assert main([*args, "--resume"]) == 0
    assert (out / "warm-up/seed-0/demonstrations/completions.jsonl").stat().st_mtime_ns == demonstrations
    assert "warm-up, asked for 2" in (out / "report.html").read_text(encoding="utf-8")


def test_without_data_a_part_is_left_out_and_alone_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    monkeypatch.setattr(run, "_run_plan", lambda launch, plan, arms, root: root)
    assert reproduce("smollm2", tmp_path / "a", options={"model": "m"}) == [tmp_path / "a" / "list-questions"]
    assert "ddxplus is left out: ddxplus: no data folder was given" in caplog.text
    with pytest.raises(FileNotFoundError, match="pass --data DIR"):
        reproduce("smollm2", tmp_path / "b", only="ambigqa", options={"model": "m"})
    assert not (tmp_path / "b").exists()


def test_an_arm_brings_the_one_that_it_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(run, "_run_plan", lambda launch, plan, arms, root: ran.append([arm.name for arm in arms]))
    reproduce("paper", tmp_path / "x", only="multi-rlcr-k3", options=OTHER)
    assert ran == [["warm-up", "multi-rlcr-k3"]]
    with pytest.raises(
        ConfigError, match="'multi' is not a part of paper: use one of paper-list-questions, list-questio"
    ):
        reproduce("paper", tmp_path / "y", only="multi", options=OTHER)
    assert os.listdir(tmp_path) == ["x"]


def test_when_the_warm_up_fails_the_arms_that_start_from_it_do_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[tuple[str, bool]] = []

    def fail(launch: Launch, plan: Plan, arm: Arm, root: Path, slot: int, *, is_awaited: bool) -> Finished:
        began.append((arm.name, is_awaited))
        (root / arm.folder).mkdir(parents=True)
        (root / arm.folder / "log.txt").write_text("error: no room\n")
        return Finished(1)

    monkeypatch.setattr(run, "_start", fail)
    monkeypatch.setattr(run, "_POLL_SECONDS", 0.0)
    with pytest.raises(run.ArmFailedError, match=r"2 of 7 arms failed, 5 start from them, first untrained/seed-0: err"):
        reproduce("paper", tmp_path / "x", workers=1, options=OTHER)
    assert began == [("untrained", False), ("warm-up", True)]


def test_a_part_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def fail(launch: Launch, plan: Plan, arms: object, root: Path) -> Path:
        ran.append(plan.name)
        raise run.ArmFailedError(f"{plan.name} failed")

    monkeypatch.setattr(run, "_run_plan", fail)
    monkeypatch.setattr(run, "_has_data", lambda plan, skip: True)
    with pytest.raises(run.ArmFailedError, match="list-questions failed"):
        reproduce("smollm2", tmp_path, options={"model": "m"})
    assert ran == ["list-questions", "ddxplus", "ambigqa"]
