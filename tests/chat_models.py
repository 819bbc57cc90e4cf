"""Tiny models with real chat templates and byte-level tokenizers, as today's instruction-tuned models have them."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast

from polymode.training.lab_model import LabModelSize, build_model


def real_template(name: str) -> str:
    """A chat template word for word as its models have it; TRL knows those of many families."""
    spec = find_spec("trl")  # without loading it
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


THINKING_TEMPLATE = real_template("qwen3")
"""Qwen3's: earlier replies lose their reasoning, and an argument opens and closes an empty one."""

NO_SYSTEM_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' + m['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""In the manner of Gemma 2's."""

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<bos>")
TEXTS = ["Give exactly 3 answers that differ in meaning. <answer1>Peru</answer1><confidence1>0.70</confidence1>"] * 4


def byte_level_tokenizer(template: str | None = THINKING_TEMPLATE, **options: Any) -> PreTrainedTokenizerFast:
    """A small byte-level BPE tokenizer: every text comes back as it was."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(SPECIAL)
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        **{"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "bos_token": "<bos>", **options},
    )
    fast.add_tokens(["<think>", "</think>"])  # Qwen3's are added tokens, but not special ones
    fast.chat_template = template
    return fast


def chat_checkpoint(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast | None = None,
    *,
    positions: int = 4096,
    generation: GenerationConfig | None = None,
) -> Path:
    """Folder of a tiny random model with a byte-level tokenizer and a chat template."""
    tokenizer = tokenizer or byte_level_tokenizer()
    size = LabModelSize(hidden=16, layers=1, heads=2, intermediate=32, positions=positions)
    model = build_model(tokenizer, size, seed=0)
    if generation is not None:
        model.generation_config = generation
    model.save_pretrained(folder)
    if generation is not None:  # as the files of such models have it, whatever transformers would rather save
        (folder / "generation_config.json").write_text(json.dumps(generation.to_diff_dict()), encoding="utf-8")
    tokenizer.save_pretrained(folder)
    return folder
