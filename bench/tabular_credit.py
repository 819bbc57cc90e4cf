"""Bias, noise and learning of each credit on random tabular policies, whose gradient can be enumerated.

    python bench/tabular_credit.py                    two minutes on one core; the tables of docs/credit.md

A policy writes z, answer 1, confidence 1, answer 2, confidence 2; every choice sees all earlier ones, with a table of
random logits. The label is drawn with the question, so that one answer at most is right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from polymode.credit import SlotScores, group_advantages, term_advantages

Floats = NDArray[np.float64]
Credit = Callable[[SlotScores, int], Floats]

SIZES = (2, 3, 2, 3, 2)
"""Choices for z, answer 1, confidence 1, answer 2, confidence 2."""
PARTS = (0, 1, 3, 2, 4)
"""Their columns in `term_advantages` for K = 2."""
LABELS, STATED = 3, np.array([0.2, 0.8])
EVERY = np.array(list(product(*map(range, SIZES))))
"""All 72 completions, as indices of the choices."""


class Tabular:
    """One policy. ``dependence`` scales what answer 2 and its confidence make of confidence 1."""

    def __init__(self, rng: np.random.Generator, dependence: float = 1.0) -> None:
        self.logits = [rng.normal(size=SIZES[: t + 1]) for t in range(len(SIZES))]
        for t in (3, 4):
            mean = self.logits[t].mean(2, keepdims=True)
            self.logits[t] = mean + dependence * (self.logits[t] - mean)
        self.p_label = rng.dirichlet(np.full(LABELS, 2.0))
        labels = np.arange(LABELS)
        first, second = EVERY[:, 1, None] == labels, EVERY[:, 3, None] == labels
        self.hits_CLK = np.stack([first, second & ~first], -1).astype(float)
        q_CLK = np.broadcast_to(STATED[EVERY[:, [2, 4]]][:, None], self.hits_CLK.shape)
        self.if_hit_CLK, self.if_miss_CLK = -((q_CLK - 1) ** 2) / 2, -(q_CLK**2) / 2
        self.stated_CLK = np.where(self.hits_CLK == 1, self.if_hit_CLK, self.if_miss_CLK)
        self.total_CL = 1 + self.hits_CLK.sum(2) + self.stated_CLK.sum(2)
        self.update()

    def update(self) -> None:
        """Probabilities and score functions of the present logits."""
        self.p_C = np.ones(len(EVERY))
        self.scores = []
        rows = np.arange(len(EVERY))
        for t, logits in enumerate(self.logits):
            p = np.exp(logits - logits.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            context, chosen = tuple(EVERY[:, :t].T), tuple(EVERY[:, : t + 1].T)
            score = np.zeros((len(EVERY), *p.shape))
            score[(rows, *context)] = -p[context]
            score[(rows, *chosen)] += 1
            self.p_C = self.p_C * p[chosen]
            self.scores.append(score.reshape(len(EVERY), -1))

    def gradient(self) -> list[Floats]:
        """Derivatives of the expected score by the logits of each table."""
        return [(self.p_C * (self.total_CL @ self.p_label)) @ score for score in self.scores]

    def means(self) -> tuple[float, float, float]:
        """Expected score, coverage, and what confidences add."""
        weight_CL = self.p_C[:, None] * self.p_label
        values = (self.total_CL, self.hits_CLK.sum(2), self.stated_CLK.sum(2))
        return tuple(float((weight_CL * value).sum()) for value in values)  # type: ignore[return-value]

    def slots(self, completions: NDArray[np.int64], labels: NDArray[np.int64]) -> SlotScores:
        """Slot scores of completions, by their numbers, on questions with these labels."""
        at = completions, labels
        hits = self.hits_CLK[at]
        q = STATED[EVERY[completions][:, [2, 4]]]
        by_slot = hits, self.stated_CLK[at], hits, self.if_hit_CLK[at], self.if_miss_CLK[at], q
        return SlotScores(self.total_CL[at], *by_slot, np.zeros(len(completions)))

    def sample(self, rng: np.random.Generator, questions: int, group: int) -> tuple[NDArray[np.int64], SlotScores]:
        """Completions of a batch, by their numbers, and their slot scores."""
        completions = rng.choice(len(EVERY), p=self.p_C, size=questions * group)
        labels = np.repeat(rng.choice(LABELS, p=self.p_label, size=questions), group)
        return completions, self.slots(completions, labels)


def sequence(scores: SlotScores, group: int) -> Floats:
    """One advantage for all parts."""
    return np.repeat(group_advantages(scores.total_N.reshape(-1, group)).reshape(-1, 1), 5, 1)


def exact(scores: SlotScores, group: int) -> Floats:
    """Confidences are credited with later slots too."""
    return term_advantages(scores, group, later=1.0)


def term_x4(scores: SlotScores, group: int) -> Floats:
    return term_advantages(scores, group, confidence=4.0)


def exact_x4(scores: SlotScores, group: int) -> Floats:
    return term_advantages(scores, group, confidence=4.0, later=1.0)


CREDITS: dict[str, Credit] = {
    "sequence": sequence,
    "term": term_advantages,
    "term, later = 1": exact,
    "term, factor 4": term_x4,
    "term, factor 4, later = 1": exact_x4,
}


def pair_advantages(credit: Credit) -> Floats:
    """Advantages of the first of two completions in a group of their own, shape (label, first, second, part).

    Credit looks at scores alone, so pairs with the same scores are computed once.
    """
    policy, n = Tabular(np.random.default_rng(0)), len(EVERY)
    numbers = np.repeat(np.arange(n), LABELS), np.tile(np.arange(LABELS), n)
    _, example, kind = np.unique(policy.slots(*numbers).to_columns(), axis=0, return_index=True, return_inverse=True)
    of_kinds = np.zeros((len(example), len(example), len(SIZES)))
    for i, j in product(range(len(example)), repeat=2):
        pair = example[[i, j]]
        of_kinds[i, j] = credit(policy.slots(numbers[0][pair], numbers[1][pair]), 2)[0]
    kind_LC = kind.reshape(n, LABELS).T
    return of_kinds[kind_LC[:, :, None], kind_LC[:, None, :]]


def expected_gradient(policy: Tabular, pairs: Floats) -> list[Floats]:
    """Exact mean of the estimate with groups of two, times G / (G - 1) = 2."""
    weight = np.einsum("l,i,j->lij", policy.p_label, policy.p_C, policy.p_C)
    of_first = np.einsum("lij,lijx->ix", weight, pairs)
    return [2 * of_first[:, part] @ score for part, score in zip(PARTS, policy.scores, strict=True)]


def estimate(policy: Tabular, rng: np.random.Generator, questions: int, group: int, credit: Credit) -> list[Floats]:
    """The gradient of one sampled batch."""
    completions, scores = policy.sample(rng, questions, group)
    advantages = credit(scores, group)
    return [
        advantages[:, part] @ score[completions] / len(completions)
        for part, score in zip(PARTS, policy.scores, strict=True)
    ]


def learn(
    policy: Tabular, rng: np.random.Generator, credit: Credit, steps: int, *, shared: bool
) -> list[tuple[float, float, float]]:
    """Means after each quarter of the steps, by Adam with one divisor for each logit or one for all (``shared``)."""
    first = [np.zeros_like(logits) for logits in policy.logits]
    second = [np.zeros_like(logits) for logits in policy.logits]
    rows = [policy.means()]
    for step in range(1, steps + 1):
        for t, flat in enumerate(estimate(policy, rng, 16, 4, credit)):
            gradient = flat.reshape(policy.logits[t].shape)
            first[t] = 0.9 * first[t] + 0.1 * gradient
            second[t] = 0.99 * second[t] + 0.01 * gradient**2
        common = np.mean(np.concatenate([square.ravel() for square in second]))
        for t in range(len(SIZES)):
            square = (common if shared else second[t]) / (1 - 0.99**step)
            policy.logits[t] += 0.03 * first[t] / (1 - 0.9**step) / (np.sqrt(square) + 1e-8)
        policy.update()
        if step % (steps // 4) == 0:
            rows.append(policy.means())
    return rows


def report_bias() -> None:
    print("bias: relative error and cosine of the expected gradient, 200 policies, by z, a1, q1, a2, q2")
    for name in ("term", "term, later = 1"):
        pairs, rng = pair_advantages(CREDITS[name]), np.random.default_rng(1)
        errors, cosines = [], []
        for _ in range(200):
            policy = Tabular(rng)
            both = list(zip(expected_gradient(policy, pairs), policy.gradient(), strict=True))
            errors.append([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in both])
            cosines.append([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in both])
        print(f"  {name:26} median error {np.median(errors, 0).round(3)}, largest {np.max(errors, 0).round(3)}")
        low = np.quantile(cosines, 0.05, 0).round(3)
        print(f"  {'':26} median cosine {np.median(cosines, 0).round(3)}, 5% below {low}")


def report_noise() -> None:
    for questions, group in ((64, 4), (4, 4)):
        print(f"noise: variance of the gradient x completions, 8 policies, {questions} x {group}, by z, a1, q1, a2, q2")
        for name in ("sequence", "term", "term, later = 1"):
            rows = []
            for seed in range(8):
                rng = np.random.default_rng(seed)
                policy = Tabular(rng)
                many = [estimate(policy, rng, questions, group, CREDITS[name]) for _ in range(150)]
                rows.append([np.stack(part).var(0).sum() * questions * group for part in zip(*many, strict=True)])
            print(f"  {name:26} {np.mean(rows, 0).round(4)}")


def report_reasoning() -> None:
    """How much of the noise of z is that of what is sampled after it, and how much a look at answer 1 would remove."""
    print("reasoning: variance of the gradient of z x completions, 200 policies, 64 x 4")
    rows, rng = [], np.random.default_rng(5)
    for _ in range(200):
        policy = Tabular(rng)
        is_z_ZC = np.arange(SIZES[0])[:, None] == EVERY[:, 0]
        p_ZC = policy.p_C * is_z_ZC / (policy.p_C * is_z_ZC).sum(1, keepdims=True)
        first_CL = policy.hits_CLK[..., 0]
        of_all, of_first = ((p_ZC @ value)[EVERY[:, 0]] for value in (policy.total_CL, first_CL))
        variances = []
        for value_CL in (policy.total_CL, policy.total_CL - first_CL + of_first, of_all):
            many = []
            for _ in range(60):
                completions = rng.choice(len(EVERY), p=policy.p_C, size=256)
                labels = np.repeat(rng.choice(LABELS, p=policy.p_label, size=64), 4)
                advantages = group_advantages(value_CL[completions, labels].reshape(-1, 4)).ravel()
                many.append(advantages @ policy.scores[0][completions] / 256)
            variances.append(np.var(many, 0).sum() * 256)
        rows.append(variances)
    for name, value in zip(
        ("as sampled", "answer 1 in expectation", "all in expectation"), np.mean(rows, 0), strict=True
    ):
        print(f"  {name:26} {value:.4f}")


def report_learning(policies: int, steps: int) -> None:
    for dependence, shared in product((1.0, 0.3), (False, True)):
        divisor = "one divisor for all logits" if shared else "a divisor for each logit"
        print(
            f"learning: {policies} policies, dependence {dependence}, {divisor}; at 0, 1/4 .. {steps} steps of 16 x 4"
        )
        for name, credit in CREDITS.items():
            runs = []
            for seed in range(policies):
                rng = np.random.default_rng(seed)
                runs.append(learn(Tabular(rng, dependence), rng, credit, steps, shared=shared))
            mean = np.mean(runs, 0).T
            print(f"  {name:26} score {mean[0].round(3)}  coverage {mean[1].round(3)}  confidences {mean[2].round(3)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", type=int, default=16, help="policies of each learning curve")
    parser.add_argument("--steps", type=int, default=100, help="steps of each learning curve")
    options = parser.parse_args()
    report_bias()
    report_noise()
    report_reasoning()
    report_learning(options.policies, options.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
