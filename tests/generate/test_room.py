"""Before anything is sampled: can the model read the prompts and write the format? Asked by every verb alike."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import normalizers

from polymode.chat import Chat
from polymode.errors import ConfigError
from polymode.generate.room import check_room
from polymode.reproduce import arms
from polymode.reproduce.plans import View
from polymode.tasks import open_task, verifier_of
from polymode.training.recipe import Recipe

from ..chat_models import byte_level_tokenizer

HOW: dict[str, Any] = {"k": 3, "confidence": True, "style": "brief", "max_tokens": 200}


def model(context: int | None, *, is_lossy: bool = False) -> Any:
    """What a back-end with a tokenizer tells of its model."""
    tokenizer = byte_level_tokenizer()
    if is_lossy:
        tokenizer.backend_tokenizer.normalizer = normalizers.Replace("<", "")
    encode = lambda text: tokenizer(text)["input_ids"]  # noqa: E731
    return SimpleNamespace(tokenizer=tokenizer, context=context, encode=encode, chat=Chat())


def test_the_longest_prompt_counts() -> None:
    generator = model(400)
    longest = len(generator.encode("b" * 250))
    assert check_room(generator, ["a", "b" * 250, "c"], **HOW) == 400 - longest < 200
    assert check_room(model(None), ["b" * 250], **HOW) == 200
    with pytest.raises(ConfigError, match="the longest prompt has"):
        check_room(generator, ["b" * 390], **HOW)


def test_of_servers_the_stop_strings_alone_are_checked() -> None:
    assert check_room(SimpleNamespace(), ["b" * 10_000], **HOW) == 200
    assert check_room(SimpleNamespace(chat=Chat(stop=("\n\n",))), ["b"], **HOW) == 200
    with pytest.raises(ConfigError, match="stop = '<answer2>' stands in the answer format"):
        check_room(SimpleNamespace(chat=Chat(stop=("\n\n", "<answer2>"))), ["b"], **HOW)


@pytest.mark.parametrize(
    ("generator", "message"),
    [(model(4000, is_lossy=True), "does not keep the answer format"), (model(150), "the longest prompt has")],
)
def test_experiments_ask_too(generator: Any, message: str, tmp_path: Path) -> None:
    recipe = Recipe(task="clinic", method="multi-rlcr", max_completion_length=96)
    task = open_task("clinic")
    how: dict[str, Any] = {"task": task, "verifier": verifier_of(task), "refused": "stop"}
    with pytest.raises(ConfigError, match=message):
        arms._sample(generator, recipe, View("set", 3, 1, True), tmp_path / "set", (4, 1), **how)
    assert not (tmp_path / "set" / "completions.jsonl").exists()
