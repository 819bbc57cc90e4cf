"""Check of the guarantee of calibrated policies: a thousand calibrations each, compared with the true failure rate.

    python bench/guarantee.py                                        simulated worlds
    python bench/guarantee.py --judged RUN/set/judged.jsonl ...      real judged files instead

Simulated worlds: every answer has a known probability, at most one answer of a set is right, labels are sampled.
Confidences are these probabilities (`honest`), too high (`overconfident`) or unrelated to them (`meaningless`). The
true rate of a policy is taken over other questions, from the probabilities, so it carries next to no noise.

Judged files: the file is the world. Calibration records are drawn from it with replacement, and the true rate is that
over the whole file, so the guarantee can be checked exactly. `halves` splits the file at random instead, calibrates
on one half and counts on the other: what a user can do, but the rate of a half is itself noisy, so more of them lie
above alpha than policies are broken.

A guarantee with delta holds when at most a share delta of all calibrations violates it; `conformal` when the mean rate
is at most alpha. Calibrations that refuse guarantee nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402  threads are limited before numpy starts them
from scipy.stats import binom  # noqa: E402
from tqdm import tqdm  # noqa: E402

from polymode.calibrate import read_judged  # noqa: E402
from polymode.errors import ConfigError  # noqa: E402
from polymode.policy import Policy  # noqa: E402
from polymode.policy.calibration import Calibration  # noqa: E402
from polymode.policy.fitting import fit_policy  # noqa: E402
from polymode.policy.records import Records, View  # noqa: E402

WORLD = 20_000
"""Questions that a true rate is taken over."""


@dataclass(frozen=True, eq=False)
class World:
    """Questions whose true rate of failures is known."""

    records: Records
    p: np.ndarray
    """Probability that each answer is right and none before it is (N, K)."""

    def rates(self, policy: Policy) -> list[float]:
        """True rate of failures of each promise of the policy; 0 where no question gets the decision."""
        view = View.of(self.records, policy)
        answered = view.answered(policy.answer_at)
        rates = []
        for guarantee in policy.guarantees:
            shown, size = answered, np.ones(len(answered), dtype=np.int64)
            if guarantee.decision == "offer_set":
                offered, size = view.offered(guarantee.threshold, offer_all=policy.offer_all)
                shown = offered & ~answered
            found = np.take_along_axis(np.cumsum(self.p, axis=1), size[:, None] - 1, axis=1)[:, 0]
            rates.append(float((1 - found)[shown].mean()) if shown.any() else 0.0)
        return rates


def draw(kind: str, n: int, rng: np.random.Generator, k: int = 3) -> World:
    """``n`` questions of a drawn world."""
    p = np.sort(rng.dirichlet([0.4] * k + [0.15], n)[:, :k], axis=1)[:, ::-1]
    drawn = (rng.random((n, 1)) > np.cumsum(p, axis=1)).sum(axis=1)
    stated = {"honest": p, "overconfident": p**0.7 + rng.normal(0, 0.05, p.shape), "meaningless": rng.random(p.shape)}
    q = np.round(np.clip(stated[kind], 0, 1) * 20) / 20
    order = np.argsort(-q, axis=1, kind="stable")
    right = np.arange(k) == drawn[:, None]
    q, right, p = (np.take_along_axis(array, order, axis=1) for array in (q, right, p))
    return World(Records(q, right.astype(bool)), p)


def first_right(records: Records) -> np.ndarray:
    """Labels as probabilities: 1 at the first right answer (N, K)."""
    return (records.right & (np.cumsum(records.right, axis=1) == 1)).astype(float)


def check(name: str, what: Calibration, calibrations: int, sample: Callable[[int], tuple[Records, World]]) -> None:
    """Calibrate many times and print one line."""
    found: list[list[float]] = []
    shown: list[float] = []
    for i in tqdm(range(calibrations), desc=name, leave=False, delay=2):
        records, world = sample(i)
        try:
            policy = fit_policy(records, what)
        except ConfigError:
            continue
        found.append(world.rates(policy))
        shown.append(sum(g.n_shown / g.n for g in policy.guarantees))
    worst = np.array([max(rates) for rates in found])
    broken = int((worst > what.alpha + 1e-12).sum())
    mean = float(worst.mean()) if len(worst) else float("nan")
    if what.target == "conformal":
        # The mean of what was found; twice its standard error is noise of this check.
        is_kept = not len(worst) or mean <= what.alpha + 2 * worst.std() / len(worst) ** 0.5
    else:
        # Broken more often than 99.9% of checks of a promise that is just kept.
        is_kept = broken <= binom.ppf(0.999, calibrations, what.delta)
    print(
        f"{name:<34} {what.target:<9} {what.recalibrate:<8} alpha {what.alpha:.2f} delta {what.delta:.2f}: "
        f"found {len(found) / calibrations:6.1%}, broken {broken / calibrations:6.1%}, mean rate {mean:.3f}, "
        f"shown {np.mean(shown) if shown else 0.0:5.1%}  [{'kept' if is_kept else 'BROKEN TOO OFTEN'}]",
        flush=True,
    )


def drawn_worlds(calibrations: int, n: int) -> None:
    """Every kind of confidences, target and map."""
    alphas = {"answer": 0.15, "set": 0.1, "both": 0.3, "conformal": 0.2}
    for kind in ("honest", "overconfident", "meaningless"):
        world = draw(kind, WORLD, np.random.default_rng(1))
        for target, alpha in alphas.items():
            if kind == "meaningless":
                # Just below what the model reaches without any threshold: every policy found is a wrong one.
                alpha = {"answer": 0.69, "set": 0.35, "both": 0.69, "conformal": 0.2}[target]
            for recalibrate in ("none", "isotonic"):

                def sample(i: int, kind: str = kind, world: World = world) -> tuple[Records, World]:
                    return draw(kind, n, np.random.default_rng(10_000 + i)).records, world

                check(f"{kind}, n = {n}", Calibration(target, alpha, 0.1, recalibrate), calibrations, sample)


def judged_files(paths: list[Path], calibrations: int) -> None:
    """Each file as a world, and in halves."""
    for path in paths:
        records = read_judged(path).records
        usable = records.at(np.flatnonzero(~np.isnan(records.q[:, 0])))
        world = World(usable, first_right(usable))
        miss = 1 - usable.right.any(axis=1).mean()
        wrong = 1 - usable.right[:, 0].mean()
        print(f"{path}: n = {len(usable)}, first answer wrong {wrong:.3f}, no answer right {miss:.3f}")
        n = len(usable)

        def whole(i: int, world: World = world, n: int = n) -> tuple[Records, World]:
            return world.records.at(np.random.default_rng(i).integers(0, n, n)), world

        def halves(i: int, world: World = world, n: int = n) -> tuple[Records, World]:
            order = np.random.default_rng(i).permutation(n)
            rest = order[n // 2 :]
            return world.records.at(order[: n // 2]), World(world.records.at(rest), world.p[rest])

        for what in _questions(wrong, miss):
            check("file as world", what, calibrations, whole)
        for what in _questions(wrong, miss):
            check("halves (noisy)", what, calibrations, halves)


def _questions(wrong: float, miss: float) -> Iterator[Calibration]:
    """Promises that are neither free nor out of reach for a model that fails so often."""
    for recalibrate in ("none", "isotonic"):
        yield Calibration("answer", round(0.7 * wrong, 3), 0.1, recalibrate)
        yield Calibration("set", round((wrong + miss) / 2, 3), 0.1, recalibrate)
        yield Calibration("conformal", round((wrong + miss) / 2, 3), 0.1, recalibrate)


def main() -> None:
    """Read the options and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrations", type=int, default=1000)
    parser.add_argument("--n", type=int, default=500, help="records of one calibration of a drawn world")
    parser.add_argument("--judged", type=Path, nargs="+", default=[], help="judged.jsonl files")
    options = parser.parse_args()
    if options.judged:
        judged_files(options.judged, options.calibrations)
    else:
        drawn_worlds(options.calibrations, options.n)


if __name__ == "__main__":
    main()
