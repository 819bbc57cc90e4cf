"""The reward that stock TRL loads by dotted path, in the code of TRL; `tests/integrations/test_trl.py` trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .packages import package
from .shared_completions import K, check_totals, groups, rows

trl = package("trl", "trl")
# TRL still sets the option by its older name, which transformers 5.18 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TRL's trainer with a tiny model, and the reward as its command line finds it."""
    from datasets import Dataset

    from polymode.integrations.trl import multi_rlcr
    from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer

    tokenizer = build_tokenizer(["a question"])
    folder: Path = tmp_path_factory.mktemp("trl")
    options = trl.GRPOConfig(
        output_dir=str(folder),
        scale_rewards="none",
        use_cpu=True,
        bf16=False,
        report_to="none",
        gradient_checkpointing=False,
    )
    return trl.GRPOTrainer(
        build_model(tokenizer, LabModelSize(16, 1, 2, 32, 64), seed=0),
        reward_funcs=[multi_rlcr],
        args=options,
        train_dataset=Dataset.from_list([{"prompt": "a question"}]),
        processing_class=tokenizer,
    )


def test_import() -> None:
    assert trl.__version__.startswith("1.16.")


def test_totals_through_the_trainer(trainer: Any) -> None:
    texts, references = zip(*rows(), strict=True)
    inputs = [
        {"prompt": f"question {g}", "references": row, "k": K} for g, row in zip(groups(), references, strict=True)
    ]
    prompts = [row["prompt"] for row in inputs]
    rewards = trainer._calculate_rewards(inputs, prompts, list(texts), [[1]] * len(texts))
    check_totals("trl", rewards[:, 0].tolist())
