"""From a prompt to what a model reads: chat template, system prompt, few-shot examples, stop strings (layer L1).

Sampling, scoring, the rows of every trainer, answering and serving all go through `Chat`, so a model is trained on
exactly the text that it is later asked with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polymode.errors import ConfigError
from polymode.parsing import final_part, parse_answers, states_confidences
from polymode.prompts import MAX_K, Style, build_plain_prompt, build_prompt, encodable

Message = dict[str, str]
_RESERVED = ("chat_template", "conversation", "tokenize", "add_generation_prompt", "return_dict", "messages")
_ANSWER_TAG, _ANSWER_LINE = re.compile("<answer[0-9]*>"), re.compile(r"(?m)^\s*+[0-9]{1,2}\.\s")
_MAX_STOP = 200
"""Longest stop string, in characters."""
_TRIAL = build_prompt(
    "\n".join(
        ["Which of these gases is noble?", *(f'{i}. Is it rare & isn\'t "dear", if a <b> 1?' for i in range(400))]
    ),
    3,
    confidence=True,
)
"""A prompt that a template is tried with: long, with the tags of the format and other marks that it might escape."""
_SHOWN = 24
"""Characters of a prompt that are shown where a template changes it."""
_SET_BY_TRANSFORMERS = frozenset(
    (
        *("messages", "add_generation_prompt", "continue_final_message", "tools", "documents"),
        *("raise_exception", "strftime_now", "bos_token", "eos_token", "unk_token", "sep_token", "pad_token"),
        *("cls_token", "mask_token", "additional_special_tokens"),
    )
)
"""Variables of a chat template that nobody needs to set."""


@dataclass(frozen=True, slots=True)
class Chat:
    """How a prompt becomes what the model reads, and what ends a completion besides the end tokens.

    Raises:
        ConfigError: an argument of the template that polymode sets itself, or a stop string that is empty or too long.
    """

    template: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the model's chat template, such as ``{"enable_thinking": False}``."""
    system: str = ""
    """System prompt; empty means none."""
    shots: tuple[tuple[str, str], ...] = ()
    """Few-shot examples, each a prompt and its completion (`shots_from`)."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion; it ends before the first of them."""

    def __post_init__(self) -> None:
        for name in _RESERVED:
            if name in self.template:
                raise ConfigError(f"chat_template: {name!r} cannot be changed; leave it out")
        for text in self.stop:
            if not isinstance(text, str) or not 0 < len(text) <= _MAX_STOP:
                raise ConfigError(f"stop = {text!r:.60} is not allowed: give texts of 1 to {_MAX_STOP} characters")

    def messages(self, prompt: str) -> list[Message]:
        """The conversation that ends with ``prompt``."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        shots = [
            message
            for question, completion in self.shots
            for message in ({"role": "user", "content": question}, {"role": "assistant", "content": completion})
        ]
        return [*system, *shots, {"role": "user", "content": prompt}]

    def plain(self, prompt: str) -> str:
        """The text for a model without chat template: the prompt, after the system prompt and the examples if any."""
        if not self.system and not self.shots:
            return prompt
        turns = [f"{question.rstrip()}\n{completion.strip()}" for question, completion in self.shots]
        return "\n\n".join([*([self.system.strip()] if self.system else []), *turns, f"{prompt.rstrip()}\n"])

    def text(self, tokenizer: Any, prompt: str) -> str:
        """The text that the model goes on from, without the special tokens that a tokenizer adds by itself."""
        return self._render(tokenizer, prompt, tokenize=False) if has_template(tokenizer) else self.plain(prompt)

    def encode(self, tokenizer: Any, prompt: str) -> list[int]:
        """The tokens that the model reads.

        Raises:
            ConfigError: the chat template refuses the conversation.
        """
        if has_template(tokenizer):
            return self._render(tokenizer, prompt, return_dict=False)
        return tokenizer(self.plain(prompt), add_special_tokens=True)["input_ids"]

    def cut(self, text: str) -> str:
        """``text`` up to the first stop string in it."""
        found = [place for stop in self.stop if (place := text.find(stop)) >= 0]
        return text[: min(found)] if found else text

    def check(self, tokenizer: Any, rows: int | None = None) -> None:
        """Refuse what the model's chat template would silently ignore, or loudly reject.

        Args:
            tokenizer: of the model.
            rows: of the model's input embeddings; None when unknown.

        Raises:
            ConfigError: arguments without a template, or that it does not read; a system prompt that it refuses; a
                prompt, system prompt or example that it leaves out, as templates for messages with images do; a prompt
                that it shortens or escapes; tokens in a prompt that the model does not have, or behind it.
        """
        if self.template and not has_template(tokenizer):
            raise ConfigError(
                f"chat_template = {dict(self.template)!r}: the model has no chat template; leave it out, or use an "
                "instruction-tuned model"
            )
        source = getattr(tokenizer, "chat_template", None)
        if isinstance(source, str):
            for name in self.template:
                if not re.search(rf"\b{re.escape(name)}\b", source):
                    raise ConfigError(
                        f"chat_template: the model's chat template does not read {name!r}: check the spelling, or "
                        "leave it out"
                    )
        if has_template(tokenizer):
            rendered = " ".join(self.text(tokenizer, _TRIAL).split())
            if problem := _change_of(" ".join(_TRIAL.split()), rendered):
                raise ConfigError(f"the model's chat template {problem}: use an instruction-tuned model for text")
            shots = ("\n".join(part.rpartition("</think>")[2] for part in shot) for shot in self.shots)
            for name, text in (("system", self.system), *(("shots", shot) for shot in shots)):
                # Templates trim what they are given, and drop the reasoning of earlier replies.
                if any(" ".join(line.split()) not in rendered for line in text.splitlines()):
                    raise ConfigError(
                        f"the model's chat template leaves out {name}, so nobody would read it: leave {name} out"
                    )

        self._check_tokens(tokenizer, rows)

    def _check_tokens(self, tokenizer: Any, rows: int | None) -> None:
        """Refuse a tokenizer that writes tokens without an embedding, or an end token behind every prompt."""
        ids = self.encode(tokenizer, _TRIAL)
        last = max(ids, default=0)
        if rows is not None and last >= rows:
            what = "chat template" if has_template(tokenizer) else "tokenizer"
            raise ConfigError(
                f"the model's {what} writes {tokenizer.convert_ids_to_tokens(last)!r}, token {last:,}, and the model "
                f"knows {rows:,}: resize its token embeddings and train them, or use the model and the tokenizer that "
                "belong together"
            )
        if not has_template(tokenizer) and ids and ids[-1] in (getattr(tokenizer, "all_special_ids", None) or ()):
            own = tokenizer(self.plain(_TRIAL), add_special_tokens=False)["input_ids"]
            if own[-1:] != ids[-1:]:
                raise ConfigError(
                    f"the model's tokenizer puts {tokenizer.convert_ids_to_tokens(ids[-1])!r} behind every prompt, so "
                    "that the model would go on from the end of a text: take it out of post_processor in its "
                    "tokenizer.json, or set add_eos_token to false in its tokenizer_config.json where that is read"
                )

    def _render(self, tokenizer: Any, prompt: str, **options: Any) -> Any:
        try:
            return tokenizer.apply_chat_template(
                self.messages(prompt), add_generation_prompt=True, **options, **self.template
            )
        except Exception as exc:  # a template is a program, and its arguments are anybody's
            raise self._refusal(tokenizer, prompt, exc) from exc

    def _refusal(self, tokenizer: Any, prompt: str, exc: Exception) -> ConfigError:
        """What a chat template refuses, by what it takes without it."""

        def takes(chat: Chat) -> bool:
            try:
                tokenizer.apply_chat_template(
                    chat.messages(prompt), add_generation_prompt=True, tokenize=False, **chat.template
                )
            except Exception:  # as above
                return False
            return True

        is_refusal = type(exc).__module__.partition(".")[0] == "jinja2"
        problem = " ".join((str(exc) if is_refusal else f"{type(exc).__name__}: {exc}").split())[:140]
        if (self.system or self.shots) and takes(Chat(self.template)):
            return ConfigError(
                f"the model's chat template refuses system or shots ({problem}): leave out system and shots, or use a "
                "model that takes them"
            )
        if self.template and (not is_refusal or takes(Chat())):
            return ConfigError(
                f"chat_template = {dict(self.template)!r}: the model's chat template fails with it ({problem}): "
                "give a value of the kind that it expects"
            )
        unset = _variables(tokenizer) - self.template.keys()
        if unset := sorted({name for name in unset if re.search(rf"\b{name}\b", problem)} or unset):
            return ConfigError(
                f"the model's chat template refuses the prompt ({problem}), and nobody sets {', '.join(unset)}, which "
                f"it reads: give chat_template, for example --chat-template {unset[0]}=VALUE"
            )
        return ConfigError(
            f"the model's chat template refuses the prompt ({problem}): mend chat_template of its tokenizer, or use "
            "another model"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `chat_from` reads them."""
        return {
            "chat_template": dict(self.template),
            "system": self.system,
            "shots": [{"prompt": prompt, "completion": completion} for prompt, completion in self.shots],
            "stop": list(self.stop),
        }


def chat_from(values: Mapping[str, Any]) -> Chat:
    """The inverse of `Chat.to_json`.

    Raises:
        ConfigError: a value of another kind than `Chat.to_json` writes, or that `Chat` refuses.
    """
    for name, kind, wanted in (
        ("chat_template", Mapping, "an object"),
        ("system", str, "a text"),
        ("shots", list, "a list of objects with prompt and completion"),
        ("stop", list, "a list of texts"),
    ):
        value = values.get(name)
        if value is not None and not isinstance(value, kind):
            raise ConfigError(f"{name} = {value!r:.60} is not allowed: give {wanted}")
    for shot in values.get("shots") or ():
        texts = [shot.get(name) for name in ("prompt", "completion")] if isinstance(shot, Mapping) else [None]
        if not all(isinstance(text, str) for text in texts):
            raise ConfigError(
                f"shots: {shot!r:.60} is not allowed: give an object with the texts prompt and completion"
            )
    return Chat(
        template=values.get("chat_template") or {},
        system=values.get("system") or "",
        shots=tuple((shot["prompt"], shot["completion"]) for shot in values.get("shots") or ()),
        stop=tuple(values.get("stop") or ()),
    )


def has_template(tokenizer: Any) -> bool:
    """Whether the tokenizer has a chat template."""
    return getattr(tokenizer, "chat_template", None) is not None


def _change_of(prompt: str, rendered: str) -> str:
    """What a chat template did to a prompt, in words; "" where the prompt stands whole in what it wrote."""
    if prompt in rendered:
        return ""
    low, high = 0, len(prompt)  # the longest beginning of the prompt that is there
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if prompt[:middle] in rendered else (low, middle)
    if low < _SHOWN:
        return "leaves out the prompt, so nobody would read it"
    written = rendered[rendered.index(prompt[:low]) + low :][:_SHOWN]
    return (
        f"changes the prompt (behind {prompt[low - _SHOWN : low]!r}, its first {low} characters, stands {written!r} in "
        f"place of {prompt[low : low + _SHOWN]!r})"
    )


def _variables(tokenizer: Any) -> set[str]:
    """Names of what a chat template reads besides what transformers sets; none where it cannot be told."""
    source = tokenizer.chat_template
    source = source.get("default") if isinstance(source, Mapping) else source
    try:
        from jinja2 import Environment, meta

        # A tag of transformers' own, around what the assistant says.
        source = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", str(source))
        read = meta.find_undeclared_variables(Environment(extensions=["jinja2.ext.loopcontrols"]).parse(source))
    except Exception:  # not installed, or no template
        return set()
    return read - _SET_BY_TRANSFORMERS - set(getattr(tokenizer, "special_tokens_map", ()))


def shots_from(rows: Sequence[Mapping[str, str]], style: Style, *, ask: str = "") -> tuple[tuple[str, str], ...]:
    """Few-shot examples from questions with completions, each question asked as its completion answers it.

    A completion in the answer format of K answers is preceded by a prompt for K answers, with confidences where it has
    some; any other completion by a plain question.

    Args:
        rows: mappings with ``question`` and ``completion``.
        style: of the prompts.
        ask: wording of the task.

    Raises:
        ConfigError: a completion that begins the answer format and does not keep it.
    """
    return tuple(
        (_prompt_of(row["question"], encodable(row["completion"]), style, ask, number), encodable(row["completion"]))
        for number, row in enumerate(rows, 1)
    )


def format_of(completion: str) -> tuple[int, bool]:
    """K and whether there are confidences in a completion in the answer format; K is 0 where it does not begin it.

    Raises:
        ConfigError: it begins the format and breaks it; says how.
    """
    for k in range(1, MAX_K + 1):
        for confidence in (True, False):
            if parse_answers(completion, k, confidence=confidence).is_clean:
                return k, confidence
    has_confidence = states_confidences(completion)
    if "<answer" not in completion and not has_confidence:
        return 0, False
    # What it departs from is the format of as many answers as it begins.
    final = final_part(completion)
    n_begun = len(_ANSWER_TAG.findall(final) or _ANSWER_LINE.findall(final))
    broken = parse_answers(completion, min(max(n_begun, 1), MAX_K), confidence=has_confidence)
    raise ConfigError(f"the completion does not keep the answer format ({broken.reason})")


def _prompt_of(question: str, completion: str, style: Style, ask: str, number: int) -> str:
    try:
        k, confidence = format_of(completion)
    except ConfigError as exc:
        raise ConfigError(f"shots, number {number}: {exc}") from None
    if not k:
        return build_plain_prompt(encodable(question))
    return build_prompt(question, k, confidence=confidence, style=style, ask=ask)
