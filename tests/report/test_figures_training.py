"""The figure of validation questions during training."""

from pathlib import Path
from typing import Any

from polymode import runs
from polymode.report.page import write_report


def measured(step: int, coverage: float) -> dict[str, Any]:
    shares = {f"validation/{mode}/{name}": coverage for mode in ("greedy", "sampled") for name in ("coverage", "brier")}
    cost = {"validation/questions": 8, "validation/tokens": 1000, "validation/seconds": 2.0}
    return {"step": step, "completions": 64 * step, **shares, **cost}


def test_validation_is_drawn_with_what_it_cost(make_arm: Any, tmp_path: Path) -> None:
    arm = make_arm("m", "multi-rlcr", k=3)
    rows = [measured(0, 0.5), {"step": 1, "completions": 64, "reward": 0.5}, {**measured(2, 1.25), "reward": 0.75}]
    runs.write_jsonl(arm.train[0] / runs.TRAIN_METRICS, rows)
    html = write_report(tmp_path / "r.html", title="t", intro=[], arms=[arm]).read_text(encoding="utf-8")
    assert (
        "figure-validation" in html and "0.50 at completions generated = 0, 1.25 at completions generated = 128" in html
    )
    assert "2 measurements of 8 questions took 4 s and 2,000 tokens in all." in html


def test_without_validation_there_is_no_such_figure(make_arm: Any, tmp_path: Path) -> None:
    arm = make_arm("m", "multi-rlcr", k=3)
    html = write_report(tmp_path / "r.html", title="t", intro=[], arms=[arm]).read_text(encoding="utf-8")
    assert "figure-training" in html and "figure-validation" not in html
