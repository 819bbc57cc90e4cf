"""Which verifier belongs to a folder: read from the config.json in it, above it or beside it."""

from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.compare.compare import compare_runs
from polymode.compare.kept import kept_recipe, own_verifier
from polymode.errors import ConfigError, DataNotFoundError
from polymode.evaluation import evaluate, read_completions
from polymode.sandbox.bubblewrap import UNSAFE_LOCAL
from polymode.verifiers.programs import ProgramVerifier
from polymode.verifiers.text import TextVerifier

from .conftest import write_training


def keep(folder: Path, *, trained: bool = False, **config: Any) -> Path:
    """A folder with a config.json, as `polymode generate` or, with ``trained``, training leaves it."""
    if trained:
        write_training(folder, "multi-rlvr", 3)
    runs.write_json(folder / runs.CONFIG, {"config": config})
    return folder


@pytest.fixture
def mbpp(tmp_path: Path) -> Path:
    """The file of MBPP, without a task in it."""
    folder = tmp_path / "mbpp"
    folder.mkdir()
    (folder / "mbpp.jsonl").touch()
    return folder


def test_text_is_compared_where_no_config_names_a_task(tmp_path: Path) -> None:
    assert own_verifier(tmp_path / "nowhere") is None
    runs.write_json(tmp_path / runs.CONFIG, {"model_type": "qwen3"})
    assert own_verifier(tmp_path) is None
    for config in (None, [], {"task": 3}, {"task": "chess"}):
        runs.write_json(tmp_path / runs.CONFIG, {"config": config})
        assert own_verifier(tmp_path) is None


def test_a_task_without_a_verifier_of_its_own_needs_no_data(tmp_path: Path) -> None:
    run = keep(tmp_path / "run", task="ddxplus", data="gone", task_options=["balance=true"])
    recipe = kept_recipe(run)
    assert recipe is not None and (recipe.task, recipe.task_options) == ("ddxplus", {"balance": True})
    assert own_verifier(run) is None


def test_the_options_of_the_task_are_those_that_were_kept(
    mbpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UNSAFE_LOCAL, "1")
    generated = keep(tmp_path / "a", task="mbpp", data=mbpp, task_options=["distinct=behaviour", "workers=1"])
    options = {"distinct": "behaviour", "workers": 1}
    trained = keep(tmp_path / "b", trained=True, task="mbpp", data=mbpp, task_options=options)
    for folder in (generated, trained / "test", trained / "set" / "deep"):
        verifier = own_verifier(folder)
        assert isinstance(verifier, ProgramVerifier) and verifier.distinct == "behaviour"


def test_a_run_is_judged_as_its_training_was(tmp_path: Path) -> None:
    run = keep(tmp_path / "run", trained=True, task="programs", verifier="text")
    assert isinstance(own_verifier(run / "test"), TextVerifier)
    keep(run / "test", task="programs")  # generated for the task of the training
    assert isinstance(own_verifier(run / "test"), TextVerifier)
    keep(run / "other", task="clinic")  # for another one
    assert own_verifier(run / "other") is None


def test_an_untrained_arm_is_judged_as_the_arms_beside_it(tmp_path: Path) -> None:
    keep(tmp_path / "single-rlvr/seed-0", trained=True, task="programs", verifier="text")
    for folder in ("untrained/seed-0/samples", "untrained/seed-0/samples/deep"):
        assert isinstance(own_verifier(tmp_path / folder), TextVerifier)
    assert own_verifier(tmp_path / "untrained/other/samples") is None


def test_a_folder_cannot_allow_itself_anything(mbpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no bubblewrap
    generated = keep(tmp_path / "a", task="mbpp", data=mbpp, task_options=["unsafe_local=true"])
    options = {"unsafe_local": True}
    trained = keep(tmp_path / "b", trained=True, task="mbpp", verifier="programs", verifier_options=options)
    for folder in (generated, trained / "test"):
        with pytest.raises(ConfigError, match="programs cannot be run safely here.*--unsafe-local"):
            own_verifier(folder)
    options = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key_env": "HOME"}
    keep(trained, trained=True, task="records", verifier="judge", verifier_options=options)
    with pytest.raises(ConfigError, match="it is asked only when named: give --verifier judge and its"):
        own_verifier(trained / "test")


def test_data_that_are_gone_are_said_with_the_way_out(tmp_path: Path) -> None:
    run = keep(tmp_path / "run", task="mbpp", data=tmp_path / "gone")
    said = (
        r"run: its task 'mbpp' says what is right and cannot be opened \(data folder '.*gone' does not exist.*\): put "
    )
    with pytest.raises(DataNotFoundError, match=said + ".*--verifier programs"):
        own_verifier(run)


def test_comparing_judges_again_as_the_task_does(mbpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSAFE_LOCAL, "1")
    tests = '{"asserts": ["assert f(3) == 9"], "inputs": ["f(-2)"]}'
    programs = ("def f(n): return n * n", "def f(n): return n ** 2", "def f(n): return 9")
    for name, answers in (("a", programs[:2]), ("b", programs[1:])):
        run = keep(tmp_path / name, task="mbpp", data=mbpp, task_options=["distinct=behaviour", "workers=1"])
        text = "".join(f"<answer{i}>{answer}</answer{i}>" for i, answer in enumerate(answers, 1))
        row = {"id": "q", "question": "Q?", "completion": text, "references": [tests], "k": 2}
        runs.write_jsonl(run / runs.COMPLETIONS, [row])
        verifier = own_verifier(run)
        evaluate(read_completions(run, verifier=verifier), verifier=verifier, n_boot=0).write(run)
    comparison = compare_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out", n_boot=0)
    # By what they do a has one program and b two; by syntax trees both would have two, and that would be noted.
    assert comparison.differences["b"]["coverage"].cell.value == 1
    assert comparison.notes == ()
