"""Fitted policies: by hand where few records decide, then whether the promise is kept over many draws."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.policy import Policy
from polymode.policy.calibration import Calibration
from polymode.policy.fitting import fit_policy
from polymode.policy.guarantee import Guarantee
from polymode.policy.records import Records, View
from polymode.policy.thresholds import (
    Outcome,
    conformal,
    learn_then_test,
    order_of_tests,
    safe_level,
    sets_beside,
    single_answers,
    upper_limit,
)

Lab = Callable[..., tuple[Records, np.ndarray]]
Rows = Callable[..., Records]


def view(records: Records) -> View:
    return View.of(records, Policy())


def choice(decision: str, outcome: Outcome, design: View, test: View, alpha: float, delta: float) -> Guarantee:
    """Order the thresholds on one part, test them on the other."""
    statistic = design.top if decision == "answer" else design.mass
    order = order_of_tests(decision, outcome, statistic, design, len(test.top), alpha, delta)
    return learn_then_test(decision, outcome, order, test, alpha, delta)


# --- thresholds ------------------------------------------------------------------------------------------------------


def test_the_last_threshold_that_passes_is_chosen(rows: Rows) -> None:
    design = view(rows(*[(0.9, True)] * 20, *[(0.6, True)] * 20, *[(0.3, False)] * 20))
    # alpha = 0.5, delta = 0.05. At 0.9: 0 of 20 fail. At 0.6: 5 of 40, p = P(Bin(40, 0.5) <= 5) < 1e-6. At 0.3: 45 of
    # 80, more than half. So 0.6.
    test = view(rows(*[(0.9, True)] * 20, *[(0.6, True)] * 15, *[(0.6, False)] * 5, *[(0.3, False)] * 40))
    found = choice("answer", single_answers, design, test, 0.5, 0.05)
    assert (found.threshold, found.n, found.n_shown, found.n_failed) == (0.6, 80, 40, 5)
    assert found.bound == pytest.approx(upper_limit(5, 40, 0.05)) and found.bound < 0.5


def test_a_threshold_behind_one_that_fails_is_never_chosen(rows: Rows) -> None:
    design = view(rows(*[(0.9, True)] * 30, *[(0.6, False)] * 30, *[(0.3, True)] * 300))
    test = view(rows(*[(0.9, True)] * 30, *[(0.6, False)] * 30, *[(0.3, True)] * 300))
    # 0.3 would pass its test (30 of 360), and looks best in the design part, so it is tested first.
    assert choice("answer", single_answers, design, test, 0.2, 0.05).threshold == 0.3
    # A design part that shows only the first two starts at 0.9, where 0 of 30 fail; 0.6 is then not reached.
    short = view(rows(*[(0.9, True)] * 30, *[(0.6, False)] * 30))
    assert choice("answer", single_answers, short, test, 0.2, 0.05).threshold == 0.9


def test_sets_get_shorter_as_far_as_the_promise_allows() -> None:
    # Each set: 0.5 wrong, then 0.4 right. At 0.9 both are offered, at 0.5 the wrong one alone.
    records = Records(np.tile([0.5, 0.4], (60, 1)), np.tile([False, True], (60, 1)))
    found = choice("offer_set", sets_beside(None), view(records), view(records), 0.1, 0.05)
    assert (found.threshold, found.n_shown, found.n_failed) == (0.9, 60, 0)
    # With the right answer first one answer is enough.
    records = Records(records.q, records.right[:, ::-1])
    found = choice("offer_set", sets_beside(None), view(records), view(records), 0.1, 0.05)
    assert found.threshold == 0.5


def test_sets_stand_beside_answers() -> None:
    records = Records(np.array([[0.9, 0.1], [0.5, 0.4]]), np.array([[False, False], [True, False]]))
    shown, failed = sets_beside(0.8)(view(records), 0.5)
    assert (shown.tolist(), failed.tolist()) == ([False, True], [False, False])


def test_conformal_by_hand(rows: Rows) -> None:
    # 100 sets of 0.6 and 0.3. Right is the first in 70, the second in 20, none in 10: at thresholds up to 0.6, which
    # offer the first alone, 30 sets miss, above it 10.
    right = np.array([[True, False]] * 70 + [[False, True]] * 20 + [[False, False]] * 10)
    test = view(Records(np.tile([0.6, 0.3], (100, 1)), right))
    # 40 full sets of which 2 hold nothing right: the limit at 95% is 0.1492 (Clopper & Pearson).
    design = view(Records(np.tile([0.6, 0.3], (40, 1)), np.array([[True, False]] * 38 + [[False, False]] * 2)))
    # B ~ Binomial(101, 0.1492) is hardly ever above 30, so j = 30 of 101 for alpha = 0.3: 29 failures are allowed, and
    # the threshold is the first multiple of 0.01 above 0.6.
    found = conformal(design, test, 0.3, 0.05)
    assert (found.threshold, found.n_shown, found.n_failed, found.delta) == (0.61, 100, 10, 0.05)
    assert found.bound == pytest.approx(0.1492, abs=1e-4)
    one = conformal(design, test, 0.4, 0.05)  # 39 failures are allowed: one answer is enough
    assert (one.threshold, one.n_failed) == (0.01, 30)
    # At alpha = 0.15 B alone uses it up, no level is safe, and all answers are what is fallen back on.
    fallback = conformal(design, test, 0.15, 0.05)
    assert (fallback.threshold, fallback.n_failed) == (2.0, 10)
    with pytest.raises(ConfigError) as caught:
        conformal(design, test, 0.14, 0.05)
    assert str(caught.value) == (
        "alpha = 0.14 cannot be promised for every question: even all k = 2 answers hold no right one for 2 of 40 (of "
        "40 records of the design part), which does not prove a rate of at most 0.14 with probability 0.95; use target "
        "'set', which escalates the doubtful ones, more records, a larger k or a larger alpha"
    )


def test_conformal_counts_the_sets_that_would_be_offered(lab: Lab) -> None:
    design, seen = view(lab(2000, seed=12)[0]), view(lab(300, seed=11)[0])
    for alpha in (0.17, 0.2, 0.3, 0.5):
        found = conformal(design, seen, alpha, 0.05)
        shown, size = seen.offered(found.threshold, offer_all=True)
        assert found.n_failed == (shown & (seen.first_right >= size)).sum()
        shown, size = seen.offered(found.threshold - 0.01, offer_all=True)  # one step lower is one failure too many
        assert found.threshold == 0.01 or ((shown & (seen.first_right >= size)).sum() + 1) / 301 > safe_level(
            alpha, found.bound, 300
        )


@pytest.mark.parametrize(("alpha", "miss", "n"), [(0.2, 0.2, 100), (0.1, 0.095, 400), (0.2, 0.1, 300)])
def test_conformal_holds_on_average_over_test_parts_where_the_full_set_nearly_misses_too_often(
    alpha: float, miss: float, n: int
) -> None:
    """With the level alpha, as if no record's full set missed, the first mean was 0.215."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> View:
        q_N_K = np.sort(rng.random((n, 3)) / 3, axis=1)[:, ::-1]
        place_N = rng.choice(4, n, p=[(1 - miss) * 0.5, (1 - miss) * 0.3, (1 - miss) * 0.2, miss])
        return view(Records(q_N_K.copy(), place_N[:, None] == np.arange(3)))

    world, rates = draw(50_000), []
    # The design part at the limit of what is accepted.
    size = round(0.3 * n)
    failed = next(m for m in range(size, -1, -1) if upper_limit(m, size, 0.05) <= alpha)
    right_N = np.arange(size) >= failed
    design = view(Records(np.tile([0.3, 0.2, 0.1], (size, 1)), right_N[:, None] * np.array([True, False, False])))
    limit = upper_limit(failed, size, 0.05)
    for _ in range(60):
        shown, sizes = world.offered(conformal(design, draw(n - size), alpha, 0.05).threshold, offer_all=True)
        rates.append((world.first_right >= sizes)[shown].mean())
    mean, error = np.mean(rates), np.std(rates) / np.sqrt(len(rates)) + 0.002  # of the world
    assert mean <= alpha + max(0.0, miss - limit) + 3 * error  # the limit holds the rate of the full set, or nearly


# --- policies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recalibrate", ["none", "isotonic", "platt", "temperature"])
@pytest.mark.parametrize("target", ["answer", "set", "both", "conformal"])
def test_a_policy_says_what_it_rests_on(target: str, recalibrate: str, lab: Lab) -> None:
    records, _ = lab(1500, seed=1)
    rules = Policy(abstain_below=0.1, when_malformed="abstain", answer_at=0.3)
    calibration = Calibration(target, alpha=0.2, recalibrate=recalibrate)
    policy = fit_policy(records, calibration, rules=rules, n_unscored=4, fingerprint="f", date="2026-11-21")
    assert Policy.from_json(policy.to_json()) == policy
    assert (policy.abstain_below, policy.when_malformed, policy.k) == (0.1, "abstain", 3)
    assert (policy.answer_at is not None) == (target in ("answer", "both"))
    assert (policy.offer_at is not None) == (target != "answer")
    assert policy.offer_all == (target == "conformal")
    assert (policy.recalibration is not None) == (recalibrate != "none")
    names = {"answer": ["answer"], "both": ["answer", "offer_set"]}.get(target, ["offer_set"])
    assert [guarantee.decision for guarantee in policy.guarantees] == names
    for guarantee in policy.guarantees:
        assert (guarantee.n_unscored, guarantee.fingerprint, guarantee.date) == (4, "f", "2026-11-21")
        assert guarantee.bound <= guarantee.alpha == 0.2
        assert guarantee.threshold in (policy.answer_at, policy.offer_at)
        assert guarantee.n_failed <= guarantee.n_shown <= guarantee.n
    assert policy.guarantees[0].n_design == 450
    assert policy.guarantees[0].n == {"both": 525}.get(target, 1050)
    assert policy.guarantees[0].delta == {"both": 0.025}.get(target, 0.05)


def test_a_split_is_drawn_by_its_seed(lab: Lab) -> None:
    records, _ = lab(600, seed=2)
    first, again, other = (fit_policy(records, Calibration(alpha=0.35, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_a_larger_alpha_or_delta_never_tests_to_a_higher_threshold(lab: Lab) -> None:
    design, test = view(lab(400, seed=3)[0]), view(lab(800, seed=4)[0])
    order = [
        choice("answer", single_answers, design, test, alpha, delta).threshold
        for alpha, delta in ((0.25, 0.01), (0.25, 0.1), (0.3, 0.1), (0.4, 0.1))
    ]
    assert order == sorted(order, reverse=True) and order[0] > order[-1]


@pytest.mark.parametrize(
    ("n", "calibration", "said"),
    [
        # 0.9^29 <= 0.05, and 29 of 70% of the records are 41 or 42: round(0.3 * 41) = 12, 41 - 12 = 29.
        (40, Calibration("answer"), "records: 40 are too few, alpha = 0.1, delta = 0.05 and target = 'answer'"),
        (40, Calibration("answer"), "need at least 41 even when nothing fails: judge more questions, or allow a lar"),
        # delta / 2: 0.9^36 <= 0.025, so 72 in two parts: 103 - 31 = 72.
        (102, Calibration("both"), "delta = 0.05 and target = 'both' need at least 103 even when nothing fails"),
        # The full set is tested on 29: 30% of 95 are 28 (round(28.5)), of 96 they are 29.
        (95, Calibration("conformal"), "delta = 0.05 and target = 'conformal' need at least 96 even when nothing fail"),
        # 50 for the map: round(0.3 * 165) = round(49.5) = 50.
        (164, Calibration("set", recalibrate="platt"), "and target = 'set' need at least 165 even when nothing fails"),
        (0, Calibration("set"), "records: 0 are too few"),
        (500, Calibration("set", alpha=1e-6), "need at least 4279615 even when nothing fails"),
    ],
)  # fmt: skip
def test_too_few_records_are_refused_with_the_number_needed(
    n: int, calibration: Calibration, said: str, rows: Rows
) -> None:
    with pytest.raises(ConfigError) as caught:
        fit_policy(rows(*[(0.9, True)] * n), calibration)
    assert said in str(caught.value)


def test_as_many_records_as_asked_for_suffice(rows: Rows) -> None:
    assert fit_policy(rows(*[(0.9, True)] * 41), Calibration("answer")).answer_at == 0.9
    assert fit_policy(rows(*[(0.9, True)] * 96), Calibration("conformal")).offer_at == 0.01


def test_a_target_that_cannot_be_kept_is_refused(rows: Rows, lab: Lab) -> None:
    half = rows(*[(0.9, True), (0.9, False)] * 100)
    with pytest.raises(ConfigError) as caught:
        fit_policy(half, Calibration("answer"))
    said = str(caught.value)
    assert said.startswith("alpha = 0.1 cannot be promised: at the most promising threshold, 0.9, ")
    assert "wrong answers among 140 (of 140 tested records) do not prove a rate of at most 0.1 with probability" in said
    nothing = Records(np.full((200, 2), np.nan), np.zeros((200, 2), dtype=bool))
    with pytest.raises(ConfigError, match="no record of the design part can get offer_set; loosen the other rules"):
        fit_policy(nothing, Calibration("set"))
    with pytest.raises(ConfigError, match="records: 0 of 140 can be used, alpha = 0.1 needs at least 9"):
        fit_policy(nothing, Calibration("conformal"))
    with pytest.raises(ConfigError, match="target 'answer' alone can be promised, with answer_at = 0.9"):
        fit_policy(rows(*[(0.9, True)] * 200), Calibration("both"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"target": "sets"}, "target = 'sets' is not known: use one of answer, set, both, conformal"),
        ({"alpha": 0.0}, "alpha = 0.0 is not allowed: give a number between 0 and 1"),
        ({"alpha": 1.0}, "alpha = 1.0 is not allowed"),
        ({"alpha": float("nan")}, "alpha = nan is not allowed"),
        ({"delta": -0.1}, "delta = -0.1 is not allowed"),
        ({"design_share": 1.0}, "design_share = 1.0 is not allowed"),
        ({"recalibrate": "beta"}, "recalibrate = 'beta' is not known: use one of none, isotonic, platt, temperature"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Calibration(**arguments)


# --- is the promise kept? --------------------------------------------------------------------------------------------


def true_rate(policy: Policy, records: Records, p: np.ndarray, decision: str) -> float:
    """Expected rate of failures among the records that get the decision, from the true probabilities."""
    seen = View.of(records, policy)
    answered = seen.answered(policy.answer_at)
    if decision == "answer":
        return float((1 - p[answered, 0]).mean())
    assert policy.offer_at is not None
    offered, size = seen.offered(policy.offer_at, offer_all=policy.offer_all)
    missed = 1 - np.take_along_axis(np.cumsum(p, axis=1), size[:, None] - 1, axis=1)[:, 0]
    return float(missed[offered & ~answered].mean())


@pytest.mark.parametrize(
    ("target", "alpha", "recalibrate"),
    [("answer", 0.2, "isotonic"), ("set", 0.15, "none"), ("set", 0.15, "isotonic"), ("both", 0.3, "none")],
)
def test_the_promise_is_broken_no_more_often_than_delta(target: str, alpha: float, recalibrate: str, lab: Lab) -> None:
    """60 calibrations of 400 records at delta = 0.2: 12 may break it. bench/guarantee.py takes a thousand."""
    pool, _ = lab(24_000, seed=5)
    world, world_p = lab(5_000, seed=6)
    broken = kept = 0
    for draw in range(60):
        part = np.arange(draw * 400, (draw + 1) * 400)
        try:
            policy = fit_policy(pool.at(part), Calibration(target, alpha, 0.2, recalibrate, seed=draw))
        except ConfigError:
            continue
        rates = [true_rate(policy, world, world_p, guarantee.decision) for guarantee in policy.guarantees]
        kept += max(rates) <= alpha
        broken += max(rates) > alpha
    # P(Binomial(60, 0.2) > 20) = 0.5%; a policy must also be found most of the time, or the test would show nothing.
    assert broken <= 20 and kept >= 30


def test_conformal_keeps_its_promise_on_average(lab: Lab) -> None:
    pool, _ = lab(40_000, seed=7)
    world, world_p = lab(5_000, seed=8)
    rates = []
    for i in range(100):
        try:
            policy = fit_policy(pool.at(np.arange(i * 400, i * 400 + 400)), Calibration("conformal", 0.25))
        except ConfigError:
            continue
        rates.append(true_rate(policy, world, world_p, "offer_set"))
    # Not above alpha, and not far below: what 1 / 281 and thresholds on a grid of confidences cost.
    assert len(rates) >= 50 and 0.22 <= np.mean(rates) <= 0.25 + 3 * np.std(rates) / np.sqrt(len(rates))
    assert np.max(rates) > 0.25  # on average means just that: some calibrations are above


@pytest.mark.parametrize(("miss", "most"), [(0.2, 0.1), (0.11, 0.1)])
def test_conformal_seldom_comes_about_where_the_full_set_misses_more_often_than_alpha(miss: float, most: float) -> None:
    """Whatever was found would miss at least at the rate of the full set: 200 worlds, delta = 0.1."""
    n_found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n_right = rng.choice(3, 300, p=[miss, (1 - miss) / 2, (1 - miss) / 2])  # none, the first or the second
        records = Records(np.tile([0.6, 0.3], (300, 1)), n_right[:, None] == [1, 2])
        try:
            fit_policy(records, Calibration("conformal", most, delta=0.1))
        except ConfigError:
            continue
        n_found += 1
    assert n_found <= 32  # P(Binomial(200, 0.1) > 32) = 0.4%
    assert miss == 0.2 or n_found > 0


def test_a_guarantee_survives_confidences_that_mean_nothing(rows: Rows) -> None:
    rng = np.random.default_rng(9)
    broken = 0
    for _ in range(100):
        q, y = rng.random(200), rng.random(200) < 0.8
        try:
            fit_policy(rows(*zip(q, y, strict=True)), Calibration("answer", alpha=0.19, delta=0.1))
        except ConfigError:
            continue
        broken += 1  # whatever the threshold, 20% are wrong
    assert broken <= 20  # P(Binomial(100, 0.1) > 20) = 0.1%


def test_replaced_rules_void_the_promise(lab: Lab) -> None:
    policy = fit_policy(lab(600, seed=2)[0], Calibration(alpha=0.35))
    with pytest.raises(ConfigError, match="they were given for other rules"):
        replace(policy, offer_at=0.1)
