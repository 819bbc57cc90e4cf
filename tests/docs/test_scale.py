"""The computed numbers of docs/scale.md are those of the formulas that `polymode doctor` uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polymode.training.memory import GB, Layout, Memory, Sharding, estimate
from polymode.training.recipe_file import load_recipe
from polymode.training.shapes import shape_of

SHARDING: dict[str, Sharding] = {"none": "none", "ZeRO-2": "zero2", "ZeRO-3": "zero3"}


def memory_of(root: Path, processes: int, sharding: Sharding, name: str = "", **changes: object) -> Memory:
    # As many completions as there are processes at least; what is at once on a device does not depend on it.
    plain = {"use_vllm": False, "trl": {}, "questions_per_step": 768, **changes}
    recipe = load_recipe(root / "recipes" / f"qwen3-8b-ddxplus-multi-rlcr{name}.yaml", plain)
    layout = Layout(processes=processes, sharding=sharding, prompt_tokens=512, card=80e9, number=2)
    return estimate(recipe, layout, shape_of(str(recipe.model)))


def test_the_table_of_memory(root: Path) -> None:
    text = (root / "docs" / "scale.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d,]+) \| (none|ZeRO-\d) \|((?: [\d.]+ \|)+)$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["1", "8", "8", "64", "1,024"]
    for gpus, engine, cells in rows:
        memory = memory_of(root, int(gpus.replace(",", "")), SHARDING[engine])
        parts = memory.parts
        expected = [
            parts["weights"] + parts.get("copies", 0.0),
            parts["gradients"],
            parts["optimiser"],
            sum(memory.step.values()),
            parts["CUDA"],
            memory.least,
        ]
        found = [float(cell) for cell in cells.split("|")[:-1]]
        assert found == pytest.approx([one / GB for one in expected], abs=0.06), (gpus, engine)


def test_numbers_in_the_text(root: Path) -> None:
    text = " ".join((root / "docs" / "scale.md").read_text(encoding="utf-8").split())
    lora = memory_of(root, 1, "none", "-lora").least / GB
    zero2 = memory_of(root, 64, "zero2").least / GB
    assert f"With LoRA {lora:.0f} GB" in text and f"ZeRO-2, which fits ({zero2:.0f} GB)" in text
    longer = memory_of(root, 8, "zero3", max_completion_length=3072)
    assert f"{longer.step['logits'] / GB:.1f} GB with T_c = 3,072" in text
    assert f"{longer.row / GB:.1f} GB with T_c = 3,072" in text
    weights, n, prompt, completion = shape_of("Qwen/Qwen3-8B").parameters, 768, 512, 1536
    for number in (2 * weights * n * completion, 8 * weights * n * (prompt + completion)):
        mantissa, exponent = f"{number:.1e}".split("e+")
        assert f"{mantissa}e{exponent}" in text
