"""Which verifier a completions file names, in its lines or, in a folder of 0.1.0, in the config.json around it."""

from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.compare.compare import compare_runs
from polymode.errors import ConfigError, DataNotFoundError, UserError
from polymode.evaluation import evaluate, read_completions
from polymode.evaluation.recorded_verifier import recorded_verifier
from polymode.sandbox.bubblewrap import UNSAFE_LOCAL
from polymode.tasks import open_task, verifier_of
from polymode.verifiers.description import describe_verifier
from polymode.verifiers.programs import ProgramVerifier
from polymode.verifiers.text import TextVerifier


def completed(folder: Path, **meta: Any) -> Path:
    """The folder with a completion."""
    row = {"completion": "<answer>a</answer>", "references": ["a"], "k": 1, **({"meta": meta} if meta else {})}
    runs.write_jsonl(folder / runs.COMPLETIONS, [row])
    return folder


def own_verifier(folder: Path) -> Any:
    """What judges a completion in the folder that says nothing itself."""
    return recorded_verifier(completed(folder))


def keep(folder: Path, *, trained: bool = False, **config: Any) -> Path:
    """A folder with a config.json, as `polymode generate` or, with ``trained``, training leaves it."""
    if trained:
        runs.write_jsonl(folder / runs.TRAIN_METRICS, [{"step": 1}])
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
    assert own_verifier(keep(tmp_path / "run", task="ddxplus", data="gone", task_options=["balance=true"])) is None


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
    with pytest.raises(ConfigError, match="which is asked only when named: give --verifier judge and its"):
        own_verifier(trained / "test")


def test_data_that_are_gone_are_said_with_the_way_out(tmp_path: Path) -> None:
    run = keep(tmp_path / "run", task="mbpp", data=tmp_path / "gone")
    said = (
        r"run: its task 'mbpp' says what is right and cannot be opened \(data folder '.*gone' does not exist.*\): put "
    )
    with pytest.raises(DataNotFoundError, match=said + ".*--verifier programs"):
        own_verifier(run)


def test_comparing_takes_the_verdicts_of_the_task(mbpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSAFE_LOCAL, "1")
    tests = '{"asserts": ["assert f(3) > 8"], "inputs": ["f(-2)"]}'
    programs = ("def f(n): return n * n", "def f(n): return n ** 2", "def f(n): return 10")
    for name, answers in (("a", programs[:2]), ("b", programs[1:])):
        run = keep(tmp_path / name, task="mbpp", data=mbpp, task_options=["distinct=behaviour", "workers=1"])
        text = "".join(f"<answer{i}>{answer}</answer{i}>" for i, answer in enumerate(answers, 1))
        row = {"id": "q", "question": "Q?", "completion": text, "references": [tests], "k": 2}
        runs.write_jsonl(run / runs.COMPLETIONS, [row])
        verifier = recorded_verifier(run)
        evaluate(read_completions(run, verifier=verifier), verifier=verifier, n_boot=0).write(run)
    comparison = compare_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out", n_boot=0)
    # By what they do a has one program and b two; by syntax trees both would have two, and that would be noted.
    assert comparison.differences["b"]["coverage"].cell.value == 1
    assert comparison.notes == ()


# --- what the lines say ----------------------------------------------------------------------------------------------


def test_a_line_names_its_verifier_wherever_the_file_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSAFE_LOCAL, "1")
    named = {"name": "programs", "options": {"distinct": "behaviour", "unsafe_local": False}}
    keep(tmp_path, task="clinic")  # the line wins
    verifier = recorded_verifier(completed(tmp_path, task={"name": "mbpp", "options": {}}, verifier=named))
    assert isinstance(verifier, ProgramVerifier) and verifier.distinct == "behaviour"
    assert describe_verifier(verifier) == {"name": "programs", "options": {"distinct": "behaviour"}}


def test_a_verifier_of_a_task_is_opened_by_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSAFE_LOCAL, "1")
    of_task = open_task("programs", distinct="behaviour", workers=1)
    named = describe_verifier(verifier_of(of_task))
    assert named == {"name": "task:programs", "options": {"distinct": "behaviour"}}
    verifier = recorded_verifier(completed(tmp_path, verifier=named))
    assert (
        verifier is not None and type(verifier) is type(verifier_of(of_task)) and describe_verifier(verifier) == named
    )
    assert type(recorded_verifier(completed(tmp_path, task={"name": "programs"}))) is type(verifier)


def test_text_is_compared_where_the_lines_say_so_or_speak_of_other_things(tmp_path: Path) -> None:
    for meta in (
        {"task": {"name": "clinic", "options": {}}},
        {"task": "triage", "verifier": 3},
        {"verifier": {"name": ["programs"]}},
        {"verifier": {"name": "programs", "options": [1]}},
    ):
        assert recorded_verifier(completed(tmp_path, **meta)) is None
    assert isinstance(recorded_verifier(completed(tmp_path, verifier={"name": "text"})), TextVerifier)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("judge", "judged by a language model, which is asked only when named: give --verifier judge"),
        ("os:system", "verifier 'os:system' is not loaded because a file names it: give --verifier os:system"),
        ("task:mbpp", "its task 'mbpp' says what is right and cannot be opened .*--verifier programs"),
        ("programs", "unknown option 'base_url'; .*name another verifier with --verifier"),
    ],
)
def test_a_file_cannot_have_anything_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, complaint: str
) -> None:
    monkeypatch.setenv("POLYMODE_DATA", str(tmp_path / "none"))
    folder = completed(tmp_path, verifier={"name": name, "options": {"base_url": "http://127.0.0.1:9"}})
    with pytest.raises(UserError, match=f"completions.jsonl, line 1: .*{complaint}"):
        recorded_verifier(folder)


def test_lines_that_name_several_verifiers_are_refused(tmp_path: Path) -> None:
    programs = {"name": "programs", "options": {}}
    rows = [{"completion": "a", "references": ["a"], "k": 1, "meta": {"verifier": one}} for one in (programs, None)]
    runs.write_jsonl(tmp_path / runs.COMPLETIONS, rows)
    with pytest.raises(ConfigError, match="line 1 is judged by programs and line 2 names no verifier: judge them"):
        recorded_verifier(tmp_path)


def test_an_empty_file_names_nothing(tmp_path: Path) -> None:
    (tmp_path / runs.COMPLETIONS).touch()
    assert recorded_verifier(tmp_path) is None
