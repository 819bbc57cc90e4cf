"""From an answer set to a decision, and thresholds with a finite-sample guarantee (layer L2).

    decide(answers, policy) -> Decision            policy, recalibration, deciding (standard library only)
    judged records -> fit_policy -> Policy         records, maps, thresholds, fitting

Nothing here uses a reference: a policy is fitted to records that only state which answers were right.
"""

from polymode.policy.deciding import decide, effective_number
from polymode.policy.policy import Guarantee, Policy
from polymode.policy.recalibration import Recalibration

__all__ = ["Guarantee", "Policy", "Recalibration", "decide", "effective_number"]
