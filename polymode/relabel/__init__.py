"""Answers that models give often and surely but that no reference knows, for a person to accept (layer L4).

    judged.jsonl of some runs + data -> propose -> proposals file -> a person -> accept -> new version of the data

For data with one reference a question: an answer marked wrong may be right. Nothing is changed without a person's word,
and the original data file never is.
"""

from polymode.relabel.accepting import Accepted, accept
from polymode.relabel.data import DataFields
from polymode.relabel.desk import Desk
from polymode.relabel.proposal import Proposal, read_proposals, write_proposals
from polymode.relabel.proposing import Criteria, Proposed, propose

__all__ = [
    "Accepted",
    "Criteria",
    "DataFields",
    "Desk",
    "Proposal",
    "Proposed",
    "accept",
    "propose",
    "read_proposals",
    "write_proposals",
]
