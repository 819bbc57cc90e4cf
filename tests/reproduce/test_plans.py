"""The experiments as data, and a miniature of one from warm start to report, stopped and resumed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polymode.compare.columns import EQUAL_ANSWERS
from polymode.errors import ConfigError, RunExistsError
from polymode.reproduce import plans as plans_module
from polymode.reproduce import run as run_module
from polymode.reproduce import worker
from polymode.reproduce.plans import (
    CLINIC,
    DDXPLUS,
    DIAGNOSIS,
    HOPS,
    PLANS,
    PROGRAMS,
    Arm,
    Plan,
    View,
    arm,
    plans,
    untrained,
)
from polymode.reproduce.run import ArmFailedError, Launch, reproduce
from polymode.reproduce.temperatures import TEMPERATURES
from polymode.rewards import METHODS
from polymode.training.recipe import Recipe
from polymode.training.recipe_file import load_recipe

from .finished import Finished

# --- plans -----------------------------------------------------------------------------------------------------------


def test_a_multi_model_is_one_set_and_a_single_one_is_pooled_and_prompted() -> None:
    base = Recipe(k=2)
    multi = arm(base, "multi-rlcr", 4, k=5)
    assert (multi.name, str(multi.folder), multi.recipe.k) == ("multi-rlcr-k5", "multi-rlcr-k5/seed-4", 5)
    assert multi.views == (View("set", answers=5, pool=1, has_confidence=True),)
    single = arm(base, "single-rlvr", 0, prompted=True)
    assert str(single.folder) == "single-rlvr/seed-0"
    assert single.views == (View("samples", 1, 3, False), View("prompted", 3, 1, False))
    assert [view.name for view in arm(base, "single-rlcr", 0).views] == ["samples"]


@pytest.mark.parametrize("name", PLANS)
def test_the_arms_of_a_plan_differ_in_method_k_seed_and_credit_only(name: str) -> None:
    for plan in plans(name, Path("data")):
        folders = [arm.folder for arm in plan.arms]
        assert len(set(folders)) == len(folders)
        first = plan.arms[0].recipe
        for other in plan.arms:
            credit = ("credit", "confidence_credit", "replay")
            own = {name: getattr(first, name) for name in ("method", "k", "seed", *credit)}
            if name == "harder-lab":
                assert other.recipe.warm_start_seed == other.recipe.seed  # and one warm start for each seed
                own["warm_start_seed"] = first.warm_start_seed
            if other.name.endswith(EQUAL_ANSWERS):
                # As many graded answers as a multi-answer arm of K = 3 has in its completions.
                assert other.recipe.answers == 1 and other.recipe.max_steps == 3 * first.max_steps
                own["max_steps"] = first.max_steps
            same = replace(other.recipe, **own)
            assert same == first  # equal numbers of completions, one warm start
            assert all(view.answers * view.pool in (plan.k, other.recipe.k) for view in other.views)
        assert plan.questions >= 300 and plan.deep_answers == 30


def test_what_each_experiment_compares() -> None:
    (quick,) = plans("quick")
    assert [(a.name, a.recipe.method) for a in quick.arms] == [
        ("untrained", "multi-rlcr"),
        ("single-rlvr", "single-rlvr"),
        ("multi-rlcr-expected-k3", "multi-rlcr"),
    ]
    assert len({a.recipe.completions_per_step for a in quick.arms}) == 1
    lab = plans("lab")
    assert [plan.task for plan in lab] == ["clinic", "clinic-diagnosis", "hops", "programs"]
    for plan in lab:
        at_three = {(a.recipe.method, a.recipe.seed) for a in plan.arms if a.recipe.k == 3 and a.is_trained}
        assert at_three == {(method, seed) for method in METHODS for seed in range(3)}
    for plan, has_several in zip(lab, (True, False, False, False), strict=True):
        others = [(a.recipe.method, a.recipe.k) for a in plan.arms if a.recipe.k != 3]
        assert others == ([("multi-rlvr", 2), ("multi-rlvr", 4), ("multi-rlvr", 5)] if has_several else [])
    for plan in lab:
        longer = {(a.name, a.recipe.seed) for a in plan.arms if a.name.endswith(EQUAL_ANSWERS)}
        assert longer == {(f"{name}{EQUAL_ANSWERS}", seed) for name in METHODS if "single" in name for seed in range(3)}
        assert plan.temperatures == TEMPERATURES
    by_term = [(plan.task, str(a.folder)) for plan in lab for a in plan.arms if a.recipe.credit == "term"]
    one_answer = ("clinic-diagnosis", "hops")
    assert by_term == [(task, f"multi-rlcr-term-k3/seed-{seed}") for task in one_answer for seed in range(3)]
    assert [plan.groups_by for plan in lab] == [None, None, "answerable", None]
    harder = plans("harder-lab")
    assert [(plan.name, plan.task) for plan in harder] == [
        ("harder-clinic", "clinic"),
        ("harder-diagnosis", "clinic-diagnosis"),
        ("harder-hops", "hops"),
    ]
    for plan in harder:
        assert {a.recipe.warm_start_demonstrations for a in plan.arms} == {"uninformative"}
        ceilings = [a for a in plan.arms if a.ceiling is not None]
        assert [str(a.folder) for a in ceilings] == [f"ceiling-of-{a.starts_from}" for a in ceilings]
        assert len(ceilings) == 6 and all(a.starts_from in [b.folder for b in plan.arms] for a in ceilings)
    (ddxplus,) = plans("ddxplus", Path("somewhere"))
    assert {a.recipe.data for a in ddxplus.arms} == {Path("somewhere")}
    assert {a.recipe.method for a in ddxplus.arms} == set(METHODS)
    with pytest.raises(ConfigError, match="experiment 'slow' is not known: use one of quick, lab, harder-lab"):
        plans("slow")


def test_an_existing_folder_needs_resume(tmp_path: Path) -> None:
    (tmp_path / "anything").touch()
    with pytest.raises(RunExistsError, match="exists already: pass --resume to go on, or choose another --out"):
        reproduce("quick", tmp_path)


# --- a miniature, end to end -----------------------------------------------------------------------------------------

BASE = Recipe(
    max_steps=2,
    questions_per_step=2,
    num_generations=2,
    max_completion_length=60,
    warm_start_steps=25,
    save_steps=1,
)


def mini(data: Path | None = None) -> list[Plan]:
    measured = ("votes", "answer probability", "P(True)")
    arms = (
        arm(BASE, "single-rlvr", 0, prompted=True, measured=measured),
        arm(BASE, "multi-rlcr", 0),
        untrained(BASE),
    )
    heats = {"temperatures": (0.5, 1.0), "validation_questions": 3}
    return [Plan("mini", arms, questions=6, deep_questions=2, n_boot=20, **heats)]


@pytest.fixture(scope="module")
def started() -> list[str]:
    """Arms in the order they were started."""
    return []


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory, started: list[str]) -> Iterator[pytest.MonkeyPatch]:
    def start(launch: Launch, plan: Plan, arm: Arm, root: Path, slot: int, **_: Any) -> Finished:
        started.append(str(arm.folder))
        (root / arm.folder).mkdir(parents=True, exist_ok=True)
        return Finished(worker.main(launch.job(plan, arm, root)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(plans_module, "PLANS", {**PLANS, "mini": mini})
        patch.setattr(run_module, "_start", start)
        patch.setattr(run_module, "_POLL_SECONDS", 0.0)
        yield patch


@pytest.fixture(scope="module")
def finished(
    patched: pytest.MonkeyPatch, started: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Path]]:
    out = tmp_path_factory.mktemp("runs") / "mini"
    reports = reproduce("mini", out, workers=1)
    assert started == ["single-rlvr/seed-0", "multi-rlcr-k3/seed-0", "untrained/seed-0"]
    return out, reports


def stages(out: Path) -> dict[str, int]:
    """When each file that a stage finishes with was written."""
    names = ("completions.jsonl", "judged.jsonl", "metrics.json", "model.safetensors")
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("*") if path.name in names}


VIEWS = ("single-rlvr/seed-0/samples", "single-rlvr/seed-0/prompted", "multi-rlcr-k3/seed-0/set")


def test_every_arm_is_trained_sampled_and_measured(finished: tuple[Path, list[Path]]) -> None:
    out, _ = finished
    for folder in ("single-rlvr/seed-0", "multi-rlcr-k3/seed-0"):
        lines = [json.loads(line) for line in (out / folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [1, 2]
        assert (out / folder / "model" / "model.safetensors").exists()
    for view, n, n_deep, pooled in zip(VIEWS, (18, 6, 6), (60, 20, 20), (True, False, False), strict=True):
        assert len((out / view / "completions.jsonl").read_text().splitlines()) == n
        assert len((out / view / "deep" / "completions.jsonl").read_text().splitlines()) == n_deep
        metrics = json.loads((out / view / "metrics.json").read_text())
        assert (metrics["view"]["n_questions"], metrics["view"]["pooled"]) == (6, pooled)
        deep = json.loads((out / view / "deep" / "metrics.json").read_text())
        assert metrics["metrics"]["unique_answers@30"] == deep["metrics"]["unique_answers@30"]
        assert metrics["curves"]["unique_references"] == deep["curves"]["unique_references"]


def test_single_answer_arms_choose_their_temperature_on_validation_questions(
    finished: tuple[Path, list[Path]],
) -> None:
    out, _ = finished
    for view in VIEWS[:2]:
        stored = json.loads((out / view / "temperature.json").read_text())
        assert (stored["split"], stored["questions"]) == ("validation", 3)
        best = max(one["coverage"] for one in stored["tried"])
        assert stored["temperature"] == min(o["temperature"] for o in stored["tried"] if o["coverage"] == best)
    assert not (out / VIEWS[2] / "temperature.json").exists()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "sampling temperature, single-rlvr/samples" in page and "among 0.5, 1" in page
    assert "8 completions, 8 graded answers" in page and "8 completions, 24 graded answers" in page


def test_measured_confidences_are_those_of_the_same_completions(finished: tuple[Path, list[Path]]) -> None:
    out, _ = finished
    samples = out / "single-rlvr/seed-0/samples"
    texts = [json.loads(line)["completion"] for line in (samples / "completions.jsonl").read_text().splitlines()]
    plain = json.loads((samples / "metrics.json").read_text())["metrics"]
    assert plain["ece"]["n"] == 0
    for name in ("votes", "answer-probability", "p-true"):
        folder = samples.with_name(f"samples-{name}")
        rows = [json.loads(line) for line in (folder / "completions.jsonl").read_text().splitlines()]
        assert [row["completion"] for row in rows] == texts
        metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
        assert metrics["coverage"] == plain["coverage"]
        assert metrics["unique_answers@30"] == plain["unique_answers@30"]
        # The miniature hardly learns the format; what is not clean has no confidence.
        clean = [json.loads(line)["status"] == "clean" for line in (samples / "judged.jsonl").read_text().splitlines()]
        assert ["confidences" in row for row in rows] == [name != "votes" and is_clean for is_clean in clean]


def test_the_untrained_model_is_sampled_and_asked_for_several(finished: tuple[Path, list[Path]]) -> None:
    out, _ = finished
    folder = out / "untrained/seed-0"
    assert sorted(path.name for path in folder.iterdir()) == ["prompted", "samples"]
    assert "untrained, asked for 3" in (out / "report.html").read_text(encoding="utf-8")


def test_all_views_ask_the_same_questions(finished: tuple[Path, list[Path]]) -> None:
    out, _ = finished
    asked = [
        list(
            dict.fromkeys(
                json.loads(line)["id"] for line in (out / view / "completions.jsonl").read_text().splitlines()
            )
        )
        for view in VIEWS
    ]
    assert asked[0] == asked[1] == asked[2] and len(asked[0]) == 6


def test_the_report_shows_every_view(finished: tuple[Path, list[Path]]) -> None:
    out, reports = finished
    assert reports == [out / "report.html"]
    page = reports[0].read_text(encoding="utf-8")
    for text in (
        "polymode: mini",
        "single-rlvr, 3 samples",
        "multi-rlcr, one completion of 3",
        "polymode reproduce mini",
    ):
        assert text in page, text


def test_resuming_a_finished_experiment_only_writes_the_report_again(
    finished: tuple[Path, list[Path]], started: list[str]
) -> None:
    out, (report,) = finished
    before, n_started = stages(out), len(started)
    report.unlink()
    assert reproduce("mini", out, resume=True) == [report]
    assert report.exists()
    assert stages(out) == before and len(started) == n_started


def test_a_missing_metrics_file_is_the_only_thing_made_again(
    finished: tuple[Path, list[Path]], started: list[str]
) -> None:
    out, _ = finished
    lost = out / "single-rlvr/seed-0/prompted/metrics.json"
    content, before = json.loads(lost.read_text()), stages(out)
    lost.unlink()
    started.clear()
    reproduce("mini", out, resume=True)
    assert started == ["single-rlvr/seed-0"]
    assert json.loads(lost.read_text()) == content
    changed = {name for name, time in stages(out).items() if before[name] != time}
    view = "single-rlvr/seed-0/prompted"
    assert changed == {f"{view}/{part}{name}" for part in ("", "deep/") for name in ("judged.jsonl", "metrics.json")}


def test_a_failed_arm_is_named_and_the_others_are_kept(
    finished: tuple[Path, list[Path]], patched: pytest.MonkeyPatch
) -> None:
    out, _ = finished
    lost = out / "multi-rlcr-k3/seed-0/set/metrics.json"
    content = lost.read_bytes()
    lost.unlink()

    def fail(launch: Launch, plan: Plan, arm: Arm, root: Path, slot: int, **_: Any) -> Finished:
        (root / arm.folder / "log.txt").write_text("Traceback\nerror: the cat is on the keyboard\n", encoding="utf-8")
        return Finished(1)

    before = stages(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "_start", fail)
        with pytest.raises(ArmFailedError, match=r"1 of 3 arms failed, first multi-rlcr-k3/seed-0: error: the cat is"):
            reproduce("mini", out, resume=True)
    assert stages(out) == before
    page = (out / "report.html").read_text(encoding="utf-8")  # of the others
    assert "single-rlvr, 3 samples" in page and "multi-rlcr, one completion" not in page
    lost.write_bytes(content)


def test_the_worker_is_a_process_that_ends_with_the_errors_code(tmp_path: Path) -> None:
    (plan,) = plans("ddxplus")
    arm = next(arm for arm in plan.arms if arm.name == "multi-rlcr-k3")
    job = Launch("ddxplus", tmp_path / "none").job(plan, arm, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "polymode.reproduce.worker", job],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2
    assert "error: data folder " in done.stderr and "does not exist" in done.stderr


def test_a_worker_whose_parent_is_gone_before_it_looks_ends_and_writes_nothing(tmp_path: Path) -> None:
    """Else it would go on in the folder in which the experiment is resumed."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (plan,) = plans("quick")
    job = json.loads(Launch("quick", None).job(plan, plan.arms[0], tmp_path))
    assert job["parent"] == os.getpid()
    text = json.dumps({**job, "parent": gone.pid})
    done = subprocess.run([sys.executable, "-m", "polymode.reproduce.worker", text], check=False, timeout=60)
    assert done.returncode == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "recipe"),
    [
        ("clinic", CLINIC),
        ("clinic-diagnosis", DIAGNOSIS),
        ("hops", HOPS),
        ("programs", PROGRAMS),
        ("ddxplus-small", DDXPLUS),
    ],
)
def test_the_recipe_files_of_the_lab_are_the_recipes_of_the_experiments(root: Path, file: str, recipe: Recipe) -> None:
    assert load_recipe(root / "recipes" / f"{file}.yaml") == recipe
