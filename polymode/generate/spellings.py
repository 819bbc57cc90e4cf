"""Probability that a text goes on with a word, however it is spelled and tokenised (layer L4).

``True`` may be written with a capital or a space in front, and be one token or several. Its probability is that of all
these token sequences together; they are disjoint events where none begins with another, which `tokens_of` sees to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from polymode.errors import ConfigError

NEGLIGIBLE = 1e-4
"""The beginning of a spelling that is less likely is not followed further: it counts as 0."""
_ANCHORS = ("", "\n")
"""Some tokenizers put a space in front of a text's first word, so words are also looked at behind a line break."""


class Spelling(NamedTuple):
    """One sequence of tokens."""

    group: int
    tokens: tuple[int, ...]


def tokens_of(groups: Sequence[Sequence[str]], tokenizer: Any) -> list[Spelling]:
    """Token sequences of the texts of each group, none of which begins with another; unknown tokens are left out.

    Raises:
        ConfigError: two groups share a sequence, so the tokenizer does not tell them apart.
    """
    group_of: dict[tuple[int, ...], int] = {}
    for number, texts in enumerate(groups):
        for text in texts:
            for tokens in _sequences(text, tokenizer):
                if group_of.setdefault(tokens, number) != number:
                    raise ConfigError(
                        f"the tokenizer writes {text!r} and {groups[group_of[tokens]][0]!r} alike, so their "
                        "probabilities cannot be compared: choose another method or model"
                    )
    own = [Spelling(number, tokens) for tokens, number in group_of.items()]
    return [one for one in own if not any(one.tokens[:end] in group_of for end in range(1, len(one.tokens)))]


def _sequences(text: str, tokenizer: Any) -> set[tuple[int, ...]]:
    sequences = set()
    for anchor in _ANCHORS:
        before = tokenizer(anchor, add_special_tokens=False)["input_ids"] if anchor else []
        tokens = tokenizer(anchor + text, add_special_tokens=False)["input_ids"]
        if tokens[: len(before)] == before:
            sequences.add(tuple(tokens[len(before) :]))
    unknown = getattr(tokenizer, "unk_token_id", None)
    return {tokens for tokens in sequences if tokens and unknown not in tokens}


def spelled_probabilities(
    ids: Sequence[Sequence[int]],
    spellings: Sequence[Spelling],
    n_groups: int,
    next_probabilities: Callable[[list[list[int]], Sequence[int]], list[list[float]]],
) -> list[list[float]]:
    """Probability of each group after each text: sum over its spellings of prod_t p(token_t | text, tokens before).

    Args:
        ids: tokens of each text.
        spellings: what may follow.
        n_groups: number of groups.
        next_probabilities: for rows of tokens, the probabilities of the wanted tokens as the next one.
    """
    out = [[0.0] * n_groups for _ in ids]
    following: dict[tuple[int, ...], set[int]] = {}
    for _, tokens in spellings:
        for end in range(len(tokens)):
            following.setdefault(tokens[:end], set()).add(tokens[end])
    group_of = {one.tokens: one.group for one in spellings}
    level: dict[tuple[int, ...], dict[int, float]] = {(): dict.fromkeys(range(len(ids)), 1.0)} if spellings else {}
    while level:
        deeper: dict[tuple[int, ...], dict[int, float]] = {}
        for prefix, mass in level.items():
            wanted = sorted(following[prefix])
            rows = [[*ids[row], *prefix] for row in mass]
            for (row, reached), values in zip(mass.items(), next_probabilities(rows, wanted), strict=True):
                for token, p in zip(wanted, values, strict=True):
                    tokens = (*prefix, token)
                    if tokens in group_of:
                        out[row][group_of[tokens]] += reached * p
                    elif reached * p >= NEGLIGIBLE:
                        deeper.setdefault(tokens, {})[row] = reached * p
        level = deeper
    return out
