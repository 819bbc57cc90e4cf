"""Linear probes: the probability that an answer is right, read from the model's hidden state (layer L2).

::

    states at the confidence's place, verdicts -> cross_fitted -> a probability for each answer, from other questions
                                               -> fit_probe    -> a Probe for further questions, with its file

Source: the value head of Kadavath et al. 2022, https://arxiv.org/abs/2207.05221, section 5, linear here.
"""

from polymode.probe.fitting import cross_fitted, fit_probe
from polymode.probe.probe import Probe, ProbeFit

__all__ = ["Probe", "ProbeFit", "cross_fitted", "fit_probe"]
