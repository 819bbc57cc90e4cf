"""The public names: complete, documented, without leaks, and light to import."""

import inspect
import subprocess
import sys

import pytest

import polymode

HEAVY = {"torch", "transformers", "trl", "matplotlib", "pandas", "scipy", "numpy", "datasets"}


def python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(code: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after ``code``."""
    return set(python(f"{code}\nimport sys\nprint(*({HEAVY!r} & set(sys.modules)))").split())


def test_names_are_sorted_and_resolve() -> None:
    assert polymode.__all__ == sorted(set(polymode.__all__))
    assert dir(polymode) == polymode.__all__
    for name in polymode.__all__:
        assert getattr(polymode, name) is not None


def test_public_things_are_documented() -> None:
    things = {name: getattr(polymode, name) for name in polymode.__all__ if name != "METHODS"}
    assert [name for name, thing in things.items() if not (inspect.getdoc(thing) or "").strip()] == []


def test_the_promised_names_are_there() -> None:
    promised = """Answer AnswerSet Completion Decision DecisionKind Example Judgement METHODS ParseStatus Policy
    Reference Reward Score Span TextVerifier Verdict build_prompt decide evaluate group_advantages judge parse_answers
    score score_set
    PolymodeError UserError ConfigError RecordError DataNotFoundError RunExistsError MissingExtraError
    RunIncompleteError WriteError VerifierFault ReviewConflictError ReviewStoreError GeneratorFault
    PromptRefusedError"""
    assert set(promised.split()) == set(polymode.__all__)


def test_every_error_is_exported() -> None:
    from polymode import errors

    defined = {name for name, thing in vars(errors).items() if inspect.isclass(thing)}
    assert defined <= set(polymode.__all__)


def test_nothing_else_leaks() -> None:
    # In a fresh interpreter, because imports of submodules bind their names here.
    names = python("import polymode; print(*[n for n in vars(polymode) if not n.startswith('_')])")
    assert names == ""


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'polymode' has no attribute 'scores'"):
        _ = polymode.scores  # type: ignore[attr-defined]
    assert not hasattr(polymode, "torch")


def test_import_is_light() -> None:
    assert loaded_by("import polymode") == set()


def test_scoring_needs_no_more_than_the_standard_library() -> None:
    code = "import polymode; polymode.score('<answer>flu</answer>', 'flu', k=1, method='single-rlvr')"
    assert loaded_by(code) == set()


def test_deciding_needs_no_more_than_the_standard_library() -> None:
    code = "import polymode as p; p.decide(p.parse_answers('<answer>flu</answer>', 1, confidence=False), p.Policy())"
    assert loaded_by(code) == set()


def test_evaluating_needs_no_torch() -> None:
    assert loaded_by("from polymode import evaluate, group_advantages") <= {"numpy", "scipy"}


def test_the_check_of_imports_can_fail() -> None:
    assert loaded_by("import numpy") == {"numpy"}
