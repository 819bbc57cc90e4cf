"""Simulated deployments: how soon live calibration raises an alarm, and how often it does for nothing.

    python bench/live_drift.py --deployments 300 --changes none

Questions and their true answer distributions are the lab's (`clinic-diagnosis`), answer sets the three most probable
conditions with their probabilities as confidences, so nothing is trained. Each deployment calibrates a policy on 1,000
questions of its own, then gets 20,000 others in random order, of which 2% are reviewed as soon as they are drawn.
Halfway through

- `none`: nothing changes; every alarm is a false one,
- `winter`: questions that name a complaint of the airways are three times as frequent,
- `older`: questions about people of 60 or more are three times as frequent,
- `confidences`: the model is worse, and its confidences show it: their odds are raised to the power of 0.7, and every
  fourth set has its first two answers exchanged,
- `silent`: the model is worse with the same confidences: 25 of 100 sets hold nothing right any more,
- `winter-confidences`, `winter-silent`: first the mix, and from the 15,000th question on also the model,

and reported is, for each change and kind of evidence, how many questions after the change it reached its limit, if no
earlier change had made it do so. The check of inputs and the directions of the mix are fitted once, on questions with
no other part.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402  threads are limited before numpy starts them
from scipy.stats import beta  # noqa: E402
from tqdm import tqdm  # noqa: E402

from polymode.errors import ConfigError  # noqa: E402
from polymode.policy import Policy  # noqa: E402
from polymode.policy.calibration import Calibration  # noqa: E402
from polymode.policy.fitting import fit_policy  # noqa: E402
from polymode.policy.inputs import InputCheck, fit_input_check  # noqa: E402
from polymode.policy.monitoring import (  # noqa: E402
    GUARANTEE,
    QUESTIONS,
    SETS,
    DriftMonitor,
    Evidence,
    GuaranteeMonitor,
)
from polymode.policy.records import Records, View  # noqa: E402
from polymode.policy.reference import Reference, set_measures  # noqa: E402
from polymode.tasks import open_task  # noqa: E402

K, N_FIT, N_CALIBRATION, N_LIVE, SHARE = 3, 600, 1000, 20_000, 0.02
HALF, LATE = N_LIVE // 2, N_LIVE * 3 // 4
AIRWAYS = re.compile("cough|sore throat|runny nose|sneezing|breath|wheez|stuffy|phlegm")
KINDS = (QUESTIONS, SETS, GUARANTEE)


@dataclass(frozen=True)
class Course:
    """What changes in a deployment, and when."""

    mix: str = ""
    """Questions that become more frequent, from ``HALF`` on."""
    model: str = ""
    """How the model becomes worse."""
    model_at: int = HALF

    @property
    def starts(self) -> list[int]:
        """First questions of what lasts until the next one, or the end."""
        changes = {HALF} if self.mix else set()
        return [0, *sorted(changes | ({self.model_at} if self.model else set()) or {HALF})]


COURSES = {
    "none": Course(),
    "winter": Course("winter"),
    "older": Course("older"),
    "confidences": Course(model="confidences"),
    "silent": Course(model="silent"),
    "winter-confidences": Course("winter", "confidences", LATE),
    "winter-silent": Course("winter", "silent", LATE),
}


@dataclass(frozen=True)
class World:
    """Questions with their measures, answer sets and the truth about these."""

    inputs: list[tuple[float, ...]]
    is_frequent: dict[str, np.ndarray]
    """By change, the questions that become more frequent (N,)."""
    q: np.ndarray
    """Confidences (N, K) of the most probable answers."""
    reference: Reference
    """Of the measures, whose values each deployment replaces by its own."""


def world(n: int) -> World:
    """Different questions, the first of which fit the check of inputs."""
    examples = open_task("clinic-diagnosis").examples("train", N_FIT + n, seed=1)
    texts = list(dict.fromkeys(one.question for one in examples))
    by_text = {one.question: one for one in examples}
    check = fit_input_check(texts[:N_FIT])
    assert isinstance(check, InputCheck)
    reference = Reference.of(texts[:N_FIT], check)
    assert reference is not None
    inputs, q, is_old, is_airways, rest = [], [], [], [], texts[N_FIT:]
    for text in tqdm(rest, desc="measures"):
        inputs.append(reference.measures(text, check))
        p = sorted((by_text[text].p_correct or {}).values(), reverse=True)[:K]
        q.append(p + [0.0] * (K - len(p)))
        age = re.search(r"\d+", text)
        is_old.append(age is not None and int(age[0]) >= 60)
        is_airways.append(AIRWAYS.search(text.partition(";")[0]) is not None)
    usable = [i for i, own in enumerate(inputs) if own]
    is_frequent = {"winter": np.array(is_airways)[usable], "older": np.array(is_old)[usable]}
    return World([inputs[i] for i in usable], is_frequent, np.array(q)[usable], reference)


def answers(world: World, rows: np.ndarray, rng: np.random.Generator, change: str = "") -> Records:
    """Answer sets of these questions, with what turned out to be right."""
    q = world.q[rows]
    truth = (rng.random((len(q), 1)) > np.cumsum(q, axis=1)).sum(axis=1)  # K where none of them is right
    right = np.arange(K) == truth[:, None]
    if change == "confidences":
        odds = (q / np.maximum(1 - q, 1e-9)) ** 0.7
        q = odds / (1 + odds)
        is_exchanged = rng.random(len(q)) < 0.25
        right[is_exchanged, :2] = right[is_exchanged, 1::-1]
    if change == "silent":
        right[rng.random(len(q)) < 0.25] = False
    return Records(np.round(q, 2), right)


def deployment(world: World, course: Course, rng: np.random.Generator) -> list[Evidence]:
    """One calibration and what came after it."""
    order = rng.permutation(len(world.q))
    calibration, rest = order[:N_CALIBRATION], order[N_CALIBRATION:]
    before, after = rest[:HALF], rest[HALF:]
    if course.mix:
        weight = np.where(world.is_frequent[course.mix][after], 3.0, 1.0)
        after = rng.choice(after, N_LIVE - HALF, replace=False, p=weight / weight.sum())
    live_rows = np.concatenate([before, after])
    records = answers(world, calibration, rng)
    policy = fit_policy(records, Calibration("set", alpha=0.1))
    fresh = calibration[: N_CALIBRATION // 2]  # the share that a calibration's own check leaves
    reference = Reference(
        tuple(tuple(sorted(column)) for column in zip(*(world.inputs[i] for i in fresh), strict=True)),
        world.reference.directions,
        tuple(tuple(sorted(column)) for column in zip(*measures(records)[:500], strict=True)),
    )
    drift, guarantees = DriftMonitor(reference), GuaranteeMonitor(policy)
    for start, end in pairwise([*course.starts, N_LIVE]):
        rows = live_rows[start:end]
        live = answers(world, rows, rng, course.model if start >= course.model_at else "")
        u = rng.random((len(rows), drift.n_measures))
        drift.observe({QUESTIONS: [world.inputs[row] for row in rows], SETS: measures(live)}, u.tolist())
        is_reviewed = rng.random(len(rows)) < SHARE
        for i, (decision, has_failed) in enumerate(outcomes_of(live, policy)):
            if is_reviewed[i] and decision:
                guarantees.observe(start + i, "", decision, has_failed)
    return drift.evidence() + guarantees.evidence()


def measures(records: Records) -> list[tuple[float, float]]:
    """Of each answer set."""
    return [set_measures(row.tolist()) for row in records.q]


def outcomes_of(records: Records, policy: Policy) -> Iterator[tuple[str, bool]]:
    """Decision, empty where nothing is shown, and whether nothing shown is right."""
    view = View.of(records, policy)
    is_answer = view.answered(policy.answer_at)
    is_set, size = view.offered(policy.offer_at or np.inf, offer_all=False)
    for i in range(len(records)):
        decision = "answer" if is_answer[i] else "offer_set" if is_set[i] else ""
        yield decision, bool(view.first_right[i] >= (1 if is_answer[i] else size[i]))


def main() -> None:
    """Read the options and simulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, default=200, help="without a change; a tenth of it with each change")
    parser.add_argument("--questions", type=int, default=45_000, help="that deployments draw from")
    parser.add_argument("--changes", nargs="+", choices=COURSES, default=[*COURSES])
    options = parser.parse_args()
    own_world = world(options.questions)
    shares = ", ".join(f"{name} {is_one.mean():.0%}" for name, is_one in own_world.is_frequent.items())
    print(f"{len(own_world.q):,} questions; of the kinds that become more frequent: {shares}")
    for change in options.changes:
        number = list(COURSES).index(change)
        n = options.deployments if change == "none" else max(1, options.deployments // 10)
        alarms: list[dict[str, int]] = []
        refused = 0
        for i in tqdm(range(n), desc=change):
            try:
                evidence = deployment(own_world, COURSES[change], np.random.default_rng([number, i]))
            except ConfigError:
                refused += 1
                continue
            reached: dict[str, int] = {}
            for one in evidence:
                if one.alarm_at is not None:
                    reached[one.kind] = min(one.alarm_at, reached.get(one.kind, one.alarm_at))
            alarms.append(reached)
        report(change, alarms, refused)


def report(change: str, alarms: list[dict[str, int]], refused: int) -> None:
    """How many deployments raised an alarm, and when; ``alarms`` by kind of evidence."""
    n = len(alarms)
    if not n:
        print(f"\n{change}: all {refused} calibrations were refused")
        return
    first_change, *later = COURSES[change].starts[1:]
    is_false = [bool(own) and (change == "none" or min(own.values()) <= first_change) for own in alarms]
    n_false = sum(is_false)
    low = 0.0 if n_false == 0 else float(beta.ppf(0.025, n_false, n - n_false + 1))
    high = 1.0 if n_false == n else float(beta.ppf(0.975, n_false + 1, n - n_false))
    print(f"\n{change}: {n} deployments ({refused} calibrations refused)")
    print(f"  alarms with nothing changed: {n_false} of {n}, {n_false / n:.1%} [{low:.1%}, {high:.1%}]")
    if change == "none":
        return
    rest = [own for own, false in zip(alarms, is_false, strict=True) if not false]
    for start, end in pairwise([first_change, *later, N_LIVE]):
        print(f"  after the change at {start:,}")
        for kind in ("any", *KINDS):
            at = [min(own.values(), default=0) if kind == "any" else own.get(kind, 0) for own in rest]
            after = np.array([one - start for one in at if start < one <= end])
            n_waiting = sum(not 0 < one <= start for one in at)
            delays = (
                f", after {np.median(after):,.0f} questions ({after.min():,} to {after.max():,})" if len(after) else ""
            )
            print(f"    {kind}: {len(after)} of {n_waiting} without an earlier alarm{delays}")


if __name__ == "__main__":
    main()
