"""From an answer set to a decision, and thresholds with a finite-sample guarantee (layer L2).

    decide(answers, policy) -> Decision            policy, recalibration, deciding (standard library only)
    judged records -> fit_policy -> Policy         records, maps, thresholds, fitting

Nothing here uses a reference: a policy is fitted to records that only state which answers were right.
"""

from polymode.policy.conditions import Conditions, QuestionStatistics
from polymode.policy.deciding import decide, effective_number
from polymode.policy.guarantee import Guarantee
from polymode.policy.policy import Policy
from polymode.policy.recalibration import Recalibration

__all__ = [
    "Conditions",
    "Guarantee",
    "Policy",
    "QuestionStatistics",
    "Recalibration",
    "decide",
    "effective_number",
]
