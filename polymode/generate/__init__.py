"""Generators: where completions come from (layer L4). Results meet the other stages only as ``completions.jsonl``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from polymode import runs
from polymode.chat import Chat
from polymode.errors import ConfigError
from polymode.plugins import Entry, Registry
from polymode.prompts import Style, prompt_for
from polymode.types import Completion, Example


@dataclass(frozen=True, slots=True)
class Generated:
    """One sampled text."""

    text: str
    """The completion without its end token; a ``<think>`` that the prompt opened stands in front of it."""
    n_tokens: int | None
    """Generated tokens, end token included; None when the back-end does not tell."""
    is_finished: bool
    """False when generation was cut off at its length limit."""
    n_prompt_tokens: int | None = None
    """Tokens of the prompt; None when the back-end does not tell."""


OnText = Callable[[int, int, str], None]
"""Called with the number of a prompt, the number of its completion, and the text so far; from any thread."""


class Generator(Protocol):
    """A source of completions; the same prompts, settings and seed give the same texts.

    An attribute ``batch`` may say how many completions one call should ask for (`polymode.generate.batches`), and one
    ``takes_seeds`` that ``seed`` may be a list, with one for each prompt: then a prompt's completions do not depend on
    those beside it, and `polymode serve` puts requests together (`polymode.web.batching`). One ``tells_texts`` says
    that `generate` takes ``on_text``, an `OnText` that is called as completions grow.
    """

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        """``n`` completions of each prompt, in the order of the prompts."""
        ...


def seeds_of(seed: int, n: int) -> list[int]:
    """Seeds of ``n`` completions of a prompt, in 0..2^31 - 1: its own, then ones that the first ones do not move."""
    return [seed, *(int(np.random.SeedSequence((seed, i)).generate_state(1)[0] >> 1) for i in range(1, n))]


GENERATORS: Registry[Generator] = Registry(
    "generator",
    {
        "transformers": Entry(
            "polymode.generate.transformers:TransformersGenerator",
            "PyTorch in this process (needs the extra `train`)",
        ),
        "vllm": Entry("polymode.generate.vllm:VLLMGenerator", "vLLM in this process (needs a GPU, extra `vllm`)"),
        "openai": Entry(
            "polymode.generate.openai_http:OpenAIGenerator", "a server with an OpenAI-compatible API (option base_url)"
        ),
    },
    Generator,
)
"""What runs a model, by name. Each class takes the model's name or folder as its argument ``model``."""


PATIENCE = {"patience": 1800.0, "retries": 8, "timeout": 600.0}
"""Hints for a back-end behind a server in a long run: seconds for a completion, attempts, seconds for each."""


def open_generator(
    name: str,
    model: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    chat: Chat | None = None,
    **hints: object,
) -> Generator:
    """The generator called ``name``, for ``model``.

    Args:
        name: one of `GENERATORS`, or ``module:Name`` of a class with the method of `Generator`.
        model: name or folder of the model.
        options: further keyword arguments of the class.
        chat: how prompts are put to the model; None means the generator's own choice.
        hints: as options (``batch``, ``timeout``, ``show_progress``), passed on only where the class takes them.

    Raises:
        ConfigError: unknown name or option, a class that is no generator, or a model that cannot be loaded.
        MissingExtraError: a package that the generator needs is not installed.
    """
    usable = {hint: value for hint, value in hints.items() if hint in GENERATORS.options(name)}
    given = {} if chat is None else {"chat": chat}
    if given and "chat" not in GENERATORS.options(name):
        raise ConfigError(
            f"back-end {name!r} takes no chat template, system prompt, shots or stop strings: leave them out"
        )
    return GENERATORS.open(name, **{**usable, **given, **(options or {}), "model": model})


def chat_of(model: str | Path) -> Chat:
    """How the training that made the model put prompts to it; plainly if no run of polymode made it."""
    remembered, run = runs.read_chat(Path(model)), Path(model).parent
    if remembered is None and runs.is_training(run):  # of a version that remembered the template's arguments alone
        remembered = Chat(template=runs.read_configuration(run).config.get("chat_template") or {})
    return remembered or Chat()


def generation_fields(generation_config: Mapping[str, Any] | str | None) -> Mapping[str, Any] | None:
    """The fields that a back-end's option ``generation_config`` asks for; None stands for those of the model.

    Raises:
        ConfigError: neither fields nor ``model``.
    """
    if generation_config is None or isinstance(generation_config, Mapping):
        return generation_config or {}
    if generation_config != "model":
        raise ConfigError(
            f"generation_config = {generation_config!r} is not allowed: give fields such as repetition_penalty, or "
            "model for those that come with the model"
        )
    return None


def sample_completions(
    examples: Sequence[Example],
    generator: Generator,
    *,
    k: int,
    confidence: bool,
    samples: int,
    max_tokens: int,
    temperature: float,
    seed: int,
    style: Style,
) -> list[Completion]:
    """``samples`` completions of every example, asked for ``k`` answers each, in the order of the examples."""
    prompts = [prompt_for(example, k, confidence=confidence, style=style) for example in examples]
    generated = generator.generate(prompts, n=samples, max_tokens=max_tokens, temperature=temperature, seed=seed)
    return [
        Completion(example, text.text, k, confidence, number, text.n_tokens, text.is_finished)
        for example, texts in zip(examples, generated, strict=True)
        for number, text in enumerate(texts)
    ]
