"""Sampling with transformers: batched, seeded; samples of a question share its prompt where the model allows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from polymode.decoding.loading import load_causal_lm, load_tokenizer
from polymode.decoding.texts import CompletionDecoder, ends_of, opening_of
from polymode.errors import ConfigError, MissingExtraError, UserError
from polymode.generate import Generated, chat_template_of
from polymode.generate.spellings import spelled_probabilities, tokens_of


class TransformersGenerator:
    """Samples from a causal LM.

    Args:
        model: name or folder of the model and its tokenizer (a folder with LoRA adapters works too), or a GGUF file.
        batch: completions sampled at once.
        dtype: what it computes in: auto, bfloat16 or float32 (`polymode.decoding.precision.compute_dtype`).
        show_progress: draw a progress bar.
        chat_template: arguments of the model's chat template, such as ``{"enable_thinking": False}``; None means those
            of the training run that made the model, if one did.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ConfigError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        batch: int = 256,
        dtype: str = "auto",
        show_progress: bool = True,
        chat_template: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            import torch
            import transformers  # noqa: F401  # so that its absence is told by name

            from polymode.decoding.precision import compute_dtype
        except ImportError as exc:
            raise MissingExtraError(exc.name or "torch", "train", "generating with a local model") from None
        self.batch, self.show_progress = batch, show_progress
        self._chat_template = chat_template_of(model) if chat_template is None else chat_template
        try:
            self.tokenizer = load_tokenizer(model, padding_side="left")
            self.model = load_causal_lm(model, dtype=compute_dtype(dtype, model))
        except UserError:
            raise
        except (OSError, ValueError) as exc:
            raise ConfigError(
                f"model = {str(model)!r} cannot be loaded: give a folder with a checkpoint and tokenizer, or the "
                f"name of a model that can be fetched or is in the cache ({str(exc).splitlines()[0]})"
            ) from exc
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self._ends = {*ends_of(self.model), self.tokenizer.eos_token_id}
        self._text_of = CompletionDecoder(self.tokenizer, self._ends)

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        """``n`` completions of each prompt; temperature 0 takes the most likely token each time."""
        import torch

        ids = [self.encode(prompt) for prompt in prompts]
        out: list[list[Generated]] = [[] for _ in prompts]
        rows = [i for i in range(len(prompts)) for _ in range(n)]
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            for chunk in self._batches(rows, ids, self.batch, "generate"):
                sampled = self._sample([ids[i] for i in chunk], max_tokens, temperature)
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
        out: list[list[tuple[int, int, float]]] = [[] for _ in texts]
        for row, logits in self._logits(ids, [len(tail["input_ids"]) + 1 for tail in encoded]):
            # The logits at one position foretell the next token, so the last ones foretell what is not there.
            target = logits.new_tensor(encoded[row]["input_ids"]).long().unsqueeze(1)
            values = logits[:-1].log_softmax(-1).gather(1, target).squeeze(1).tolist()
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
        spellings = tokens_of(groups, self.tokenizer)
        ids = [self.encode(prompt) for prompt in prompts]
        for ids_T, text in zip(ids, texts, strict=True):
            ids_T += self.tokenizer(self._without_opening(text, ids_T), add_special_tokens=False)["input_ids"]

        def next_probabilities(rows: list[list[int]], wanted: Sequence[int]) -> list[list[float]]:
            out: list[list[float]] = [[] for _ in rows]
            for row, logits in self._logits(rows, [1] * len(rows)):
                out[row] = logits[-1].softmax(-1)[list(wanted)].tolist()
            return out

        return spelled_probabilities(ids, spellings, len(groups), next_probabilities)

    def openings(self, prompts: Sequence[str]) -> list[str]:
        """What each prompt opens for its completion: ``<think>`` and white space, or nothing."""
        return [opening_of(self.tokenizer, self.encode(prompt)) for prompt in prompts]

    def _logits(self, ids: list[list[int]], widths: list[int]) -> Iterator[tuple[int, Any]]:
        """Row and float32 logits of its last ``widths[row]`` positions, shape (width, vocabulary)."""
        import torch

        with torch.inference_mode():
            # All positions are scored at once, unlike in sampling, hence smaller batches.
            for chunk in self._batches(list(range(len(ids))), ids, max(1, self.batch // 4), "score"):
                batch = self.tokenizer.pad({"input_ids": [ids[i] for i in chunk]}, return_tensors="pt")
                width = max(widths[i] for i in chunk)
                logits = self.model(**batch.to(self.model.device), use_cache=False, logits_to_keep=width).logits
                for i, logits_T in zip(chunk, logits.float().cpu(), strict=True):
                    yield i, logits_T[width - widths[i] :]

    def _batches(self, rows: list[int], ids: list[list[int]], size: int, label: str) -> Iterator[list[int]]:
        """The rows in batches, with a progress bar; those of like length share a batch, so little is padded."""
        rows = sorted(rows, key=lambda i: len(ids[i]))
        with tqdm(total=len(rows), desc=label, unit="text", disable=not self.show_progress, leave=False) as bar:
            for start in range(0, len(rows), size):
                yield rows[start : start + size]
                bar.update(len(rows[start : start + size]))

    def encode(self, prompt: str) -> list[int]:
        """Tokens of a prompt as the model reads it, the chat template applied when the tokenizer has one."""
        if self.tokenizer.chat_template is None:
            return self.tokenizer(prompt, add_special_tokens=True)["input_ids"]
        chat, options = [{"role": "user", "content": prompt}], self._chat_template
        return self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False, **options)

    def _without_opening(self, text: str, prompt_ids: Sequence[int]) -> str:
        """What follows the prompt: a completion without what `generate` put in front of it."""
        return text.removeprefix(opening_of(self.tokenizer, prompt_ids))

    def _sample(self, ids: list[list[int]], max_tokens: int, temperature: float) -> list[Generated]:
        from transformers import GenerationConfig

        from polymode.decoding.sampling import complete

        settings = GenerationConfig(
            max_new_tokens=max_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            do_sample=temperature > 0,
            **({"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}),
        )
        tokens = complete(self.model, ids, settings)
        if tokens is None:
            batch = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.model.device)
            tokens = self.model.generate(**batch, generation_config=settings)
            tokens = tokens[:, batch["input_ids"].shape[1] :].tolist()
        # The first end token counts, and nothing behind it does.
        lengths = [next((i + 1 for i, t in enumerate(row) if t in self._ends), len(row)) for row in tokens]
        rows = [row[:length] for row, length in zip(tokens, lengths, strict=True)]
        return [
            Generated(
                opening_of(self.tokenizer, prompt) + self._text_of(row),
                len(row),
                bool(row) and row[-1] in self._ends,
                len(prompt),
            )
            for row, prompt in zip(rows, ids, strict=True)
        ]
