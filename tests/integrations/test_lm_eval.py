"""The task and its filter by the signatures of lm-eval 0.4.13, with a stand-in for the package."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from polymode.evaluation import evaluate
from polymode.runs import completion_of

from .stand_ins import with_stand_ins

SURE = "<answer1>Ne</answer1><confidence1>0.9</confidence1><answer2>iron</answer2><confidence2>0.2</confidence2>"
UNSURE = "<answer1>argon</answer1><confidence1>0.6</confidence1><answer2>neon</answer2><confidence2>0.5</confidence2>"


class ConfigurableTask:
    """Keeps its configuration and downloads, as that of lm-eval does when it is made."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = SimpleNamespace(**config)
        self.download()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Any:
    modules = {
        "lm_eval": {},
        "lm_eval.api": {},
        "lm_eval.api.filter": {"Filter": object},
        "lm_eval.api.registry": {"register_filter": lambda name: lambda filter_: filter_},
        "lm_eval.api.task": {"ConfigurableTask": ConfigurableTask},
    }
    return with_stand_ins(monkeypatch, "lm_eval", modules)


@pytest.fixture
def task(adapter: Any, tmp_path: Path) -> Any:
    question = {"question": "Name a noble gas.", "references": [["neon", "Ne"], "argon"]}
    (tmp_path / "test.jsonl").write_text(json.dumps(question))
    metadata = {"data": str(tmp_path), "k": 2, "samples": 4, "version": 1, "config_source": "inline"}
    return adapter.AnswerSets({"class": adapter.AnswerSets, "metadata": metadata})


def test_the_file_names_what_there_is(root: Path, adapter: Any) -> None:
    text = (root / "polymode" / "integrations" / "lm_eval_tasks" / "polymode_answer_sets.yaml").read_text()
    config = yaml.safe_load(text.replace("!function ", ""))
    assert config["class"] == f"polymode.integrations.lm_eval.{adapter.AnswerSets.__name__}"
    assert config["filter_list"] == [{"name": "all", "filter": [{"function": "all_repeats"}]}]
    assert config["generation_kwargs"]["max_gen_toks"] >= 1024  # reasoning and K answers


def test_the_filter_leaves_all_repeats_in_order(adapter: Any) -> None:
    repeats = [["a", "b"], ["c", "d"]]
    assert adapter.AllRepeats().apply(iter(repeats), [{}, {}]) == repeats


def test_documents_carry_prompt_and_line(task: Any) -> None:
    assert task.config.repeats == 4
    [document] = task.dataset["test"]
    assert document["prompt"].startswith("Name a noble gas.\n\nThink first")
    assert document["targets"] == ["neon", "argon"]
    assert json.loads(document["polymode"])["k"] == 2


def test_metrics_are_of_all_completions_together(task: Any) -> None:
    [document] = task.dataset["test"]
    values = task.process_results(document, [[SURE, UNSURE]])
    assert values["score"] == pytest.approx((1.975 + 2.795) / 2)  # as in test_inspect_ai.py
    assert values.keys() == task.aggregation().keys() == task.higher_is_better().keys()
    assert {"pass@2", "pass@4", "coverage@1", "coverage@2", "ece"} <= values.keys()
    assert str(values["ece"]) == "of all documents together"
    rows = values["ece"].rows
    assert [row["sample"] for row in rows] == [0, 1]
    expected = evaluate([completion_of(row, "here") for row in rows], n_boot=0).metrics
    aggregation = task.aggregation()
    for name in ("coverage", "pass@1", "pass@2", "brier", "ece"):
        assert aggregation[name]([values[name]]) == expected[name].value, name
    assert math.isnan(aggregation["pass@4"]([values["pass@4"]]))
    assert aggregation["score"]([1.0, math.nan, 2.0]) == 1.5 and math.isnan(aggregation["score"]([math.nan]))
    assert task.higher_is_better()["ece"] is False and task.higher_is_better()["coverage@2"] is True
