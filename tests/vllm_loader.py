"""A stand-in for vLLM that reads a folder as vLLM does: with its checks of weights, adapters and lengths.

What it refuses, vLLM refuses (``AutoWeightsLoader``, ``PEFTHelper.validate_legal``, ``LoRAModel``). What it then
samples comes from transformers and PEFT, greedily, so that texts can be compared with those of other back-ends.
"""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

ARCHITECTURES = {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
LORA_MODULES = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def shapes_in(folder: Path) -> dict[str, list[int]]:
    """Shape of each tensor of the folder's safetensors files."""
    shapes: dict[str, list[int]] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(str(file), "pt") as weights:
            shapes |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    return shapes


def check_weights(folder: Path) -> None:
    """Every tensor is a parameter of the architecture, and every parameter is there, but for a tied head."""
    config = AutoConfig.from_pretrained(folder)
    assert config.architectures and set(config.architectures) <= ARCHITECTURES
    with torch.device("meta"):
        expected = {name: list(p.shape) for name, p in AutoModelForCausalLM.from_config(config).named_parameters()}
    stored = shapes_in(folder)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    assert stored.keys() - tied == expected.keys() - tied
    assert all(stored[name] == expected[name] for name in stored.keys() & expected.keys())


def check_adapters(folder: Path, max_lora_rank: int) -> None:
    """Two matrices of the rank for modules that vLLM can adapt, and no other tensor."""
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and 0 < config["r"] <= max_lora_rank
    assert not config["modules_to_save"] and not config["use_dora"] and config["bias"] == "none"
    stored = shapes_in(folder)
    assert stored
    for name, shape in stored.items():
        assert name.startswith("base_model.model.model.layers.")
        *_, module, side, last = name.split(".")
        assert module in LORA_MODULES and last == "weight"
        assert shape[{"lora_A": 0, "lora_B": 1}[side]] == config["r"]


class LLM:
    """vLLM's class of the same name."""

    def __init__(
        self, model: str, *, tokenizer: str | None = None, max_lora_rank: int = 16, generation_config: str, **flags: Any
    ) -> None:
        assert set(flags) <= {"enable_lora"} and generation_config == "vllm"
        check_weights(Path(model))
        self.max_lora_rank = max_lora_rank
        self.model: Any = AutoModelForCausalLM.from_pretrained(model)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer or model)
        self.is_adapted = False

    def get_tokenizer(self) -> Any:
        """The tokenizer."""
        return self.tokenizer

    def chat(
        self,
        chats: list[Any],
        settings: dict[str, Any],
        *,
        chat_template_kwargs: dict[str, Any],
        lora_request: Any = None,
    ) -> list[SimpleNamespace]:
        """One greedy reply to each conversation."""
        if lora_request is not None and not self.is_adapted:
            check_adapters(Path(lora_request[2]), self.max_lora_rank)
            self.model, self.is_adapted = PeftModel.from_pretrained(self.model, lora_request[2]), True
        template = self.tokenizer.apply_chat_template
        ids_of = [template(c, add_generation_prompt=True, return_dict=False, **chat_template_kwargs) for c in chats]
        return [self._reply(ids, settings["max_tokens"]) for ids in ids_of]

    def _reply(self, prompt: list[int], length: int) -> SimpleNamespace:
        ids = list(prompt)
        with torch.inference_mode():
            for _ in range(length):
                ids.append(int(self.model(torch.tensor([ids])).logits[0, -1].argmax()))
        made = ids[len(prompt) :]
        text = self.tokenizer.decode(made, skip_special_tokens=False)
        one = SimpleNamespace(text=text, token_ids=made, finish_reason="length")
        return SimpleNamespace(outputs=[one], prompt_token_ids=prompt)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in where vLLM would be."""
    modules: dict[str, Any] = {name: ModuleType(name) for name in ("vllm", "vllm.lora", "vllm.lora.request")}
    modules["vllm"].LLM, modules["vllm"].SamplingParams = LLM, lambda **settings: settings
    modules["vllm.lora.request"].LoRARequest = lambda name, number, path: (name, number, path)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
