"""The process of one arm: ``python -m polymode.reproduce.worker JOB``, started by `polymode.reproduce.run`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from polymode.errors import PolymodeError
from polymode.reproduce.arms import run_arm
from polymode.reproduce.plans import plans


def main(job: str) -> int:
    """Run the arm that the JSON text names."""
    values = json.loads(job)
    data = None if values["data"] is None else Path(values["data"])
    plan = next(plan for plan in plans(values["experiment"], data) if plan.name == values["plan"])
    arm = next(arm for arm in plan.arms if str(arm.folder) == values["arm"])
    try:
        run_arm(plan, arm, Path(values["root"]))
    except PolymodeError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
