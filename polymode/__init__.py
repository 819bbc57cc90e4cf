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
    from polymode.rewards import score as score
    from polymode.rewards import score_set as score_set
    from polymode.tasks import Task as Task
    from polymode.tasks import open_task as open_task
    from polymode.training.recipe import Recipe as Recipe
    from polymode.training.recipe import load_recipe as load_recipe
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

_MODULES = {
    # score one completion: in one call, and step by step
    "score": "rewards",
    "parse_answers": "parsing",
    "judge": "judging",
    "score_set": "rewards",
    "Reward": "rewards",
    "METHODS": "rewards",
    # evaluate completions
    "read_completions": "evaluation",
    "evaluate": "evaluation",
    "Evaluation": "evaluation",
    "Estimate": "uncertainty",
    # train
    "load_recipe": "training.recipe",
    "Recipe": "training.recipe",
    "train": "training.rl",
    "build_prompt": "prompts",
    "group_advantages": "credit",
    # decide what to do with an answer set
    "decide": "policy",
    "Policy": "policy",
    "Decision": "types",
    "DecisionKind": "types",
    # tasks, verifiers and generators, the built-in ones and your own
    "open_task": "tasks",
    "Task": "tasks",
    "open_verifier": "verifiers.choice",
    "Verifier": "verifiers",
    "QuestionVerifier": "verifiers",
    "TextVerifier": "verifiers.text",
    "Generator": "generate",
    "Generated": "generate",
    # records
    "Example": "types",
    "Reference": "types",
    "Completion": "types",
    "AnswerSet": "types",
    "Answer": "types",
    "Span": "types",
    "ParseStatus": "types",
    "Judgement": "types",
    "Verdict": "types",
    "Score": "types",
}
"""Every public name and where it is defined. The imports above repeat it for type checkers; a test compares the two."""

__all__ = list(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> _typing.Any:
    if name in ("errors", "metrics"):
        return _import_module(f"polymode.{name}")
    if name in _MODULES:
        value = globals()[name] = getattr(_import_module(f"polymode.{_MODULES[name]}"), name)
        return value
    errors = _import_module("polymode.errors")
    if isinstance(kind := getattr(errors, name, None), type) and issubclass(kind, errors.PolymodeError):
        import warnings

        warnings.warn(f"polymode.{name} is now polymode.errors.{name}; version 0.3 removes it here", FutureWarning, 2)
        return kind
    raise AttributeError(f"module 'polymode' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "errors", "metrics"]
