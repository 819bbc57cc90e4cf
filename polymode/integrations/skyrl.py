"""SkyRL 0.4: the advantage estimators under its registry.

::

    # my_main.py: SkyRL's entry point, with the estimators
    from polymode.integrations.skyrl import register

    register()  # before the trainer is made, also inside the Ray task that makes it
    # then: trainer.algorithm.advantage_estimator="polymode_centered"

The reward itself is given by the environment's ``step``: `polymode.reward_of`.
"""

from __future__ import annotations

from polymode.integrations.estimators import ESTIMATORS
from polymode.integrations.versions import check_version


def register() -> None:
    """Put the estimators into SkyRL's registry; names that are there already stay as they are."""
    check_version("skyrl")
    from skyrl.backends.skyrl_train.utils.ppo_utils import AdvantageEstimatorRegistry  # pyright: ignore[reportMissingImports]

    for name, estimator in ESTIMATORS.items():
        if name not in AdvantageEstimatorRegistry.list_available():
            AdvantageEstimatorRegistry.register(name, estimator)
