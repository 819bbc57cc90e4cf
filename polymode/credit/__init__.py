"""From scores to advantages (layer L2): one for each completion, or one for each part of a completion.

baselines: what may be subtracted from an advantage.
group:     one advantage for each completion.
segments:  ``credit: dcpo`` and ``credit: coca``, baselines of the field.
slots:     what each slot adds to the score.
term:      ``credit: term``, an advantage for each part of a completion.
tokens:    which part a token belongs to.
"""

from polymode.credit.group import EPSILON, SCALES, centred_by_group, group_advantages, rows_by_group
from polymode.credit.segments import coca_advantages, dcpo_advantages
from polymode.credit.slots import Order, SlotScores
from polymode.credit.term import term_advantages
from polymode.credit.tokens import token_parts

__all__ = [
    "EPSILON",
    "SCALES",
    "Order",
    "SlotScores",
    "centred_by_group",
    "coca_advantages",
    "dcpo_advantages",
    "group_advantages",
    "rows_by_group",
    "term_advantages",
    "token_parts",
]
