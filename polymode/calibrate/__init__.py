"""A judged run folder to a policy with a guarantee, and a policy held against new labels (layer L4).

    judged.jsonl -> records, one per question (reading) -> policy with its conditions (fit); -> checks (check)

The mathematics is in `polymode.policy`.
"""

from polymode.calibrate.check import check_policy
from polymode.calibrate.fit import calibrate, summary
from polymode.calibrate.reading import Judged, read_judged
from polymode.calibrate.recorded import recorded_conditions

__all__ = ["Judged", "calibrate", "check_policy", "read_judged", "recorded_conditions", "summary"]
