"""Which precision is chosen, by what the machine is fast at and how large the model is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from polymode.decoding import precision
from polymode.decoding.precision import compute_dtype, parameters_of
from polymode.errors import ConfigError


@pytest.fixture
def folder(model_of: Callable[[str], PreTrainedModel], tmp_path: Path) -> Path:
    model_of("qwen3").save_pretrained(tmp_path)
    return tmp_path


def test_parameters_are_counted_without_the_weights(folder: Path, model_of: Callable[[str], PreTrainedModel]) -> None:
    (folder / "model.safetensors").unlink()
    assert parameters_of(folder) == sum(p.numel() for p in model_of("qwen3").parameters())


def test_parameters_are_counted_under_zero_3(
    folder: Path, model_of: Callable[[str], PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There transformers spreads the weights of the models that it builds over the processes."""
    monkeypatch.setattr("transformers.modeling_utils.is_deepspeed_zero3_enabled", lambda: True)
    assert parameters_of(folder) == sum(p.numel() for p in model_of("qwen3").parameters())


@pytest.mark.parametrize(
    ("name", "is_fast", "small", "expected"),
    [
        ("auto", True, 1, torch.bfloat16),
        ("auto", True, 10**9, torch.float32),
        ("auto", False, 1, torch.float32),
        ("bfloat16", False, 10**9, torch.bfloat16),
        ("float32", True, 1, torch.float32),
    ],
)
def test_precisions(
    name: str, is_fast: bool, small: int, expected: torch.dtype, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: is_fast)
    monkeypatch.setattr(precision, "SMALL", small)
    assert compute_dtype(name, folder) is expected


def test_a_model_that_is_not_named_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: True)
    assert compute_dtype("auto") is torch.float32


def test_other_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="dtype = 'half' is not known: use one of auto, bfloat16, float32"):
        compute_dtype("half")
