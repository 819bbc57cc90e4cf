"""Training in two processes: each writes its own completions, and only numbers cross between them."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from polymode import runs
from polymode.training.recipe import Recipe

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
from pathlib import Path
import torch.distributed as dist
from accelerate import PartialState
from polymode import runs
from polymode.training.recipe import recipe_from
from polymode.training.rl import train

def texts(value):
    if isinstance(value, str):
        return [value]
    return [text for part in (value if isinstance(value, (list, tuple)) else []) for text in texts(part)]

state, crossed, gather = PartialState(cpu=True), [], dist.all_gather_object

def recorded(found, value, *rest, **options):
    crossed.extend(texts(value))
    return gather(found, value, *rest, **options)

dist.all_gather_object = recorded
values, folder, resume = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), sys.argv[3] == "resume"
train(recipe_from(values), folder, resume=resume)
(folder / f"crossed-{state.process_index}.json").write_text(json.dumps(crossed))
"""


@pytest.fixture
def values(small_recipe: Callable[..., Recipe]) -> dict[str, Any]:
    """Options of a recipe of two steps, 8 completions of each in either of two processes, two groups of four."""
    recipe = small_recipe()
    return {
        "task": "records",
        "data": str(recipe.data),
        "task_options": {"style": "brief", "validation": 0.0, "test": 0.0},
        "model": recipe.model,
        "max_steps": 2,
        "questions_per_step": 4,
        "num_generations": 4,
        "learning_rate": 1e-3,
        "max_completion_length": 40,
        "save_steps": 1,
        "seed": 5,
    }


def test_each_of_two_processes_writes_its_own_completions(
    values: dict[str, Any], tmp_path: Path, launch: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    (tmp_path / "values.json").write_text(json.dumps(values))
    (tmp_path / "script.py").write_text(SCRIPT)
    launch(2, tmp_path / "script.py", tmp_path / "values.json", run, "fresh")

    folder = run / runs.STEP_COMPLETIONS
    parts = [f"completions_{step:05d}-{process:05d}-of-00002.parquet" for step in (1, 2) for process in (0, 1)]
    assert sorted(path.name for path in folder.iterdir()) == parts
    assert [json.loads((run / f"crossed-{process}.json").read_text()) for process in (0, 1)] == [[], []]
    lines = list(runs.read_jsonl(run / runs.TRAIN_METRICS))
    for step, line in enumerate(lines, 1):
        rows = runs.read_step_completions(run, step)
        assert len(rows) == 16 and {row["step"] for row in rows} == {step}
        for start in range(0, 16, 4):
            group = rows[start : start + 4]
            assert len({row["prompt"] for row in group}) == 1
            mean = fmean(row["polymode"] for row in group)
            assert [row["advantage"] for row in group] == pytest.approx(
                [row["polymode"] - mean for row in group], abs=1e-6
            )
        for row in rows:
            assert row["polymode"] == pytest.approx(row["term_coverage"] + row["term_brier"] + row["term_format"])
        assert line["reward"] == pytest.approx(fmean(row["polymode"] for row in rows), abs=1e-6)
        assert line["coverage"] == pytest.approx(fmean(row["term_coverage"] for row in rows))
        assert line["share_clean"] == pytest.approx(fmean(row["status"] == "clean" for row in rows))

    # A kill in step 2, after one process has written: the step is done again, and is there once.
    before = runs.read_step_completions(run, 2)
    for path in (run / "model", run / "checkpoints" / "checkpoint-2"):
        path.rename(tmp_path / path.name)
    (folder / parts[2]).unlink()
    assert runs.steps_with_completions(run) == [1]
    launch(2, tmp_path / "script.py", tmp_path / "values.json", run, "resume")
    assert runs.read_step_completions(run, 2) == before
    assert [line["step"] for line in runs.read_jsonl(run / runs.TRAIN_METRICS)] == [1, 2]
