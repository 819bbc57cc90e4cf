"""Advantage estimators in the signature that verl and SkyRL share; tensors in, tensors out, no trainer imported.

Every estimator takes ``token_level_rewards`` and ``response_mask``, both (B, T), and ``index``, the uid of each row's
question, and returns advantages and returns, both (B, T). A row's rewards are summed over its tokens. A row whose sum
is NaN is unscored: it has no part in its group and advantage 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from polymode.credit import centred_by_group, rows_by_group
from polymode.errors import ConfigError
from polymode.pass_at_k import pass_at_k_values, union_values

FORMAT_WEIGHT = 1.0
"""What a clean completion without a right answer is worth under `single-rlvr` and `multi-rlvr`."""

_columns: ContextVar[Mapping[str, Sequence[Any]]] = ContextVar("columns")


@contextmanager
def columns_of_batch(columns: Mapping[str, Sequence[Any]]) -> Iterator[None]:
    """Let the estimators see columns of the batch that a trainer does not hand to them.

    Args:
        columns: by name, one entry for each row: ``found`` (`coverage_at_k`), ``advantages`` (`term`).
    """
    token = _columns.set(columns)
    try:
        yield
    finally:
        _columns.reset(token)


def centered(token_level_rewards: Any, response_mask: Any, index: Any = None, config: Any = None, **_: Any) -> Any:
    """Rewards minus the mean of their group, undivided: the scale that keeps calibration (arXiv 2508.11800)."""
    totals_N = _totals(token_level_rewards)
    return _spread(centred_by_group(totals_N, _groups(index)), token_level_rewards, response_mask)


def pass_at_k(token_level_rewards: Any, response_mask: Any, index: Any = None, config: Any = None, **_: Any) -> Any:
    """The objective "one of k completions is right" (`polymode.pass_at_k`), k from ``config.polymode_k``, else 2.

    From totals alone, which only `single-rlvr` and `multi-rlvr` of the preset ``paper`` allow: right is above the
    format's weight, 1.
    """
    totals_N = np.array(_totals(token_level_rewards))
    format_N = np.minimum(totals_N, FORMAT_WEIGHT)
    right_N = np.where(np.isnan(totals_N), np.nan, totals_N > FORMAT_WEIGHT)
    groups, values_N = _groups(index), np.full(len(totals_N), np.nan)
    for rows in rows_by_group(groups):
        values_N[rows] = pass_at_k_values(right_N[rows], _k(config))
    return _spread(centred_by_group(values_N + format_N, groups), token_level_rewards, response_mask)


def coverage_at_k(token_level_rewards: Any, response_mask: Any, index: Any = None, config: Any = None, **_: Any) -> Any:
    """References found by k completions together (`polymode.pass_at_k.union_values`) in place of each one's own.

    Which references a completion finds is no number of its reward: it is the column ``found``, as `compute_score` of
    `polymode.integrations.verl` reports it (bit n for reference n).

    Raises:
        ConfigError: there is no such column.
    """
    totals_N = np.array(_totals(token_level_rewards))
    found_N = [int(found) for found in _column("found", "polymode_coverage_at_k")]
    groups, values_N = _groups(index), np.full(len(totals_N), np.nan)
    width = max(1, *(found.bit_length() for found in found_N))
    finds_N = np.array([[found >> n & 1 for n in range(width)] for found in found_N], dtype=float)
    finds_N[np.isnan(totals_N)] = np.nan
    own_N = np.nansum(finds_N, axis=1)
    for rows in rows_by_group(groups):
        values_N[rows] = union_values(finds_N[rows], _k(config))
    return _spread(centred_by_group(totals_N - own_N + values_N, groups), token_level_rewards, response_mask)


def term(token_level_rewards: Any, response_mask: Any, index: Any = None, config: Any = None, **_: Any) -> Any:
    """``credit: term``: each token has the advantage of the part that it belongs to (`polymode.credit`).

    The column ``advantages`` holds them, one list for each row; tokens behind its end have none.

    Raises:
        ConfigError: there is no such column.
    """
    advantages_N_T = token_level_rewards.new_zeros(token_level_rewards.shape)
    for row, values in enumerate(_column("advantages", "polymode_term")):
        advantages_N_T[row, : len(values)] = advantages_N_T.new_tensor(values)
    advantages_N_T = advantages_N_T * response_mask
    return advantages_N_T, advantages_N_T.clone()


ESTIMATORS = {
    "polymode_centered": centered,
    "polymode_pass_at_k": pass_at_k,
    "polymode_coverage_at_k": coverage_at_k,
    "polymode_term": term,
}
"""The names under which trainers find them."""


def _column(name: str, estimator: str) -> Sequence[Any]:
    columns = _columns.get({})
    if name not in columns:
        raise ConfigError(
            f"adv_estimator = {estimator!r} does not see the column {name!r} of the batch: use polymode's trainer "
            "(verl: trainer.v1.trainer_mode=polymode), or 'polymode_pass_at_k' or 'polymode_centered'"
        )
    return columns[name]


def _totals(token_level_rewards: Any) -> list[float]:
    return token_level_rewards.double().sum(-1).tolist()


def _groups(index: Any) -> list[Hashable]:
    if index is None:
        raise ConfigError("index is missing: the estimator needs the uid of each completion's question")
    return list(index.tolist() if hasattr(index, "tolist") else index)


def _k(config: Any) -> int:
    get = getattr(config, "get", None)
    return int((get("polymode_k", None) if get else getattr(config, "polymode_k", None)) or 2)


def _spread(advantages_N: Any, token_level_rewards: Any, response_mask: Any) -> Any:
    advantages_N_T = token_level_rewards.new_tensor(advantages_N.tolist()).unsqueeze(-1) * response_mask
    return advantages_N_T, advantages_N_T.clone()
