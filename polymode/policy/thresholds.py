"""From records, as the rules see them, to a threshold and its guarantee (layer L2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_FLOOR, Context

import numpy as np
from scipy.stats import beta, binom

from polymode.errors import ConfigError
from polymode.policy.deciding import TOLERANCE
from polymode.policy.guarantee import Guarantee
from polymode.policy.records import Bools, Floats, Ints, View

MAX_THRESHOLDS = 100
"""At most this many thresholds are tested."""
STEP = 0.01
"""Thresholds of `conformal` are multiples of this."""
_FOUR_DIGITS = Context(prec=4, rounding=ROUND_FLOOR)

Outcome = Callable[[View, float], tuple[Bools, Bools]]
"""View and threshold -> which records get the decision, and which of them fail."""


def single_answers(view: View, threshold: float) -> tuple[Bools, Bools]:
    """Who gets ANSWER, and whose answer is wrong."""
    answered_N = view.answered(threshold)
    return answered_N, answered_N & ~view.top_is_right


def sets_beside(answer_at: float | None) -> Outcome:
    """Who gets OFFER_SET and no ANSWER, and whose set holds no right answer."""

    def sets(view: View, threshold: float) -> tuple[Bools, Bools]:
        offered_N, size_N = view.offered(threshold, offer_all=False)
        offered_N &= ~view.answered(answer_at)
        return offered_N, offered_N & (view.first_right >= size_N)

    return sets


def order_of_tests(
    decision: str,
    outcome: Outcome,
    statistic: Floats,
    design: View,
    n_test: int,
    alpha: float,
    delta: float,
    *,
    is_limited: bool = False,
) -> Floats:
    """Thresholds in the order in which they are to be tested, as the design part suggests.

    Args:
        decision: answer or offer_set.
        outcome: the effect of a threshold.
        statistic: the value compared with the threshold, of the design records, shape (N,) or (N, K); thresholds are
            taken from its values.
        design: records that may suggest anything.
        n_test: records of the test part.
        alpha: largest rate of failures among the records that get the decision.
        delta: probability that the guarantee fails.
        is_limited: end where a test is likely to fail, for a sequence in which further tests follow.

    Raises:
        ConfigError: no design record can get the decision.
    """
    thresholds = _candidates(statistic[outcome(design, -np.inf)[0]].ravel())
    if not len(thresholds):
        raise ConfigError(f"alpha = {alpha:g}: no record of the design part can get {decision}; loosen the other rules")
    n, failed = _counts(outcome, design, thresholds)
    ratio = n_test / len(design.top)
    n, failed = np.round(n * ratio).astype(np.int64), failed * ratio
    guess = p_values(np.round(failed).astype(np.int64), n, alpha)
    # Start where a rejection is likeliest, of equal ones at the lowest threshold, and go down from there.
    start = len(guess) - 1 - int(np.argmin(guess[::-1]))
    if not is_limited:
        return thresholds[start:]
    failed += np.sqrt(failed + 1)  # by chance there may be so many more in the test part
    likely = fixed_sequence(p_values(np.ceil(failed[start:]).astype(np.int64), n[start:], alpha), delta)
    return thresholds[start : start + max(likely, 1)]


def learn_then_test(
    decision: str, outcome: Outcome, order: Floats, test: View, alpha: float, delta: float, *, who: str = ""
) -> Guarantee:
    """The last threshold that passes its test, in a given order.

    Args:
        decision: answer or offer_set.
        outcome: the effect of a threshold.
        order: thresholds (T,), of `order_of_tests`.
        test: records that the order does not depend on.
        alpha: largest rate of failures among the records that get the decision.
        delta: probability that the guarantee fails.
        who: which questions it is about, as `` with risk = high``; empty for all.

    Raises:
        ConfigError: not even the first threshold passes.
    """
    n, failed = _counts(outcome, test, order)
    last = fixed_sequence(p_values(failed, n, alpha), delta) - 1
    if last < 0:
        what = {"answer": "wrong answers", "offer_set": "sets without a right answer"}[decision]
        least = records_to_test(alpha, delta)
        few = f" (at least {least} without any would)" if n[0] < least else ""
        raise ConfigError(
            f"alpha = {alpha:g} cannot be promised: at the most promising threshold, {order[0]:g}, {failed[0]} {what} "
            f"among {n[0]} (of {len(test.top)} tested records) do not prove a rate of at most {alpha:g} with "
            f"probability {1 - delta:g}{few}; use more records, a larger alpha, or better (or recalibrated) confidences"
        )
    fate = {"answer": "ANSWER are answered wrongly", "offer_set": "OFFER_SET get a set without a right answer"}
    return Guarantee(
        decision=decision,
        statement=f"With probability at least {1 - delta:g} over the draw of the calibration records, at most "
        f"{alpha:.4g} of the questions{who} that get {fate[decision]}.",
        method="learn-then-test",
        alpha=alpha,
        delta=delta,
        threshold=float(order[last]),
        bound=min(alpha, upper_limit(int(failed[last]), int(n[last]), delta)),
        n=len(test.top),
        n_shown=int(n[last]),
        n_failed=int(failed[last]),
    )


def conformal(design: View, test: View, alpha: float, delta: float, *, who: str = "") -> Guarantee:
    """The lowest threshold, every usable question being offered a set, whose sets miss rarely enough on average.

    Conformal risk control promises alpha where the safest choice keeps *every* record's loss at alpha or below. The
    full set, all K answers, misses some records whatever is chosen, with a rate m: where m is near alpha, lucky test
    parts lower the threshold and unlucky ones cannot raise it, so the mean comes out above alpha. The theorem's proof
    then gives, with B the full sets among n + 1 records that miss, and j / (n + 1) in place of alpha as the level,

        E[rate] <= E[max(j, B)] / (n + 1),    B ~ Binomial(n + 1, m)

    The level is the largest for which the right side is at most alpha at m = U, the Clopper-Pearson limit of m from the
    design part, of which the test part is independent; where U is above alpha there is none, and fitting refuses. So
    with probability 1 - delta over the design part the rate is at most alpha on average over test parts.

    Args:
        design: records that test the full set.
        test: records that the threshold is chosen on.
        alpha: largest rate of sets without a right answer.
        delta: probability that the full set misses more often than U.
        who: as for `learn_then_test`.

    Raises:
        ConfigError: too few usable records, or all K answers may miss too often.
    """
    n, k = int(test.eligible.sum()), test.mass.shape[1]
    least = records_to_conform(alpha)
    if n < least:
        raise ConfigError(
            f"records: {n} of {len(test.top)} can be used, alpha = {alpha:g} needs at least {least}: judge more "
            "questions, or allow a larger alpha"
        )
    n_design = int(design.eligible.sum())
    missed = int((design.eligible & (design.first_right == k)).sum())
    limit = upper_limit(missed, n_design, delta)
    if limit > alpha:
        raise ConfigError(
            f"alpha = {alpha:g} cannot be promised for every question: even all k = {k} answers hold no right one for "
            f"{missed} of {n_design} (of {len(design.top)} records of the design part), which does not prove a rate of "
            f"at most {alpha:g} with probability {1 - delta:g}; use target 'set', which escalates the doubtful ones, "
            "more records, a larger k or a larger alpha"
        )
    steps: Ints = np.arange(1, round(k / STEP) + 1)
    thresholds: Floats = np.round(steps * STEP, 10)
    failed = _missing(test, thresholds)
    is_low = conformal_level(failed, n) <= safe_level(alpha, limit, n)
    first = int(np.argmax(is_low)) if is_low.any() else len(thresholds) - 1
    return Guarantee(
        decision="offer_set",
        statement=f"Each question{who} with a usable completion gets a set. With probability at least {1 - delta:g} "
        f"over the first part of the calibration records, at most {alpha:.4g} of these sets, on average over the "
        "second part, contain no right answer; for this one calibration the share may be higher.",
        method="conformal",
        alpha=alpha,
        delta=delta,
        threshold=float(thresholds[first]),
        bound=limit,
        n=len(test.top),
        n_shown=n,
        n_failed=int(failed[first]),
    )


def _missing(view: View, thresholds: Floats) -> Ints:
    """Sets without a right answer at each threshold (T,), every eligible question being offered one.

    A set ends before its first right answer when the answers in front of that hold the threshold already.
    """
    first = view.first_right[view.eligible]
    mass = view.mass[view.eligible]
    is_behind = (first > 0) & (first < mass.shape[1])
    in_front = mass[is_behind, first[is_behind] - 1]
    return (first == mass.shape[1]).sum() + (in_front >= thresholds[:, None] - TOLERANCE).sum(axis=1)


def _counts(outcome: Outcome, view: View, thresholds: Floats) -> tuple[Ints, Ints]:
    """Records that get the decision, and those of them that fail, at each threshold (T,)."""
    pairs = [[mask.sum() for mask in outcome(view, threshold)] for threshold in thresholds.tolist()]
    n, failed = np.array(pairs, dtype=np.int64).T
    return n, failed


def _candidates(values: Floats) -> Floats:
    """At most MAX_THRESHOLDS of the positive values, falling, with four digits that a person can read.

    They are rounded down, so that the records they come from, often many of one value, reach their threshold: averages
    of pooled confidences and plateaus of an isotonic map seldom end after four digits.
    """
    positive = values[values > 0]
    if not len(positive):
        return positive
    spread = np.quantile(positive, np.linspace(0, 1, MAX_THRESHOLDS), method="lower")
    reached = [float(_FOUR_DIGITS.create_decimal(value + TOLERANCE)) for value in spread.tolist()]
    return np.unique(reached)[::-1]


def p_values(failed: Ints, n: Ints, alpha: float) -> Floats:
    """Exact p-value of "the rate of failures is above alpha": P(Binomial(n, alpha) <= failed); 1 where n is 0.

    Args:
        failed: failures, shape (T,).
        n: independent records they were counted in, shape (T,).
        alpha: rate, in (0, 1).
    """
    return binom.cdf(failed, n, alpha)


def upper_limit(failed: int, n: int, delta: float) -> float:
    """Clopper-Pearson upper limit of a rate at confidence 1 - delta; at most alpha iff the p-value is at most delta.

    1 when all failed or nothing was counted. Source: Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    return 1.0 if failed >= n else float(beta.ppf(1 - delta, failed + 1, n - failed))


def fixed_sequence(p: Floats, delta: float) -> int:
    """How many hypotheses are rejected: those before the first whose p-value is above delta.

    The order must not depend on the records that made the p-values. Then the probability that a true hypothesis is
    rejected is at most delta: the first true one of the order would have to be.
    Source: Angelopoulos et al. 2021, Learn then Test, https://arxiv.org/abs/2110.01052, section 2.3.
    """
    accepted = np.flatnonzero(p > delta)
    return int(accepted[0]) if len(accepted) else len(p)


def records_to_test(alpha: float, delta: float) -> int:
    """Fewest records among which no failure at all proves a rate of at most alpha: (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-9)


def conformal_level(failed: Ints, n: int) -> Floats:
    """(failed + 1) / (n + 1): at most alpha bounds the failure rate of one further record by alpha, on average.

    For failures that only get fewer along the thresholds, at the first threshold where it is at most alpha.
    Source: Angelopoulos et al. 2022, Conformal Risk Control, https://arxiv.org/abs/2208.02814, theorem 1 with B = 1.
    """
    return (failed + 1) / (n + 1)


def safe_level(alpha: float, limit: float, n: int) -> float:
    """The largest j / (n + 1) with E[max(j, B)] <= alpha (n + 1) for B ~ Binomial(n + 1, limit); 0 if that is none.

    Args:
        alpha: what the mean rate must not exceed.
        limit: the rate of failures that no threshold avoids, at most alpha.
        n: records that the threshold is chosen on.
    """
    above_J = binom.sf(np.arange(n + 1), n + 1, limit)  # P(B > j); E[max(j, B)] = j + sum over i >= j of P(B > i)
    mean_J = np.arange(n + 1) + np.cumsum(above_J[::-1])[::-1]
    is_safe_J = mean_J <= alpha * (n + 1) * (1 + 1e-12)
    return float(np.flatnonzero(is_safe_J)[-1] / (n + 1)) if is_safe_J.any() else 0.0


def records_to_conform(alpha: float) -> int:
    """Fewest records with which conformal risk control can promise alpha: 1 / (n + 1) <= alpha."""
    return math.ceil(1 / alpha - 1 - 1e-9)
