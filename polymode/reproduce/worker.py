"""The process of one arm: ``python -m polymode.reproduce.worker JOB``, started by `polymode.reproduce.run`."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from polymode.errors import GeneratorFault, PolymodeError
from polymode.reproduce.arms import run_arm
from polymode.reproduce.plans import plans

_WATCH_SECONDS = 1.0


def main(job: str) -> int:
    """Run the arm that the JSON text names."""
    values = json.loads(job)
    data = None if values["data"] is None else Path(values["data"])
    every = plans(values["experiment"], data, values["options"])
    plan = next(plan for plan in every if plan.name == values["plan"])
    arm = next(arm for arm in plan.arms if str(arm.folder) == values["arm"])
    try:
        run_arm(plan, arm, Path(values["root"]))
    except PolymodeError as exc:
        advice = f"{text}; " if (text := getattr(exc, "advice", "")) else ""
        finished = "what is finished is kept, and --resume asks only for the rest"
        ending = f": {advice}{finished}" if isinstance(exc, GeneratorFault) else ""
        print(f"error: {' '.join(f'{exc}{ending}'.split())}", file=sys.stderr)
        return exc.exit_code
    return 0


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, or a resumed experiment would meet it in its folder.

    The job says which one that is: it may be gone before this process can ask.
    """
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(json.loads(sys.argv[1])["parent"],), daemon=True).start()
    sys.exit(main(sys.argv[1]))
