"""The public names: complete, documented, without leaks, and light to import."""

import ast
import inspect
import subprocess
import sys

import pytest

import polymode
from polymode import errors

HEAVY = {"torch", "transformers", "trl", "matplotlib", "pandas", "scipy", "numpy", "datasets"}


def python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(code: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after ``code``."""
    return set(python(f"{code}\nimport sys\nprint(*({HEAVY!r} & set(sys.modules)))").split())


def test_names_resolve_and_are_listed_once() -> None:
    assert len(polymode.__all__) == len(set(polymode.__all__))
    assert dir(polymode) == sorted([*polymode.__all__, "errors", "metrics"])
    for name in polymode.__all__:
        assert getattr(polymode, name) is not None


def test_type_checkers_see_the_names_that_resolve_from_the_same_modules() -> None:
    tree = ast.parse(inspect.getsource(polymode))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "importlib"]
    seen = {alias.asname: node.module for node in imports for alias in node.names}
    assert seen == {name: f"polymode.{module}" for name, module in polymode._MODULES.items()}
    assert all(alias.asname == alias.name for node in imports for alias in node.names)


def test_public_things_are_documented() -> None:
    things = {name: getattr(polymode, name) for name in polymode.__all__ if name != "METHODS"}
    assert [name for name, thing in things.items() if not (inspect.getdoc(thing) or "").strip()] == []


def test_the_promised_names_are_there() -> None:
    promised = """Answer AnswerSet Completion Decision DecisionKind Estimate Evaluation Example Generated Generator
    Judgement METHODS ParseStatus Policy QuestionVerifier Recipe Reference Reward Score Span Task TextVerifier Verdict
    Verifier build_prompt decide evaluate group_advantages judge load_recipe open_task open_verifier parse_answers
    read_completions reward_of rewards_of score_set train Shaping"""
    assert set(promised.split()) == set(polymode.__all__)


def test_modules_of_errors_and_metrics_need_no_import_of_their_own() -> None:
    code = "import polymode; print(polymode.errors.ConfigError.exit_code, polymode.metrics.brier([0.5], [1]))"
    assert python(code) == "2 0.25"


ERRORS = [name for name, thing in vars(errors).items() if inspect.isclass(thing)]


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_still_found_at_the_top_with_a_warning(name: str) -> None:
    with pytest.warns(FutureWarning, match=f"polymode.{name} is now polymode.errors.{name}; version 0.3") as caught:
        assert getattr(polymode, name) is getattr(errors, name)
    assert caught[0].filename == __file__
    assert name not in dir(polymode)


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
    clock = "import time; start = time.process_time(); import polymode; print(time.process_time() - start)"
    assert min(float(python(clock)) for _ in range(3)) < 0.3


def test_scoring_needs_no_more_than_the_standard_library() -> None:
    code = "import polymode; polymode.reward_of('<answer>flu</answer>', 'flu', k=1, method='single-rlvr')"
    assert loaded_by(code) == set()


def test_deciding_needs_no_more_than_the_standard_library() -> None:
    code = "import polymode as p; p.decide(p.parse_answers('<answer>flu</answer>', 1, confidence=False), p.Policy())"
    assert loaded_by(code) == set()


def test_evaluating_needs_no_torch() -> None:
    assert loaded_by("from polymode import evaluate, read_completions, group_advantages") <= {"numpy", "scipy"}
    assert loaded_by("from polymode.metrics import ece; ece([0.5], [1])") <= {"numpy"}


def test_reading_a_recipe_needs_no_torch() -> None:
    assert "torch" not in loaded_by("from polymode import load_recipe, open_task, open_verifier")


def test_the_check_of_imports_can_fail() -> None:
    assert loaded_by("import numpy") == {"numpy"}
