"""``credit: term`` for trainers that take an advantage for each token: from scores and token ids to those numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from polymode.credit import term_advantages, token_parts
from polymode.errors import ConfigError
from polymode.integrations.options import Options
from polymode.rewards import METHODS
from polymode.types import Score

if TYPE_CHECKING:
    from polymode.decoding.texts import CompletionDecoder


def token_advantages(
    rule: Options,
    scores: Sequence[Score],
    texts: Sequence[str],
    ids: Sequence[Sequence[int]],
    groups: Sequence[Hashable],
    group: int,
    decode: CompletionDecoder,
) -> list[list[float]]:
    """The advantage of each token of each completion, in their order (`polymode.credit.term_advantages`).

    Args:
        rule: what they were scored by.
        scores: of whole groups, in any order.
        texts: what was scored.
        ids: the tokens that the texts were decoded from.
        groups: the group of each completion.
        group: completions of a group.
        decode: from ids to texts.

    Raises:
        ConfigError: a reward that is no sum over answers, or groups of another size.
    """
    from polymode.decoding.token_starts import TokenStarts
    from polymode.rewards.slots import slot_scores

    if rule.preset != "paper" or rule.objective != "mean":
        raise ConfigError(
            "credit = 'term' is the credit of a sum over answers: use preset 'paper' and objective 'mean'"
        )
    counts = Counter(groups)
    if wrong := sorted(set(counts.values()) - {group}):
        raise ConfigError(f"credit = 'term' needs whole groups of {group} completions: there are groups of {wrong}")
    places = {name: place for place, name in enumerate(counts)}
    order = sorted(range(len(scores)), key=lambda row: places[groups[row]])
    k = max((score.answer_set.k for score in scores), default=rule.k)
    slots = slot_scores([scores[row] for row in order], METHODS[rule.method].reward(rule.preset), k)
    starts = TokenStarts(decode)
    advantages: list[list[float]] = [[]] * len(scores)
    for row, parts in zip(order, term_advantages(slots, group), strict=True):
        of_token = token_parts(scores[row].answer_set, texts[row], starts(ids[row], texts[row]), k)
        advantages[row] = parts[of_token].tolist()
    return advantages
