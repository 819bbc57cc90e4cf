"""What a shell needs to know to score the rows of somebody else's trainer, and what it makes of them. Pure data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from polymode.errors import ConfigError
from polymode.references import list_in_text
from polymode.rewards import METHODS, find_method, reward_of, rewards_of, term_names
from polymode.rewards.conditions import improper_objective
from polymode.rewards.shaping import Shaping
from polymode.types import Score
from polymode.verifiers.choice import open_verifier

ROW_FIELDS = ("k", "question", "target", "distribution")
"""Fields of a row that take the place of an option, where the row has them."""


@dataclass(frozen=True)
class Options:
    """How completions are scored. Can be pickled; made from the keyword arguments or the YAML of a trainer."""

    k: int = 3
    """Answers asked for by the multi methods, where a row has no ``k``."""
    method: str = "multi-rlcr"
    preset: str = "paper"
    verifier: str = "text"
    """Name, or ``module:Name`` (`polymode.open_verifier`)."""
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    unscored: float = 0.0
    """What a trainer gets for a completion that the verifier could not judge: most take numbers only. NaN has no part
    in its group and advantage 0 with the estimators of `polymode.integrations.estimators`, and breaks any other."""
    objective: str = "mean"
    objective_k: int = 2
    exploration: str = "none"
    """``none`` or ``batch``: no trainer of another tool would keep what ``historical`` remembers."""
    exploration_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be scored, before the first completion."""
        find_method(self.method).reward(self.preset)
        if self.exploration == "historical":
            raise ConfigError(
                "exploration = 'historical' needs a memory over the whole training, which polymode train has: use batch"
            )
        if self._shaping is not None and self.preset != "paper":
            raise ConfigError(f"objective and exploration with preset = {self.preset!r}: use preset 'paper'")
        if self.objective != "mean" and METHODS[self.method].has_confidence:
            raise ConfigError(improper_objective(self.objective, self.method))

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any] | None) -> Options:
        """Checked at once; raises ConfigError for a name or value that is not allowed."""
        options = dict(options or {})
        if unknown := sorted(options.keys() - cls.__dataclass_fields__.keys()):
            allowed = ", ".join(cls.__dataclass_fields__)
            raise ConfigError(f"{unknown[0]} = {options[unknown[0]]!r} is no option: use {allowed}")
        return cls(**options)

    def score(
        self, text: Any, references: Any, row: Mapping[str, Any] | None = None, *, finished: bool = True
    ) -> Score:
        """One completion; ``row`` may have `ROW_FIELDS`.

        Raises:
            ConfigError: an objective or exploration, which only a whole group can be scored by.
        """
        if self._shaping is not None:
            name = "exploration" if self.objective == "mean" else "objective"
            raise ConfigError(
                f"{name} = {getattr(self, name)!r} needs whole groups, and this reward sees one completion at a time: "
                "leave it out"
            )
        own = self._row(row)
        k = own.pop("k", self.k)
        return reward_of(
            text,
            references,
            k=k if METHODS[self.method].is_multi else 1,
            method=self.method,
            preset=self.preset,
            verifier=self._verifier(),
            finished=finished,
            **own,
        )

    def scores(
        self,
        texts: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any] | None],
        *,
        finished: Sequence[bool],
        groups: Sequence[Any],
    ) -> list[Score]:
        """A batch with its groups, and what the objective makes of them."""
        own = [self._row(row) for row in rows]
        return rewards_of(
            texts,
            list(references),
            k=[row.get("k", self.k) for row in own],
            method=self.method,
            preset=self.preset,
            verifier=self._verifier(),
            question=[row.get("question", "") for row in own],
            finished=list(finished),
            target=[row.get("target") for row in own],  # type: ignore[misc]
            distribution=[row.get("distribution") for row in own],
            shaping=self._shaping,
            groups=groups,
        )

    def numbers(self, score: Score) -> dict[str, float]:
        """Every term of the method, the same names for every completion, and how it went: numbers only."""
        names = (*_terms(self.method, self.preset), *(self._shaping.term_names if self._shaping is not None else ()))
        clean, scored = score.answer_set.is_clean, score.total is not None
        return {**{name: score.terms.get(name, 0.0) for name in names}, "clean": float(clean), "scored": float(scored)}

    def total(self, score: Score) -> float:
        """The total, or ``unscored``."""
        return self.unscored if score.total is None else score.total

    @cached_property
    def _shaping(self) -> Shaping | None:
        """What is done to the scores of whole groups; None for nothing. Refuses values that are not known."""
        of_groups: Any = (self.objective, self.objective_k, self.exploration, self.exploration_weight)
        shaping = Shaping(*of_groups)
        return None if (self.objective, self.exploration) == ("mean", "none") else shaping

    def _verifier(self) -> Any:
        return _opened(self.verifier, json.dumps(self.verifier_options, sort_keys=True))

    @staticmethod
    def _row(row: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: row[name] for name in ROW_FIELDS if row and row.get(name) is not None}


@lru_cache
def _opened(name: str, options: str) -> Any:
    """One verifier for all completions: a slow one has processes or connections of its own."""
    return None if name == "text" and options == "{}" else open_verifier(name, **json.loads(options))


@lru_cache
def _terms(method: str, preset: str) -> tuple[str, ...]:
    return tuple(term_names(METHODS[method].reward(preset)))


def references_and_row(label: Any) -> tuple[Any, dict[str, Any]]:
    """A label as trainers with one column for it have it: references, or JSON of an object with them and `ROW_FIELDS`.

    >>> references_and_row('{"references": ["flu"], "k": 2}')
    (['flu'], {'k': 2})
    """
    value = label
    if isinstance(label, str) and list_in_text(label) is None:
        try:
            value = json.loads(label)
        except ValueError:
            value = label
    if isinstance(value, Mapping) and "references" in value:
        return value["references"], {name: field for name, field in value.items() if name != "references"}
    return label, {}
