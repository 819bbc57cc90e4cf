"""bench/gpu.py on small shapes: every part runs here as it will where there is a GPU."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ..bench_modules import load_bench

pytestmark = pytest.mark.filterwarnings(r"ignore:`\w*gradient_checkpointing\w*` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def gpu() -> Any:
    return load_bench("gpu")


@pytest.mark.slow
def test_every_part_gives_figures(gpu: Any, tmp_path: Path) -> None:
    gpu.make_model(gpu.TINY, tmp_path / "model")
    result = gpu.main(["--tiny", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "gpu.json")])
    assert json.loads((tmp_path / "gpu.json").read_text()) == result
    assert set(gpu.PARTS) <= result.keys() and result["device"]
    assert max(result["log_probs"].values()) < 0.05 and result["log_probs"]["float32, largest"] < 1e-4
    assert result["vllm"] == "not measured: vLLM is not installed" or isinstance(result["vllm"], dict)
    for part in ("sampling", "step", "memory", "train"):
        assert isinstance(result[part], dict), result[part]
        assert all(math.isfinite(figure) for figure in result[part].values())
    assert set(result["sampling"]) == {"ours, prompt 6", "ours, prompt 12", "generate, prompt 6", "generate, prompt 12"}
    assert all(speed > 0 for speed in result["sampling"].values())
    assert len(result["step"]) == 4 and min(result["step"].values()) > 0


def test_a_part_that_fails_or_has_no_time_leaves_the_others(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> dict[str, float]:
        raise RuntimeError("card\nlost")

    monkeypatch.setitem(gpu.PARTS, "sampling", (fail, 0))
    monkeypatch.setitem(gpu.PARTS, "log_probs", (lambda _: {"x": 1.0}, 0))
    bench = gpu.Bench(gpu.TINY, Path(), None, Path())
    result = gpu.run(bench, ["sampling", "log_probs", "step", "train"], 60.0)
    assert result.pop("step").endswith("s left, it needs 90")  # how much is left depends on the machine
    assert result == {
        "sampling": "not measured: RuntimeError: card lost",
        "log_probs": {"x": 1.0},
        "train": "not measured: no --model was named",
    }
