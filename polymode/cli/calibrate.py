"""`polymode calibrate`: from judged questions to a policy file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import tyro

from polymode.cli.flags import parse_flags


@dataclass(frozen=True)
class Calibrate:
    """Choose the thresholds of a policy on judged questions, so that a promise about later questions holds.

    answer: at most a share alpha of the single answers given is wrong. set: at most a share alpha of the sets offered
    holds no right answer. Either holds with probability 1 - delta; questions below the threshold are escalated.
    both: the two together. conformal: every question gets a set, and the share alpha holds on average only.
    The questions must be drawn like the later ones, and must not have been used for training or for any choice.
    """

    judged: tyro.conf.Positional[Path]
    """A judged.jsonl (polymode evaluate writes it), or a folder that holds one."""
    out: Path | None = None
    """Policy file to write; policy.json beside judged.jsonl by default. An earlier one is replaced."""
    target: Literal["answer", "set", "both", "conformal"] = "set"
    """What is promised."""
    alpha: float = 0.1
    """Largest share of failures."""
    delta: float = 0.05
    """Probability that these questions misled us and the promise is broken; not used by conformal."""
    recalibrate: Literal["none", "isotonic", "platt", "temperature"] = "none"
    """Map the confidences first, so that they fit how often answers are right."""
    design_share: float = 0.3
    """Share of the questions that the map and the order of the tests are taken from; the rest tests."""
    abstain_below: float = 0.0
    """ABSTAIN when all answers together hold less than this."""
    max_effective: float | None = None
    """ESCALATE when the confidences are spread over more answers than this, exp(entropy)."""
    malformed: Literal["escalate", "abstain"] = "escalate"
    """What follows a completion that cannot be used."""
    equality: Literal["text", "exact"] = "text"
    """Which answers of a set are one and the same: normalised text, or exactly equal (programs)."""
    seed: int = 0
    """Of the split into two parts."""


def run_calibrate(args: Sequence[str]) -> int:
    """Fit a policy, write it, and say what it promises."""
    options: Calibrate = parse_flags(Calibrate, "calibrate", args)
    from polymode import runs
    from polymode.calibrate import calibrate, summary
    from polymode.policy import Policy
    from polymode.policy.fitting import Calibration

    policy, judged = calibrate(
        options.judged,
        Calibration(
            target=options.target,
            alpha=options.alpha,
            delta=options.delta,
            recalibrate=options.recalibrate,
            design_share=options.design_share,
            seed=options.seed,
        ),
        rules=Policy(
            when_malformed=options.malformed,
            abstain_below=options.abstain_below,
            max_effective=options.max_effective,
            equality=options.equality,
        ),
        date=datetime.now(UTC).date().isoformat(),
    )
    folder = options.judged if options.judged.is_dir() else options.judged.parent
    out = options.out or folder / runs.POLICY
    runs.write_policy(out, policy)
    print(summary(policy, judged))
    print(f"policy: {out}")
    return 0
