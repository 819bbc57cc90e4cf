"""Adapters merged into their base are the model that PEFT computes with both, and wrong bases are told in one line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from polymode.cli import main
from polymode.decoding.adapters import load_merged, merge
from polymode.decoding.loading import configuration_of, load_causal_lm, load_tokenizer
from polymode.errors import ConfigError

# PEFT calls transformers 5 by these old names.
pytestmark = pytest.mark.filterwarnings(r"ignore:`\w*gradient_checkpointing\w*` is deprecated:FutureWarning")
IDS = torch.tensor([[3, 5, 7, 9]])
SIZE: dict[str, Any] = {
    "vocab_size": 12,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "eos_token_id": 1,
}


def save_base(folder: Path, *, kind: str = "qwen3", dtype: torch.dtype = torch.float32, **size: Any) -> Path:
    torch.manual_seed(0)
    if kind == "gpt2":
        model: Any = GPT2LMHeadModel(GPT2Config(vocab_size=12, n_embd=16, n_layer=2, n_head=2))
    else:
        config, cls = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}[kind]
        model = cls(config(**{**SIZE, **size}))
    model.generation_config.update(eos_token_id=1, temperature=0.6, do_sample=True)
    model.to(dtype).save_pretrained(folder)
    words = {f"w{i}": i for i in range(12)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="w1", pad_token="w0")
    fast.chat_template = "{% for m in messages %}{{ m['content'] }} w2{% endfor %}"
    fast.save_pretrained(folder)
    return folder


def add_adapters(base: Path, folder: Path, *, with_tokenizer: bool = True, seed: int = 1, **options: Any) -> Any:
    """Random adapters, saved as training saves them; returns PEFT's model of both."""
    model = load_causal_lm(base, dtype="auto")
    options = {"r": 4, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
    adapted = get_peft_model(model, LoraConfig(**options))
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.normal_(std=0.2)
    adapted.save_pretrained(str(folder))
    if with_tokenizer:
        load_tokenizer(base).save_pretrained(folder)
    return adapted.eval()


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(IDS).logits.float()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.06)])
def test_a_merged_model_is_the_base_with_its_adapters(dtype: torch.dtype, tolerance: float, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", dtype=dtype)
    adapted = add_adapters(base, tmp_path / "run" / "model")
    expected = logits(adapted)
    out = merge(tmp_path / "run", tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    assert not (out / "adapter_config.json").exists() and merged.dtype == dtype
    assert torch.allclose(logits(merged), expected, atol=tolerance)
    assert (logits(merged) - logits(load_causal_lm(base, dtype=dtype))).abs().max() > 0.2
    assert (merged.generation_config.eos_token_id, merged.generation_config.temperature) == (1, 0.6)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "w3"}], tokenize=False) == "w3 w2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "merged", "run"]


def test_the_command_takes_a_base_that_has_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = save_base(tmp_path / "base")
    adapted = add_adapters(base, tmp_path / "adapters", with_tokenizer=False)
    moved = base.rename(tmp_path / "moved")
    flags = ["merge", str(tmp_path / "adapters"), "--out", str(tmp_path / "merged")]
    assert main(flags) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the base of adapters") and "--base" in error
    assert main([*flags, "--base", str(moved)]) == 0
    assert capsys.readouterr().out == f"model: {tmp_path / 'merged'}\n"
    assert torch.allclose(logits(load_causal_lm(tmp_path / "merged", dtype="auto")), logits(adapted), atol=1e-5)
    assert main([*flags, "--base", str(moved)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Could not find a config file")  # PEFT looks for a whole model below adapters
def test_adapters_load_like_a_model_also_on_top_of_adapters(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    first = add_adapters(base, tmp_path / "first")
    assert torch.allclose(logits(load_causal_lm(tmp_path / "first", dtype=torch.float32)), logits(first), atol=1e-5)
    second = add_adapters(tmp_path / "first", tmp_path / "second", with_tokenizer=False, seed=2)
    loaded = load_causal_lm(tmp_path / "second", dtype=torch.float32)
    assert torch.allclose(logits(loaded), logits(second), atol=1e-5)
    assert configuration_of(tmp_path / "second").model_type == "qwen3"
    assert load_tokenizer(tmp_path / "second").chat_template


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"kind": "gpt2"}, "gpt2"),
        ({"kind": "llama"}, "llama"),
        ({"hidden_size": 32}, "size mismatch"),
        ({"num_hidden_layers": 3}, "adapter weights"),
        ({"num_hidden_layers": 5}, "adapter weights"),
    ],
)
def test_a_base_of_another_kind_is_refused(other: dict[str, Any], problem: str, tmp_path: Path) -> None:
    add_adapters(save_base(tmp_path / "base"), tmp_path / "adapters")
    base = save_base(tmp_path / "other", **other)
    with pytest.raises(ConfigError, match="is not the model that adapters") as caught:
        merge(tmp_path / "adapters", tmp_path / "merged", base=str(base))
    assert problem in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "merged").exists()


def test_what_are_no_adapters_is_said(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    add_adapters(base, tmp_path / "adapters")

    def config(**changes: Any) -> None:
        path = tmp_path / "adapters" / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    for folder, message in [
        (tmp_path / "none", "does not exist"),
        (base, "is a whole model"),
        (tmp_path, "there is no adapter_config.json"),
    ]:
        with pytest.raises(ConfigError, match=message):
            merge(folder, tmp_path / "merged")
    weights = tmp_path / "adapters" / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for content, message in [(whole[:100], "cannot be read"), (None, "does not exist")]:
        weights.unlink()
        if content is not None:
            weights.write_bytes(content)
        else:
            weights.unlink(missing_ok=True)
        with pytest.raises(ConfigError, match=message):
            load_merged(tmp_path / "adapters", dtype="auto")
        weights.write_bytes(whole)
    config(base_model_name_or_path=None)
    with pytest.raises(ConfigError, match="names no base model"):
        merge(tmp_path / "adapters", tmp_path / "merged")
    config(peft_type="IA3", base_model_name_or_path=str(base))
    with pytest.raises(ConfigError, match="only LORA"):
        load_causal_lm(tmp_path / "adapters", dtype="auto")
    (tmp_path / "adapters" / "adapter_config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_causal_lm(tmp_path / "adapters", dtype="auto")


TIED: list[dict[str, Any]] = [
    {"target_modules": ["q_proj", "embed_tokens"]},
    {"target_modules": ["q_proj", "lm_head"]},
    {"target_modules": ["embed_tokens", "lm_head"]},
    {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
]


# PEFT's own, of the model that is compared with.
@pytest.mark.filterwarnings("ignore:(?s).*(tie_word_embeddings|save_embedding_layers)")
@pytest.mark.parametrize("options", TIED)
def test_adapters_on_a_shared_embedding_are_merged_into_a_weight_of_their_own(
    options: dict[str, Any], tmp_path: Path
) -> None:
    base = save_base(tmp_path / "base", tie_word_embeddings=True)
    adapted = add_adapters(base, tmp_path / "adapters", **options)
    expected = logits(adapted)
    assert (expected - logits(load_causal_lm(base, dtype="auto"))).abs().max() > 0.1
    loaded = load_merged(tmp_path / "adapters", dtype=torch.float32)
    assert torch.allclose(logits(loaded), expected, atol=1e-5)
    loaded.tie_weights()  # as whoever resizes the embeddings does
    assert torch.allclose(logits(loaded), expected, atol=1e-5)
    merged = AutoModelForCausalLM.from_pretrained(merge(tmp_path / "adapters", tmp_path / "merged"), dtype="auto")
    assert torch.allclose(logits(merged), expected, atol=1e-5)
    assert not merged.config.tie_word_embeddings


def test_a_shared_embedding_that_no_adapter_changes_stays_shared(tmp_path: Path) -> None:
    adapted = add_adapters(save_base(tmp_path / "base", tie_word_embeddings=True), tmp_path / "adapters")
    merged = load_merged(tmp_path / "adapters", dtype=torch.float32)
    assert merged.config.tie_word_embeddings
    assert merged.get_input_embeddings().weight is merged.get_output_embeddings().weight
    assert torch.allclose(logits(merged), logits(adapted), atol=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "holds no weight of an adapter"),
        ({"model.lm_head.weight": torch.zeros(2)}, r"holds no weight of an adapter \(no name with lora_ among 1\)"),
        ("renamed", "28 adapter weights that it needs are not in the folder, .*q_proj.lora_A"),
        (b"garbage", "cannot be read"),
        (b"", "cannot be read"),
        ([1, 2], "holds no weight of an adapter"),
        (3, "cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_a_file_without_a_usable_weight_is_refused(weights: Any, message: str, name: str, tmp_path: Path) -> None:
    if isinstance(weights, (list, int)) and name.endswith("safetensors"):
        pytest.skip("safetensors hold tensors only")
    folder = tmp_path / "adapters"
    add_adapters(save_base(tmp_path / "base", num_hidden_layers=2), folder)
    if weights == "renamed":
        whole = load_file(folder / "adapter_model.safetensors")
        weights = {name.replace("layers", "blocks"): value for name, value in whole.items()}
    (folder / "adapter_model.safetensors").unlink()
    if isinstance(weights, bytes):
        (folder / name).write_bytes(weights)
    elif name.endswith("bin"):
        torch.save(weights, folder / name)
    else:
        save_file(weights, folder / name)  # pyright: ignore[reportArgumentType]  # the others are skipped above
    with pytest.raises(ConfigError, match=message):
        load_merged(folder, dtype="auto")


def test_the_older_format_is_read(tmp_path: Path) -> None:
    adapted = add_adapters(save_base(tmp_path / "base"), tmp_path / "adapters")
    file = tmp_path / "adapters" / "adapter_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    assert torch.allclose(logits(load_merged(tmp_path / "adapters", dtype=torch.float32)), logits(adapted), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", "{", "the tokenizer of adapters .* cannot be read"),
        ("tokenizer.json", "[]", "the tokenizer of adapters .*its tokenizer is damaged, TypeError"),
        ("polymode_chat.json", '{"stop": "abc"}', "polymode_chat.json: stop = 'abc' is not allowed: give a list"),
    ],
)
def test_a_damaged_file_beside_the_adapters_leaves_nothing_half_done(
    name: str, content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_adapters(save_base(tmp_path / "base"), tmp_path / "adapters")
    (tmp_path / "adapters" / name).write_text(content)
    (tmp_path / "adapters" / "adapter_model.safetensors").write_bytes(b"")  # the weights are not reached
    assert main(["merge", str(tmp_path / "adapters"), "--out", str(tmp_path / "merged")]) == 2
    assert re.search(f"error: .*{message}", capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapters", "base"]
