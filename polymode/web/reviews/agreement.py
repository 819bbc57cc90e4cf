"""How far two reviewers agree beyond chance (layer L6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from polymode.types import Verdict
from polymode.uncertainty import Array, Estimate, SumStatistic, bootstrap
from polymode.web.reviews.records import SECOND
from polymode.web.reviews.second_reviews import rounds_of
from polymode.web.reviews.store import Store
from polymode.web.reviews.tables import items, rounds

_VERDICTS = tuple(verdict.value for verdict in Verdict)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of first and second reviews, over the model's answers."""

    n_items: int
    """Items with both reviews."""
    n_answers: int
    share: Estimate
    """Of the answers that both gave the same verdict."""
    kappa: Estimate
    """Cohen's kappa; NaN where every verdict is the same."""
    n_waiting: int
    """Items whose second review or adjudication is still to come."""


def agreement(store: Store) -> Agreement:
    """Of all items that were reviewed twice; raises ReviewStoreError."""
    with store.reading() as connection:
        ids = sa.select(rounds.c.item_id).where(rounds.c.round == SECOND)
        of = rounds_of(connection, list(connection.execute(ids).scalars()))
        is_waiting = sa.and_(items.c.review_of.is_not(None), items.c.finished_at.is_(None))
        n_waiting = connection.execute(sa.select(sa.func.count()).select_from(items).where(is_waiting)).scalar_one()
    pairs_P = [list(zip(own[0].verdicts, own[1].verdicts, strict=True)) for own in of.values()]
    share, kappa = cohen_kappa(pairs_P)
    return Agreement(len(pairs_P), kappa.n, share, kappa, n_waiting)


def cohen_kappa(pairs_P: Sequence[Sequence[tuple[str, str]]]) -> tuple[Estimate, Estimate]:
    """Observed agreement p_o and Cohen's kappa, each with a 95% interval over questions.

        kappa = (p_o - p_e) / (1 - p_e),    p_e = sum over verdicts v of P(first says v) P(second says v)

    Cohen 1960, doi:10.1177/001316446002000104. Answers of one question are not independent, so questions are resampled.

    Args:
        pairs_P: for each question the verdicts of its answers, by the first and by the second reviewer.
    """
    n = sum(map(len, pairs_P))
    if n == 0:
        nothing = Estimate(math.nan, math.nan, math.nan, 0, reason="nothing was reviewed twice")
        return nothing, nothing
    place = {verdict: number for number, verdict in enumerate(_VERDICTS)}
    table_P_VV = np.zeros((len(pairs_P), len(place) ** 2))
    for row_VV, pairs in zip(table_P_VV, pairs_P, strict=True):
        for first, second in pairs:
            row_VV[place[first] * len(place) + place[second]] += 1
    agreed_P = table_P_VV[:, :: len(place) + 1].sum(1)
    statistics = {
        "share": SumStatistic((agreed_P, table_P_VV.sum(1)), np.divide, n, is_share=True, limits=(0, 1)),
        "kappa": SumStatistic((table_P_VV,), _kappa, n, limits=(-1, 1)),
    }
    estimates = bootstrap(statistics, len(pairs_P), rng=np.random.default_rng(0))
    return estimates["share"], estimates["kappa"]


def _kappa(table_R_VV: Array) -> Array:
    size = math.isqrt(table_R_VV.shape[-1])
    p_R_V_V = (table_R_VV / table_R_VV.sum(-1, keepdims=True)).reshape(-1, size, size)
    observed_R = np.trace(p_R_V_V, axis1=1, axis2=2)
    chance_R = (p_R_V_V.sum(2) * p_R_V_V.sum(1)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(1 - chance_R > 1e-12, (observed_R - chance_R) / (1 - chance_R), np.nan)
