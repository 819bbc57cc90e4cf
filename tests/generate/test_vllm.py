"""vLLM itself is not needed: a stand-in records what it was asked and replies like vLLM's documented objects."""

import builtins
import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from polymode.chat import Chat
from polymode.errors import ConfigError, MissingExtraError, PromptRefusedError
from polymode.generate.p_true import Replier
from polymode.generate.vllm import NEUTRAL, VLLMGenerator


class Letters(SimpleNamespace):
    """A tokenizer whose tokens are characters."""

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}


@dataclass
class Engine:
    model: str
    options: dict[str, Any]
    template: str | None = None
    ending: str = ""
    """What the template writes behind a prompt."""
    calls: list[tuple[str, Any, dict[str, Any]]] = field(default_factory=list)
    chat_template_kwargs: dict[str, Any] | None = None
    adapters: Any = None

    def get_tokenizer(self) -> Letters:
        return Letters(
            chat_template=self.template,
            decode=lambda ids, **_: "".join(map(chr, ids)),
            apply_chat_template=self.render,
        )

    def render(self, messages: list[dict[str, str]], *, tokenize: bool = True, **_: Any) -> Any:
        text = "".join(message["content"] + self.ending for message in messages)
        return [ord(character) for character in text] if tokenize else text

    def get_default_sampling_params(self) -> SimpleNamespace:
        return SimpleNamespace(repetition_penalty=1.05, top_k=20)

    def generate(self, prompts: list[str], settings: dict[str, Any], lora_request: Any = None) -> list[SimpleNamespace]:
        self.adapters = lora_request
        self.calls.append(("generate", prompts, settings))
        return [self._result(prompt, settings["n"]) for prompt in prompts]

    def chat(
        self,
        conversations: list[list[dict[str, str]]],
        settings: dict[str, Any],
        chat_template_kwargs: dict[str, Any],
        lora_request: Any = None,
    ) -> list[SimpleNamespace]:
        self.adapters = lora_request
        self.chat_template_kwargs = chat_template_kwargs
        self.calls.append(("chat", conversations, settings))
        return [self._result(conversation[-1]["content"], settings["n"]) for conversation in conversations]

    def _result(self, prompt: str, n: int) -> SimpleNamespace:
        outputs = [
            SimpleNamespace(text=f"{prompt}-{i}", token_ids=[1] * (i + 2), finish_reason="stop" if i == 0 else "length")
            for i in range(n)
        ]
        return SimpleNamespace(outputs=outputs, prompt_token_ids=[ord(c) for c in prompt + self.ending])


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("vllm")
    module.template, module.ending = None, ""
    module.LLM = lambda model, **options: Engine(model, options, module.template, module.ending)
    module.SamplingParams = lambda **settings: settings
    monkeypatch.setitem(sys.modules, "vllm", module)
    requests: Any = ModuleType("vllm.lora.request")
    requests.LoRARequest = lambda name, number, path: (name, number, path)
    monkeypatch.setitem(sys.modules, "vllm.lora", ModuleType("vllm.lora"))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", requests)
    return module


@pytest.mark.parametrize("template", [None, "a template that reads enable_thinking"])
def test_prompts_go_in_and_texts_come_out_in_order(fake_vllm: Any, template: str | None) -> None:
    fake_vllm.template = template
    generator = VLLMGenerator(
        "some/model", gpu_memory_utilization=0.5, chat=Chat({"enable_thinking": False} if template else {})
    )
    made = generator.generate(["p", "q"], n=2, max_tokens=7, temperature=0.7, seed=3)
    assert [[(g.text, g.n_tokens, g.is_finished) for g in group] for group in made] == [
        [("p-0", 2, True), ("p-1", 3, False)],
        [("q-0", 2, True), ("q-1", 3, False)],
    ]
    options = {"gpu_memory_utilization": 0.5, "generation_config": "vllm"}  # not the model's own
    assert (generator.engine.model, generator.engine.options) == ("some/model", options)
    ((way, asked, settings),) = generator.engine.calls
    sampling = {"n": 2, "max_tokens": 7, "temperature": 0.7, "seed": 3, "skip_special_tokens": False}
    assert settings == {**NEUTRAL, **sampling}
    if template is None:
        assert (way, asked) == ("generate", ["p", "q"])
    else:
        assert (way, asked[0]) == ("chat", [{"role": "user", "content": "p"}])
        assert generator.engine.chat_template_kwargs == {"enable_thinking": False}


def test_reasoning_that_the_template_opened_stands_in_the_text(fake_vllm: Any) -> None:
    fake_vllm.template, fake_vllm.ending = "a template", "<|assistant|>\n<think>\n"
    generator = VLLMGenerator("some/model")
    [[made]] = generator.generate(["p"], n=1, max_tokens=7, temperature=0.7, seed=3)
    assert made.text == "<think>\np-0"


def write_adapters(folder: Path, **config: Any) -> Path:
    plain = {"peft_type": "LORA", "base_model_name_or_path": "some/base", "r": 16}
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**plain, **config}))
    return folder


@pytest.mark.usefixtures("fake_vllm")
@pytest.mark.parametrize("template", [None, "a template"])
def test_adapters_are_applied_to_their_base(template: str | None, tmp_path: Path) -> None:
    folder = write_adapters(tmp_path / "model", rank_pattern={"q_proj": 40})
    generator = VLLMGenerator(folder, enforce_eager=True)
    generator.engine.template = template
    assert generator.engine.model == "some/base"
    lora = {"enable_lora": True, "max_lora_rank": 64, "enforce_eager": True, "generation_config": "vllm"}
    assert generator.engine.options == {"tokenizer": "some/base", **lora}
    generator.generate(["p"], n=1, max_tokens=7, temperature=0.7, seed=3)
    assert generator.engine.adapters == ("model", 1, str(folder.resolve()))
    (folder / "tokenizer_config.json").write_text("{}")
    assert VLLMGenerator(folder, max_lora_rank=128).engine.options["tokenizer"] == str(folder)


@pytest.mark.usefixtures("fake_vllm")
@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({"r": 16}, {"max_lora_rank": 8}, "rank 16 is above max_lora_rank = 8"),
        ({"r": 600}, {}, "rank 600 is above 512"),
        ({"modules_to_save": ["lm_head"]}, {}, "modules_to_save"),
        ({"use_dora": True}, {}, "use_dora"),
        ({"target_modules": ["q_proj", "lm_head"]}, {}, "they change lm_head, which input and output may share"),
        ({"target_modules": ".*(q_proj|embed_tokens)"}, {}, "they change embed_tokens"),
        ({"base_model_name_or_path": "FOLDER"}, {}, "holds adapters too"),
    ],
)
def test_adapters_that_vllm_cannot_apply_are_to_be_merged(
    config: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if "base_model_name_or_path" in config:
        config = {"base_model_name_or_path": str(write_adapters(tmp_path / "below"))}
    folder = write_adapters(tmp_path / "model", **config)
    with pytest.raises(ConfigError, match=message) as caught:
        VLLMGenerator(folder, **options)
    assert f"polymode merge {folder}" in str(caught.value)


@pytest.mark.usefixtures("fake_vllm")
def test_what_comes_with_the_model_is_used_only_when_it_is_asked_for() -> None:
    sampling = {"n": 1, "max_tokens": 7, "temperature": 0.7, "seed": 3, "skip_special_tokens": False}
    asked = VLLMGenerator("some/model", generation_config={"repetition_penalty": 1.1})
    asked.generate(["p"], n=1, max_tokens=7, temperature=0.7, seed=3)
    assert asked.engine.calls[0][2] == {**NEUTRAL, **sampling, "repetition_penalty": 1.1}
    own = VLLMGenerator("some/model", generation_config="model", chat=Chat(stop=("\n\n",)))
    assert own.engine.options == {"generation_config": "auto"}
    settings = own.engine.get_default_sampling_params()
    own.engine.get_default_sampling_params = lambda: settings
    own.engine.generate = lambda prompts, given: [Engine("", {})._result(prompt, given.n) for prompt in prompts]
    own.generate(["p"], n=1, max_tokens=7, temperature=0.7, seed=3)
    assert vars(settings) == {"repetition_penalty": 1.05, "top_k": 20, **sampling, "stop": ["\n\n"]}
    with pytest.raises(ConfigError, match="generation_config = 'yes' is not allowed"):
        VLLMGenerator("some/model", generation_config="yes")


@pytest.mark.usefixtures("fake_vllm")
def test_a_system_prompt_and_examples_go_in_front_without_a_chat_template() -> None:
    chat = Chat(system="Be brief.", shots=(("Name a colour.", "Red"),), stop=("\n\n",))
    generator = VLLMGenerator("some/model", chat=chat)
    generator.generate(["Name a metal."], n=1, max_tokens=7, temperature=0.7, seed=3)
    ((_, prompts, settings),) = generator.engine.calls
    assert prompts == ["Be brief.\n\nName a colour.\nRed\n\nName a metal.\n"]
    assert settings["stop"] == ["\n\n"]


def test_without_vllm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def no_vllm(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "vllm":
            raise ImportError("no vllm here")
        return importing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_vllm)
    with pytest.raises(MissingExtraError, match=r"generating with vLLM needs .* pip install 'polymode\[vllm\]'"):
        VLLMGenerator("some/model")


@pytest.mark.usefixtures("fake_vllm")
def test_the_probability_of_a_word_is_read_from_the_listed_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = VLLMGenerator("some/model")
    generator.engine.template, generator.engine.ending = "a template", "<think>\n"

    def listed(*tokens: tuple[str, float]) -> dict[int, SimpleNamespace]:
        return {i: SimpleNamespace(decoded_token=t, logprob=math.log(p)) for i, (t, p) in enumerate(tokens)}

    # Behind the reasoning: True .6 and its spelling .2, False .1; inside it nothing counts.
    logprobs = [
        listed(("False", 0.9)),
        listed(("</think>", 1.0)),
        listed(("True", 0.6), (" TRUE", 0.2), ("False", 0.1)),
    ]
    out = SimpleNamespace(text="False</think>True", token_ids=[0, 0, 0], finish_reason="stop", logprobs=logprobs)
    empty = SimpleNamespace(text="", token_ids=[], finish_reason="length", logprobs=[])
    outputs = iter([[out], [empty]])
    monkeypatch.setattr(
        Engine,
        "_result",
        lambda self, prompt, n: SimpleNamespace(outputs=next(outputs), prompt_token_ids=[ord(c) for c in "p<think>\n"]),
    )
    probabilities = generator.reply_probabilities(["p", "q"], ["True", "False"], n=10, max_tokens=9, seed=1)
    assert probabilities == [pytest.approx([0.8, 0.1]), [0.0, 0.0]]
    assert generator.engine.calls[0][2]["logprobs"] == 20
    assert isinstance(generator, Replier)


@pytest.mark.usefixtures("fake_vllm")
def test_a_prompt_that_is_too_long_is_refused_by_itself() -> None:
    generator = VLLMGenerator("some/model")
    generator.engine.template = "a template"
    generator.tokenizer = generator.engine.get_tokenizer()
    generator.engine.model_config = SimpleNamespace(max_model_len=4)
    with pytest.raises(PromptRefusedError, match="a prompt has 4 tokens and the model reads 4"):
        generator.reply_probabilities(["pppp"], ["True", "False"], n=1, max_tokens=9, seed=1)
    assert generator.engine.calls == []
