"""Train, evaluate and use language models that answer with a calibrated set of answers instead of one guess.

Every public name is imported when it is first used, so ``import polymode`` costs next to nothing and never loads torch.
Errors are in `polymode.errors`, metrics of arrays in `polymode.metrics`.
"""

import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from polymode.credit import group_advantages as group_advantages
    from polymode.evaluation import Evaluation as Evaluation
    from polymode.evaluation import evaluate as evaluate
    from polymode.evaluation import read_completions as read_completions
    from polymode.generate import Generated as Generated
    from polymode.generate import Generator as Generator
    from polymode.judging import judge as judge
    from polymode.parsing import parse_answers as parse_answers
    from polymode.policy import Policy as Policy
    from polymode.policy import decide as decide
    from polymode.prompts import build_prompt as build_prompt
    from polymode.rewards import METHODS as METHODS
    from polymode.rewards import Reward as Reward
    from polymode.rewards import reward_of as reward_of
    from polymode.rewards import rewards_of as rewards_of
    from polymode.rewards import score_set as score_set
    from polymode.rewards.shaping import Shaping as Shaping
    from polymode.tasks import Task as Task
    from polymode.tasks import open_task as open_task
    from polymode.training.recipe import Recipe as Recipe
    from polymode.training.recipe_file import load_recipe as load_recipe
    from polymode.training.rl import train as train
    from polymode.types import Answer as Answer
    from polymode.types import AnswerSet as AnswerSet
    from polymode.types import Completion as Completion
    from polymode.types import Decision as Decision
    from polymode.types import DecisionKind as DecisionKind
    from polymode.types import Example as Example
    from polymode.types import Judgement as Judgement
    from polymode.types import ParseStatus as ParseStatus
    from polymode.types import Reference as Reference
    from polymode.types import Score as Score
    from polymode.types import Span as Span
    from polymode.types import Verdict as Verdict
    from polymode.uncertainty import Estimate as Estimate
    from polymode.verifiers import QuestionVerifier as QuestionVerifier
    from polymode.verifiers import Verifier as Verifier
    from polymode.verifiers.choice import open_verifier as open_verifier
    from polymode.verifiers.text import TextVerifier as TextVerifier

_NAMES = {
    # score completions: one or many in one call, and step by step
    "rewards": ("reward_of", "rewards_of", "score_set", "Reward", "METHODS"),
    "rewards.shaping": ("Shaping",),
    "parsing": ("parse_answers",),
    "judging": ("judge",),
    # evaluate completions
    "evaluation": ("read_completions", "evaluate", "Evaluation"),
    "uncertainty": ("Estimate",),
    # train
    "training.recipe": ("Recipe",),
    "training.recipe_file": ("load_recipe",),
    "training.rl": ("train",),
    "prompts": ("build_prompt",),
    "credit": ("group_advantages",),
    # decide what to do with an answer set
    "policy": ("decide", "Policy"),
    # tasks, verifiers and generators, the built-in ones and your own
    "tasks": ("open_task", "Task"),
    "verifiers.choice": ("open_verifier",),
    "verifiers": ("Verifier", "QuestionVerifier"),
    "verifiers.text": ("TextVerifier",),
    "generate": ("Generator", "Generated"),
    # records
    "types": (
        *("Example", "Reference", "Completion", "AnswerSet", "Answer", "Span", "ParseStatus"),
        *("Judgement", "Verdict", "Score", "Decision", "DecisionKind"),
    ),
}
"""Modules and their public names. The imports above repeat it for type checkers; a test compares the two."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = list(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> _typing.Any:
    if name == "__version__":
        return _import_module("importlib.metadata").version("polymode")
    if name in ("errors", "metrics"):
        return _import_module(f"polymode.{name}")
    if name in _MODULES:
        value = globals()[name] = getattr(_import_module(f"polymode.{_MODULES[name]}"), name)
        return value
    if name == "score":
        import warnings

        warnings.warn("polymode.score is now polymode.reward_of; version 0.3 removes it", FutureWarning, 2)
        reward_of = _import_module("polymode.rewards").reward_of

        def score(completion: _typing.Any, references: _typing.Any, **options: _typing.Any) -> _typing.Any:
            return reward_of(completion, references, **options)

        return score
    errors = _import_module("polymode.errors")
    if isinstance(kind := getattr(errors, name, None), type) and issubclass(kind, errors.PolymodeError):
        import warnings

        warnings.warn(f"polymode.{name} is now polymode.errors.{name}; version 0.3 removes it here", FutureWarning, 2)
        return kind
    raise AttributeError(f"module 'polymode' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "errors", "metrics"]
