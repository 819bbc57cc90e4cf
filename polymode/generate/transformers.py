"""Sampling with transformers: batched, seeded; samples of a question share its prompt where the model allows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from polymode.chat import Chat
from polymode.decoding.loading import check_vocabulary, load_causal_lm, load_tokenizer, loading_problem
from polymode.decoding.texts import CompletionDecoder, opening_of, set_padding
from polymode.decoding.token_starts import TokenStarts
from polymode.errors import ConfigError, MissingExtraError, PromptRefusedError, UserError, number_in
from polymode.generate import Generated, OnText, chat_of, generation_fields, seeds_of
from polymode.generate.spellings import spelled_probabilities, tokens_of
from polymode.types import AnswerSet

TELL_SECONDS = 0.1
"""Between two texts of a completion that grows."""
_LEAST_BLOCK = 16
"""Positions of each text that are worth a pass of the model."""


class TransformersGenerator:
    """Samples from a causal LM.

    Args:
        model: name or folder of the model and its tokenizer (a folder with LoRA adapters works too), or a GGUF file.
        batch: completions sampled at once.
        dtype: what it computes in: auto, bfloat16 or float32 (`polymode.decoding.precision.compute_dtype`).
        show_progress: draw a progress bar.
        chat: how prompts are put to the model; None means as in the training that made it, if one did.
        generation_config: further fields of transformers' GenerationConfig, such as ``{"repetition_penalty": 1.05}``,
            or ``model`` for those that come with the model; None means none, so that samples are of the model's own
            distribution.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ConfigError: the model cannot be loaded, or an option is out of its range.
    """

    takes_seeds = tells_texts = True

    def __init__(
        self,
        model: str | Path,
        *,
        batch: int = 256,
        dtype: str = "auto",
        show_progress: bool = True,
        chat: Chat | None = None,
        generation_config: Mapping[str, Any] | str | None = None,
    ) -> None:
        try:
            import torch
            import transformers  # noqa: F401  # so that its absence is told by name

            from polymode.decoding.memory import check_memory
            from polymode.decoding.precision import compute_dtype, parameters_of
            from polymode.decoding.sampler import Sampler, neutralise
        except ImportError as exc:
            raise MissingExtraError(exc.name or "torch", "train", "generating with a local model") from None
        self.batch, self.show_progress = int(number_in("batch", batch, 1, whole=True)), show_progress
        self.chat = chat_of(model) if chat is None else chat
        asked = generation_fields(generation_config)
        try:
            self.tokenizer = load_tokenizer(model, padding_side="left")
            number = compute_dtype(dtype, model)
            advice = "use a smaller model" if number.itemsize == 2 else "use dtype bfloat16, or a smaller model"
            check_memory(model, parameters_of(model), number.itemsize, what="holding", advice=advice)
            self.model = load_causal_lm(model, dtype=number)
        except UserError:
            raise
        except (OSError, ValueError) as exc:
            raise ConfigError(loading_problem(model, exc)) from exc
        rows = self.model.get_input_embeddings().weight.shape[0]
        check_vocabulary(model, rows, self.tokenizer)
        set_padding(self.tokenizer)
        self._move(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.chat.check(self.tokenizer, rows)
        own = neutralise(self.model, self.tokenizer)
        self._sampler = Sampler(self.model, self.tokenizer, self.chat, own if asked is None else asked)

    def _move(self, device: Any) -> None:
        import torch

        try:
            self.model.to(device).eval()
        except torch.OutOfMemoryError as exc:
            n_bytes = sum(p.numel() * p.element_size() for p in self.model.parameters())
            raise ConfigError(
                f"the GPU has no room for the model, whose weights take {n_bytes / 1e9:.1f} GB: use dtype=bfloat16, a "
                "smaller model, or the CPU (CUDA_VISIBLE_DEVICES=), or end what else runs on the GPU"
            ) from exc

    def generate(
        self,
        prompts: Sequence[str],
        *,
        n: int,
        max_tokens: int,
        temperature: float,
        seed: int | Sequence[int],
        on_text: OnText | None = None,
    ) -> list[list[Generated]]:
        """``n`` completions of each prompt; temperature 0 takes the most likely token each time.

        With a list of seeds, one for each prompt, a completion depends on its own prompt and seed alone, but for
        rounding. ``on_text`` is called with each completion as it grows, a few times a second.

        Raises:
            PromptRefusedError: a prompt is as long as what the model reads.
        """
        import torch

        ids = [self.encode(prompt) for prompt in prompts]
        self._check_length(ids)
        out: list[list[Generated]] = [[] for _ in prompts]
        rows = [i for i in range(len(prompts)) for _ in range(n)]
        own = None if isinstance(seed, int) else [iter(seeds_of(one, n)) for one in seed]
        with torch.random.fork_rng(), torch.inference_mode():
            if isinstance(seed, int):
                torch.manual_seed(seed)
            for chunk in self._batches(rows, ids, self.batch, "generate"):
                seeds = None if own is None else [next(own[i]) for i in chunk]
                watch = None if on_text is None else self._watch(chunk, [len(out[i]) for i in chunk], ids, on_text)
                sampled = self._sample([ids[i] for i in chunk], max_tokens, temperature, seeds, watch)
                for row, generated in zip(chunk, sampled, strict=True):
                    out[row].append(generated)
        return out

    def token_log_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[list[tuple[int, int, float]]]:
        """Log-probability of each token of ``texts``, given its prompt and what stands before it, at temperature 1.

        Returns:
            Per text its tokens as (start, end, log-probability); start and end are offsets into the text, which is
            tokenised anew (a sampled text may have been made of other tokens).
        """
        prompt_ids = [self.encode(prompt) for prompt in prompts]
        tails = [self._without_opening(text, ids_T) for text, ids_T in zip(texts, prompt_ids, strict=True)]
        encoded = [self.tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True) for tail in tails]
        ids = [ids_T + tail["input_ids"] for ids_T, tail in zip(prompt_ids, encoded, strict=True)]
        self._check_length(ids, room=0, what="a prompt with its completion")
        out: list[list[tuple[int, int, float]]] = [[] for _ in texts]
        for row, values in self._log_probabilities(ids, [len(tail["input_ids"]) for tail in encoded]):
            offsets, shift = encoded[row]["offset_mapping"], len(texts[row]) - len(tails[row])
            out[row] = [(a + shift, b + shift, v) for (a, b), v in zip(offsets, values, strict=True)]
        return out

    def continuation_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str], groups: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Probability that each text goes on with one of the spellings of each group, not renormalised.

        A spelling of several tokens has the product of their probabilities (`polymode.generate.spellings`).

        Raises:
            ConfigError: the tokenizer writes a spelling of one group as one of another.
        """
        import torch

        spellings = tokens_of(groups, self.tokenizer)
        ids = [self.encode(prompt) for prompt in prompts]
        for ids_T, text in zip(ids, texts, strict=True):
            ids_T += self.tokenizer(self._without_opening(text, ids_T), add_special_tokens=False)["input_ids"]
        self._check_length(ids, what="a prompt with what is put behind it")

        def next_probabilities(rows: list[list[int]], wanted: Sequence[int]) -> list[list[float]]:
            out: list[list[float]] = [[] for _ in rows]
            with torch.inference_mode():
                for chunk in self._batches(list(range(len(rows))), rows, self._rows_at_once(1), "score"):
                    logits = self.model(**self._padded(rows, chunk), use_cache=False, logits_to_keep=1).logits[:, -1]
                    for i, p_V in zip(chunk, logits.float().softmax(-1), strict=True):
                        out[i] = p_V[list(wanted)].tolist()
            return out

        return spelled_probabilities(ids, spellings, len(groups), next_probabilities)

    def candidate_layers(self) -> list[int]:
        """Layers whose states are worth probing (`polymode.decoding.hidden_states.candidate_layers`)."""
        from polymode.decoding.hidden_states import candidate_layers

        return candidate_layers(self.model)

    def confidence_states(
        self, prompts: Sequence[str], texts: Sequence[str], answers: Sequence[AnswerSet], layers: Sequence[int]
    ) -> list[Any]:
        """Hidden states at the tokens that decide the confidences of each text, (K, layers, F) in float32.

        None for a text that the tokens do not spell as it stands, or that is longer than what the model reads.

        Args:
            prompts: of the texts.
            texts: completions, tokenised anew.
            answers: read from each of them, with confidences.
            layers: numbers of the layers; with none at all, only whether each text can be read.
        """
        from polymode.decoding.hidden_states import confidence_positions, hidden_states

        starts_of = TokenStarts(CompletionDecoder(self.tokenizer))
        prompt_ids = [self.encode(prompt) for prompt in prompts]
        tails = [self._without_opening(text, ids_T) for text, ids_T in zip(texts, prompt_ids, strict=True)]
        ids = [self.tokenizer(tail, add_special_tokens=False)["input_ids"] for tail in tails]
        positions = [
            confidence_positions(a, starts_of(ids_T, t), t) for a, ids_T, t in zip(answers, ids, texts, strict=True)
        ]
        for i, ids_T in enumerate(ids):
            if self.context is not None and len(prompt_ids[i]) + len(ids_T) > self.context:
                positions[i] = None
        states = hidden_states(self.model, prompt_ids, ids, [own or () for own in positions], layers)
        parts = iter(np.split(states, np.cumsum([len(own or ()) for own in positions])))
        return [part if own else None for own, part in zip(positions, parts, strict=False)]

    def openings(self, prompts: Sequence[str]) -> list[str]:
        """What each prompt opens for its completion: ``<think>`` and white space, or nothing."""
        return [opening_of(self.tokenizer, self.encode(prompt)) for prompt in prompts]

    def _log_probabilities(self, ids: list[list[int]], widths: list[int]) -> Iterator[tuple[int, list[float]]]:
        """Row and log-probabilities of its last ``widths[row]`` tokens.

        Positions are read in blocks that memory has room for (`polymode.decoding.log_probabilities`).
        """
        import torch

        from polymode.decoding.log_probabilities import last_log_probabilities, positions_at_once

        with torch.inference_mode():
            for chunk in self._batches(list(range(len(ids))), ids, self._rows_at_once(_LEAST_BLOCK), "score"):
                batch, width = self._padded(ids, chunk), max(widths[i] for i in chunk)
                ids_NT, mask_NT = batch["input_ids"], batch["attention_mask"]
                values_NT = last_log_probabilities(self.model, ids_NT, mask_NT, width, positions_at_once(self.model))
                for i, values_T in zip(chunk, values_NT.tolist(), strict=True):
                    yield i, values_T[width - widths[i] :]

    def _rows_at_once(self, positions: int) -> int:
        """Texts scored together, with so many positions each."""
        from polymode.decoding.log_probabilities import positions_at_once

        # All positions are read at once, unlike in sampling, hence smaller batches.
        return max(1, min(self.batch // 4, positions_at_once(self.model) // positions))

    def _padded(self, ids: list[list[int]], rows: Sequence[int]) -> Any:
        batch = self.tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
        return batch.to(self.model.device)

    def _batches(self, rows: list[int], ids: list[list[int]], size: int, label: str) -> Iterator[list[int]]:
        """The rows in batches, with a progress bar; those of like length share a batch, so little is padded."""
        rows = sorted(rows, key=lambda i: len(ids[i]))
        with tqdm(total=len(rows), desc=label, unit="text", disable=not self.show_progress, leave=False) as bar:
            for start in range(0, len(rows), size):
                yield rows[start : start + size]
                bar.update(len(rows[start : start + size]))

    def encode(self, prompt: str) -> list[int]:
        """Tokens of a prompt as the model reads it, the chat template applied when the tokenizer has one."""
        return self.chat.encode(self.tokenizer, prompt)

    @property
    def context(self) -> int | None:
        """Tokens that the model reads; None when its configuration does not say."""
        return getattr(self.model.config, "max_position_embeddings", None)

    def _check_length(self, ids: Sequence[Sequence[int]], room: int = 1, what: str = "a prompt") -> None:
        """Refuse texts after which the model has no ``room`` for so many tokens."""
        longest = max(map(len, ids), default=0)
        if self.context is not None and longest + room > self.context:
            raise PromptRefusedError(
                f"{what} has {longest} tokens and the model reads {self.context}: shorten the question or shots, or "
                "use a model with a longer context"
            )

    def _without_opening(self, text: str, prompt_ids: Sequence[int]) -> str:
        """What follows the prompt: a completion without what `generate` put in front of it."""
        opening = opening_of(self.tokenizer, prompt_ids)
        tail = text.removeprefix(opening)
        if opening and tail == text:  # a server's reasoning is put back with other white space around it
            tail = text.lstrip().removeprefix(opening.strip())
            return text if len(tail) == len(text.lstrip()) else tail.lstrip()
        return tail

    def _watch(self, chunk: Sequence[int], before: Sequence[int], ids: list[list[int]], on_text: OnText) -> Any:
        """What tells the texts of a batch: its prompts, and how many completions each of them has already."""
        samples = [before[row] + chunk[:row].count(i) for row, i in enumerate(chunk)]
        due = [0.0] * len(chunk)

        def watch(row: int, tokens: Callable[[], list[int]]) -> None:
            if (now := time.monotonic()) >= due[row]:
                due[row] = now + TELL_SECONDS
                opening = opening_of(self.tokenizer, ids[chunk[row]])
                on_text(chunk[row], samples[row], opening + self._sampler.text_of(tokens()))

        return watch

    def _sample(
        self,
        ids: list[list[int]],
        max_tokens: int,
        temperature: float,
        seeds: Sequence[int] | None,
        watch: Any = None,
    ) -> list[Generated]:
        sampler = self._sampler
        return [
            Generated(
                opening_of(self.tokenizer, prompt) + sampler.text_of(row),
                len(row),
                sampler.is_finished(row),
                len(prompt),
            )
            for row, prompt in zip(sampler.sample(ids, max_tokens, temperature, seeds, watch), ids, strict=True)
        ]
