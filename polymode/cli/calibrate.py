"""`polymode calibrate`: from judged questions to a policy file."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from polymode.cli.flags import FLAGS_OF
from polymode.policy.fitting import Calibration


@dataclass(frozen=True)
class Calibrate:
    """Choose the thresholds of a policy on judged questions, with a guarantee for later questions.

    - answer: at most a share alpha of the single answers given is wrong.
    - set: at most a share alpha of the sets offered contains no right answer.
    - both: the two together.
    - conformal: every question gets a set, and the share alpha holds only on average.

    The first three hold with probability 1 - delta; questions below the threshold are escalated. The questions must
    come from the same distribution as the later ones, and must not have been used for training or model selection.

    Examples:
        # answer sets, at most 1 in 10 without a right answer
        polymode calibrate runs/mine/validation
        # single answers, at most 1 in 20 wrong
        polymode calibrate runs/mine/validation --target answer --alpha 0.05
        polymode calibrate runs/mine/validation --recalibrate isotonic --out policy.json
    """

    judged: Path
    """A judged.jsonl file (polymode evaluate writes it), or a folder that contains one."""
    _: KW_ONLY
    out: Path | None = None
    """Policy file to write; by default policy.json beside judged.jsonl. An earlier one is replaced."""
    calibration: dict[str, Any] = field(default_factory=dict, metadata={FLAGS_OF: Calibration})
    """Options of the fit."""
    abstain_below: float = 0.0
    """ABSTAIN when the confidences of all answers add up to less than this."""
    max_effective: float | None = None
    """ESCALATE when the effective number of answers, exp(entropy of the confidences), is above this."""
    malformed: Literal["escalate", "abstain"] = "escalate"
    """Decision for a malformed completion."""
    equality: Literal["text", "exact"] = "text"
    """When two answers count as the same: equal normalised texts, or exactly equal (programs)."""


def run_calibrate(options: Calibrate) -> int:
    """Fit a policy, write it, and print its guarantee."""
    from polymode import runs
    from polymode.calibrate import calibrate, summary
    from polymode.policy import Policy

    policy, judged = calibrate(
        options.judged,
        Calibration(**options.calibration),
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
