"""The whole method in one file: sample sets, score them, centre the scores in their group, follow the gradient.

    python examples/minimal_loop.py            about ten seconds on one core

The model is a table: for each question a logit per answer (K are drawn without repeats) and, per answer, a logit for
each confidence that may be stated. It writes text like a language model does, so parsing, judging and scoring are the
ones that train real models. The world draws one right answer per question and group, with probabilities that the
model never sees: the best set is the K most likely answers, and the best confidences are those probabilities.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from polymode import METHODS, Example, Reference, TextVerifier, group_advantages, judge, parse_answers, score_set

ANSWERS = ("flu", "cold", "covid", "asthma", "gout", "reflux")
TRUTH = {  # question -> probability that each of ANSWERS is the right one
    "fever and aches": (0.55, 0.10, 0.25, 0.04, 0.03, 0.03),
    "wheeze at night": (0.03, 0.12, 0.10, 0.45, 0.05, 0.25),
    "painful big toe": (0.02, 0.02, 0.02, 0.02, 0.90, 0.02),
}
K, GROUP, GROUPS_PER_QUESTION = 3, 16, 8
GRID = [i / 10 for i in range(11)]
METHOD, VERIFIER = METHODS["multi-rlcr"], TextVerifier()


class Table(torch.nn.Module):
    """A policy over answer sets with confidences."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = torch.nn.Parameter(torch.zeros(len(TRUTH), len(ANSWERS)))
        self.confidence = torch.nn.Parameter(torch.zeros(len(TRUTH), len(ANSWERS), len(GRID)))

    def sample(self, question: int, n: int) -> tuple[list[str], torch.Tensor]:
        """``n`` completions and the log-probability of each."""
        # The K largest logits plus Gumbel noise are a draw without replacement, in order.
        noise = -torch.log(-torch.log(torch.rand(n, len(ANSWERS)).clamp(1e-9, 1 - 1e-9)))
        chosen = (self.answer[question].detach() + noise).topk(K).indices
        taken = torch.zeros(n, len(ANSWERS), dtype=torch.bool)
        log_p = torch.zeros(n)
        stated = []
        for slot in range(K):
            column = chosen[:, slot : slot + 1]
            left = self.answer[question].masked_fill(taken, -torch.inf)
            log_p = log_p + left.log_softmax(-1).gather(1, column)[:, 0]
            taken = taken.scatter(1, column, True)
            spoken = torch.distributions.Categorical(logits=self.confidence[question, column[:, 0]])
            stated.append(spoken.sample())
            log_p = log_p + spoken.log_prob(stated[-1])
        texts = [write(*row) for row in zip(chosen.tolist(), torch.stack(stated, 1).tolist(), strict=True)]
        return texts, log_p


def write(chosen: list[int], stated: list[int]) -> str:
    slots = [
        f"<answer{i}>{ANSWERS[a]}</answer{i}><confidence{i}>{GRID[q]}</confidence{i}>"
        for i, (a, q) in enumerate(zip(chosen, stated, strict=True), 1)
    ]
    return "<think>look it up</think>" + "".join(slots)


def train(steps: int, seed: int = 0) -> Table:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, questions = Table(), list(TRUTH)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    coverage, brier = [], []
    for step in range(1, steps + 1):
        totals_P_G, log_p_P_G = [], []
        for number in np.repeat(np.arange(len(questions)), GROUPS_PER_QUESTION):
            question = questions[number]
            right = rng.choice(ANSWERS, p=TRUTH[question])  # one outcome for the whole group
            example = Example(question, question, (Reference(str(right)),), exclusive=True)
            texts, log_p_G = model.sample(int(number), GROUP)
            scores = [
                score_set(
                    judge(example, parse_answers(text, K, confidence=True), VERIFIER),
                    METHOD.reward(),  # coverage + Brier term + format
                )
                for text in texts
            ]
            totals_P_G.append([score.total for score in scores])
            log_p_P_G.append(log_p_G)
            coverage += [score.terms["coverage"] for score in scores]
            brier += [-score.terms["brier"] for score in scores]
        # Centred in the group and never divided by its deviation: that would reward overconfidence.
        advantages_P_G = torch.as_tensor(group_advantages(totals_P_G, calibrated=True), dtype=torch.float32)
        loss = -(advantages_P_G * torch.stack(log_p_P_G)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            print(f"step {step:>4}  coverage {np.mean(coverage):.3f}  brier {np.mean(brier):.4f}", flush=True)
            coverage, brier = [], []
    return model


def best() -> tuple[float, float]:
    """Coverage and Brier score of the K most likely answers with their true probabilities."""
    top = [sorted(p, reverse=True)[:K] for p in TRUTH.values()]
    return float(np.mean([sum(p) for p in top])), float(np.mean([[q * (1 - q) for q in p] for p in top]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Multi-RLCR on a table, start to end in one file.")
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps (default: 300)")
    steps = parser.parse_args().steps
    model = train(steps)
    print("best possible  coverage {:.3f}  brier {:.4f}".format(*best()))
    for number, (question, truth) in enumerate(TRUTH.items()):
        print(question)
        said = model.confidence[number].softmax(-1) @ torch.tensor(GRID)
        for a in model.answer[number].topk(K).indices.tolist():
            print(f"  {ANSWERS[a]:<8} says {said[a].item():.2f}, true {truth[a]:.2f}")


if __name__ == "__main__":
    main()
