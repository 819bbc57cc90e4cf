"""The task and the scorer in inspect_ai itself, with a model of recorded answers; and its logs through polymode."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .packages import package
from .shared_completions import GROUP, K, N, check_totals, rows
from .shared_metrics import expected_metrics, metrics_of_log, question_number, texts_of, write_questions

inspect_ai = package("inspect_ai", "inspect_ai")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """1,000 completions as ten epochs of 100 questions."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model  # pyright: ignore[reportMissingImports]

    folder = tmp_path_factory.mktemp("inspect_ai")
    asked = Counter[int]()

    def answer(messages: list[Any], *_: Any) -> ModelOutput:
        number = question_number(messages[-1].text)
        asked[number] += 1
        output = ModelOutput.from_content("mockllm", texts_of(number)[asked[number] - 1])
        output.usage = ModelUsage(output_tokens=7)  # to count them, it would load a tokenizer from the network
        return output

    [log] = inspect_ai.eval(
        "polymode/answer_sets",  # found by the entry point
        task_args={"data": str(write_questions(folder)), "k": K},
        model=get_model("mockllm/model", custom_outputs=answer),
        epochs=GROUP,
        log_dir=str(folder / "logs"),
        log_realtime=False,
        score_display=False,
        display="none",
    )
    assert log.status == "success", log.error
    return log


def test_import() -> None:
    assert inspect_ai.__version__.startswith("0.3.")


def test_evaluation_has_the_metrics_of_polymode(log: Any) -> None:
    [scores] = log.results.scores
    assert (scores.scored_samples, scores.unscored_samples, scores.reducer) == (N, 0, None)
    printed = {name: one.value for name, one in scores.metrics.items()}
    assert printed.pop("n_unscored") == 0
    assert printed.pop("score") > 0
    assert printed.pop("tokens_per_completion") == printed.pop("tokens_per_set") == 7
    assert printed.pop("tokens_per_reference") > 0
    assert printed == pytest.approx(dict(expected_metrics()), abs=1e-12)


def test_evaluation_of_the_log_gives_the_same(log: Any, tmp_path: Path) -> None:
    [scores] = log.results.scores
    printed = {name: one.value for name, one in scores.metrics.items() if name not in ("score", "n_unscored")}
    assert metrics_of_log(Path(log.location), tmp_path) == pytest.approx(printed, abs=1e-12)


def test_totals(log: Any) -> None:
    totals = {}
    for sample in log.samples:
        number = question_number(sample.input)
        totals[number, sample.scores["set_score"].explanation] = sample.scores["set_score"].value["score"]
    check_totals("inspect_ai", [totals[i // GROUP, text] for i, (text, _) in enumerate(rows())])
