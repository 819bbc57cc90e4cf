"""Terms and totals: what a judged answer set is worth (layer L2).

Preset `paper` (Puri et al., https://arxiv.org/abs/2603.24844, with y_i in place of the plain match)::

    coverage = Σ y_i      brier = -(1/K) Σ (q_i - y_i)²      format = 1 if CLEAN

K = 1 gives RLVR and RLCR (https://arxiv.org/abs/2507.16806). The sum is over the K slots asked for, so leaving slots
out cannot pay; a repeated answer has y = 0, so it adds nothing with q = 0 and costs q²/K otherwise. Honest confidences
are the best ones, and a further right answer always pays, as long as coverage_weight >= confidence_weight / K.

Preset `released` reproduces the terms and gates of the authors' published code, for comparison: any-correct instead of
a count, 1 - mean Brier on plain matches, repeats found by comparing lower-cased texts only, no Brier term when the
confidences sum above 1. The set is read by our parser, so its looser check of the format is not reproduced.

Options of `Reward` change a term of preset `paper`; `conditions` says which weights go together. All terms stand in one
table (`terms`), to which a recipe adds its own by ``module:Name`` (`own_terms`).
"""

from polymode.rewards.conditions import check_question
from polymode.rewards.coverage import AGGREGATIONS
from polymode.rewards.methods import METHODS, Method, find_method
from polymode.rewards.proper import SCORES
from polymode.rewards.reward import CONFIDENCES, PRESETS, Reward
from polymode.rewards.scoring import reward_of, rewards_of
from polymode.rewards.terms import score_set, term_names

__all__ = [
    "AGGREGATIONS",
    "CONFIDENCES",
    "METHODS",
    "PRESETS",
    "SCORES",
    "Method",
    "Reward",
    "check_question",
    "find_method",
    "reward_of",
    "rewards_of",
    "score_set",
    "term_names",
]
