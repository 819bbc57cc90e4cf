"""`polymode merge`: LoRA adapters and their base as one plain model."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from polymode.cli.checks import need_packages


@dataclass(frozen=True)
class Merge:
    """Merge LoRA adapters into their base model, for programs that read whole models only.

    polymode itself and vLLM read the adapters' folder as it is. The base is the one named in adapter_config.json;
    the weights keep its dtype, and tokenizer, chat template and generation config are written too.

    Examples:
        # RUN/model, or the run folder itself
        polymode merge runs/lora --out models/merged
        # the base has moved
        polymode merge runs/lora/model --base models/Qwen3-8B --out models/merged
    """

    adapters: Path
    """Folder with the adapters, or the run folder that made them."""
    _: KW_ONLY
    out: Path
    """Folder of the merged model to create."""
    base: str | None = None
    """Name or folder of the base model; by default what adapter_config.json names."""


def merge(options: Merge) -> int:
    """Merge, and say where the model is."""
    need_packages("train")
    from polymode import runs
    from polymode.decoding import adapters
    from polymode.generate import chat_of

    folder = adapters.adapters_in(options.adapters)
    with runs.alone(options.out):
        merged = adapters.merge(folder, options.out, base=options.base, chat=chat_of(folder))
    print(f"model: {merged}")
    return 0
