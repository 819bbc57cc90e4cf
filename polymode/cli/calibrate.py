"""`polymode calibrate`: from judged questions to a policy file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from polymode.cli.flags import parse_flags
from polymode.cli.options import Calibrate


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
