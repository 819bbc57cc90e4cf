"""The task in lm-eval itself, with a model of recorded answers; and its file of samples through polymode."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import polymode

from .packages import package
from .shared_completions import GROUP, K, check_totals
from .shared_metrics import expected_metrics, metrics_of_log, question_number, texts_of, write_questions

lm_eval = package("lm_eval", "lm_eval")
TASKS = Path(polymode.__file__).parent / "integrations" / "lm_eval_tasks"
NAME = "polymode_answer_sets"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """1,000 completions as ten repeats of 100 questions."""
    from lm_eval.api.model import LM  # pyright: ignore[reportMissingImports]
    from lm_eval.loggers import EvaluationTracker  # pyright: ignore[reportMissingImports]
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    class Recorded(LM):
        def generate_until(self, requests: list[Any], *_: Any, **__: Any) -> list[str]:
            asked, texts = Counter[int](), []
            for request in requests:
                number = question_number(request.arguments[0])
                texts.append(texts_of(number)[asked[number]])
                asked[number] += 1
            return texts

        def loglikelihood(self, requests: list[Any], *_: Any, **__: Any) -> list[Any]:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    folder = tmp_path_factory.mktemp("lm_eval")
    metadata = {"task": "records", "data": str(write_questions(folder)), "k": K, "samples": GROUP}
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=metadata)
    found = lm_eval.simple_evaluate(model=Recorded(), tasks=[NAME], task_manager=manager, log_samples=True)
    tracker = EvaluationTracker(output_path=str(folder / "results"))
    tracker.general_config_tracker.model_name_sanitized = "recorded"
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    tracker.save_results_samples(task_name=NAME, samples=samples[NAME])
    [file] = (folder / "results" / "recorded").glob("samples_*.jsonl")
    return {"metrics": found["results"][NAME], "samples": samples[NAME], "file": file}


def test_import() -> None:
    from importlib.metadata import version

    assert version("lm-eval").startswith("0.4.")


def test_evaluation_has_the_metrics_of_polymode(results: dict[str, Any]) -> None:
    printed = {
        name.removesuffix(",all"): value
        for name, value in results["metrics"].items()
        if name.endswith(",all") and "_stderr" not in name
    }
    assert printed.pop("score") > 0
    assert {"coverage", "coverage@3", "pass@1", "pass@8", "brier", "ece", "auroc"} <= printed.keys()
    expected = expected_metrics()
    assert printed == pytest.approx({name: expected[name] for name in printed}, abs=1e-12)


def test_evaluation_of_the_samples_gives_the_same(results: dict[str, Any], tmp_path: Path) -> None:
    assert metrics_of_log(results["file"], tmp_path) == pytest.approx(dict(expected_metrics()), abs=1e-12)


def test_totals(results: dict[str, Any]) -> None:
    from polymode.integrations.lm_eval import Document
    from polymode.integrations.questions import score_rows

    totals: dict[int, list[float]] = {}
    for sample in results["samples"]:
        documents = [value for value in sample.values() if isinstance(value, Document)]
        number = question_number(sample["doc"]["prompt"])
        totals[number] = [values["score"] for _, values in score_rows(documents[0].rows, "here")]
        assert sample["score"] == pytest.approx(sum(totals[number]) / GROUP)
    check_totals("lm_eval", [total for number in sorted(totals) for total in totals[number]])
