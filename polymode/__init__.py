"""Train, evaluate and use language models that answer with a calibrated set of answers instead of one guess.

Every public name is resolved on first use, so ``import polymode`` costs next to nothing and never imports torch.
"""

import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from polymode.credit import group_advantages
    from polymode.errors import (
        ConfigError,
        DataNotFoundError,
        GeneratorFault,
        MissingExtraError,
        PolymodeError,
        PromptRefusedError,
        RecordError,
        ReviewConflictError,
        ReviewStoreError,
        RunExistsError,
        RunIncompleteError,
        UserError,
        VerifierFault,
        WriteError,
    )
    from polymode.evaluation import evaluate
    from polymode.judging import judge
    from polymode.parsing import parse_answers
    from polymode.policy import Policy, decide
    from polymode.prompts import build_prompt
    from polymode.rewards import METHODS, Reward, score, score_set
    from polymode.types import (
        Answer,
        AnswerSet,
        Completion,
        Decision,
        DecisionKind,
        Example,
        Judgement,
        ParseStatus,
        Reference,
        Score,
        Span,
        Verdict,
    )
    from polymode.verifiers.text import TextVerifier

__all__ = [
    "Answer",
    "AnswerSet",
    "Completion",
    "ConfigError",
    "DataNotFoundError",
    "Decision",
    "DecisionKind",
    "Example",
    "GeneratorFault",
    "Judgement",
    "METHODS",
    "MissingExtraError",
    "ParseStatus",
    "Policy",
    "PolymodeError",
    "PromptRefusedError",
    "RecordError",
    "Reference",
    "ReviewConflictError",
    "ReviewStoreError",
    "Reward",
    "RunExistsError",
    "RunIncompleteError",
    "Score",
    "Span",
    "TextVerifier",
    "UserError",
    "Verdict",
    "VerifierFault",
    "WriteError",
    "build_prompt",
    "decide",
    "evaluate",
    "group_advantages",
    "judge",
    "parse_answers",
    "score",
    "score_set",
]

_MODULES = {
    "METHODS": "rewards",
    "Policy": "policy",
    "Reward": "rewards",
    "TextVerifier": "verifiers.text",
    "build_prompt": "prompts",
    "decide": "policy",
    "evaluate": "evaluation",
    "group_advantages": "credit",
    "judge": "judging",
    "parse_answers": "parsing",
    "score": "rewards",
    "score_set": "rewards",
    **dict.fromkeys(
        (
            "Answer",
            "AnswerSet",
            "Completion",
            "Decision",
            "DecisionKind",
            "Example",
            "Judgement",
            "ParseStatus",
            "Reference",
            "Score",
            "Span",
            "Verdict",
        ),
        "types",
    ),
}


def __getattr__(name: str) -> _typing.Any:
    if name not in __all__:
        raise AttributeError(f"module 'polymode' has no attribute {name!r}")
    value = getattr(_import_module(f"polymode.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
