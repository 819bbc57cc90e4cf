"""What a model reads, from the command line: shown before anything is run, and sent as shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from polymode import runs
from polymode.cli import main, parse
from polymode.cli.serve import Serve, _settings
from polymode.policy import Policy
from polymode.prompts import build_prompt, prompt_for
from polymode.tasks import ask_of, open_task
from polymode.types import Completion, Example, Reference

from .chat_models import byte_level_tokenizer, chat_checkpoint

SHOT = {"question": "Name a colour.", "completion": "<answer>Red</answer><confidence>0.9</confidence>"}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object) -> tuple[int, str, str]:
        code = main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": f"Name metal {i}.", "references": ["iron"]} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    path = tmp_path / "shots.jsonl"
    path.write_text(json.dumps(SHOT) + "\n", encoding="utf-8")
    return path


def test_tasks_shows_exactly_what_the_model_reads(run: Run, model: Path, questions: Path, shots: Path) -> None:
    args = [
        "tasks",
        "records",
        "--data",
        questions,
        "--n",
        1,
        "--prompt",
        "--model",
        model,
        "--k",
        2,
        "--no-confidence",
    ]
    args += ["--system", "Be brief.", "--shots", shots, "--chat-template", "enable_thinking=false", "--stop", "END"]
    code, shown, _ = run(*args)
    assert code == 0
    question = open_task("records", data=questions).examples("train", 1)[0]
    asked = build_prompt(question.question, 2, confidence=False)
    expected = (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{build_prompt('Name a colour.', 1, confidence=True)}<|im_end|>\n"
        f"<|im_start|>assistant\n{SHOT['completion']}<|im_end|>\n"
        f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    n = len(byte_level_tokenizer()(expected, add_special_tokens=False)["input_ids"])
    head, _, rest = shown.partition("\n")
    assert head == f"--- {question.id}: {n:,} tokens"
    assert rest == f"{expected}\n--- a completion ends before any of ['END']\n"


def test_tasks_shows_prompts_without_a_model(run: Run, questions: Path) -> None:
    code, shown, _ = run("tasks", "records", "--data", questions, "--n", 1, "--prompt", "--format", "lines", "--k", 4)
    assert code == 0 and shown.endswith("4. ... | ...\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["clinic", "--model", "m"], "--model is given without --prompt"),
        (["--prompt"], "--prompt is given without a task"),
        (["clinic", "--prompt", "--k", "0"], "k = 0 is not allowed"),
        (["clinic", "--prompt", "--model", "/nowhere"], "model = '/nowhere' cannot be loaded"),
        (["clinic", "--prompt", "--model", "MODEL", "--chat-template", "thinking=1"], "does not read 'thinking'"),
        (["clinic", "--prompt", "--model", "MODEL", "--shots", "/nowhere"], "shots = '/nowhere' is no file"),
    ],
)
def test_what_tasks_refuses(run: Run, model: Path, args: list[str], message: str) -> None:
    code, shown, err = run("tasks", *(str(model) if arg == "MODEL" else arg for arg in args))
    assert (code, shown) == (2, "") and message in err


def test_generate_goes_on_only_as_it_began(run: Run, model: Path, questions: Path, shots: Path, tmp_path: Path) -> None:
    args = ["generate", "--model", model, "--task", "records", "--data", questions, "--n", 2, "--k", 1]
    args += ["--out", tmp_path / "run", "--max-tokens", 60, "--shots", shots, "--stop", "z", "Q"]
    assert run(*args)[0] == 0
    made = runs.read_completions(tmp_path / "run")
    assert len(made) == 2 and not any({"z", "Q"} & set(one.text) for one in made)
    code, _, err = run(*args, "--resume", "--system", "Be brief.")
    assert code == 2 and "system = 'Be brief.' differs from the run folder's None" in err


def test_no_room_is_told_before_anything_is_sampled(run: Run, questions: Path, tmp_path: Path) -> None:
    folder = chat_checkpoint(tmp_path / "model", positions=100)
    command = ["generate", "--model", folder, "--task", "records", "--data", questions, "--n", 1]
    code, _, err = run(*command, "--out", tmp_path / "run")
    assert code == 2 and err.splitlines()[-1].startswith("error: the longest prompt has ")
    assert not (tmp_path / "run" / runs.CONFIG).exists()


def test_a_shorter_context_cuts_completions_off_and_says_so(run: Run, questions: Path, tmp_path: Path) -> None:
    folder = chat_checkpoint(tmp_path / "model", byte_level_tokenizer(None), positions=600)
    command = ["generate", "--model", folder, "--task", "records", "--data", questions, "--n", 1, "--k", 1]
    code, shown, _ = run(*command, "--out", tmp_path / "run")
    assert code == 0 and "not 1,536: the model reads 600" in shown
    assert "; 1 of 1 completions reached the end of the model's context of 600 tokens: use a shorter prompt" in shown
    assert "withheld" not in shown
    [one] = runs.read_completions(tmp_path / "run")
    assert one.n_tokens is not None and one.n_tokens < 600


def test_answer_asks_as_the_task_asks(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def generate(self: Any, prompts: list[str], **_: Any) -> Any:
        read.extend(prompts)
        raise KeyboardInterrupt

    monkeypatch.setattr("polymode.generate.transformers.TransformersGenerator.generate", generate)
    run("answer", "Who won?", "--model", model, "--task", "ambigqa", "--style", "full", "--k", 2)
    assert read == [build_prompt("Who won?", 2, confidence=True, ask=ask_of("ambigqa"))]


def test_serve_asks_as_the_task_asks(tmp_path: Path) -> None:
    runs.write_policy(tmp_path / "policy.json", Policy())
    for task, words in (("mbpp", "solve it in different ways"), ("ambigqa", "read in several ways"), ("clinic", "")):
        options = Serve(model="m", policy=tmp_path / "policy.json", task=task, style="full")
        assert words in _settings(options).ask


@pytest.mark.parametrize(("task", "words"), [("mbpp", "in different ways"), ("ambigqa", "may be read in several ways")])
def test_the_wording_of_a_task_is_in_every_prompt(shared_data: Path, task: str, words: str) -> None:
    for example in open_task(task, data=shared_data / task).examples("test", 5):
        prompt = prompt_for(example, 4, confidence=True, style="full")
        assert words in prompt and "exactly 4" in prompt and "differ in meaning" not in prompt
        assert words not in prompt_for(example, 1, confidence=True, style="full")


def test_the_wording_of_ones_own_records(questions: Path) -> None:
    task = open_task("records", data=questions, ask="Name {k} of them {really}.")
    [example] = task.examples("train", 1)
    assert "Name 3 of them {really}." in prompt_for(example, 3, confidence=False, style="full")


def test_the_wording_is_kept_with_the_completion(tmp_path: Path) -> None:
    example = Example("1", "Q", (Reference("a"),), ask="Give {k} programs.")
    runs.write_completions(tmp_path, [Completion(example, "text", 3, True)])
    [one] = runs.read_completions(tmp_path)
    assert one.example.ask == "Give {k} programs."


def test_dtype_reaches_every_verb_that_runs_a_model(run: Run, model: Path, questions: Path, tmp_path: Path) -> None:
    task = ["--task", "records", "--data", questions, "--k", 1, "--style", "full"]
    out = tmp_path / "run"
    made = ["generate", "--model", model, *task, "--n", 1, "--max-tokens", 30, "--out", out]
    assert run(*made, "--dtype", "bfloat16")[0] == 0
    config = runs.read_configuration(out).config
    assert (config["dtype"], config["backend_options"]) == ("bfloat16", {"dtype": "bfloat16"})
    assert run(*made, "--resume")[:1] == (2,)  # another dtype is another run
    (tmp_path / "policy.json").write_text('{"answer_at": 0.8, "k": 1}', encoding="utf-8")
    for verb in (["answer", "Q"], ["serve", "--policy", tmp_path / "policy.json"]):
        options = parse(verb[0], *map(str, [*verb[1:], "--model", model, "--dtype", "float32"]))
        assert options.open_generator(str(model)).model.dtype == torch.float32
    assert parse("calibrate", str(out), "--dtype", "float32").backend_options == {"dtype": "float32"}

    # Confidences are measured as the run was sampled, unless a flag says otherwise.
    assert run("confidences", out, "--method", "p-true")[0] == 0
    assert run("confidences", out, "--method", "p-true", "--dtype", "float32", "--out", tmp_path / "f")[0] == 0
    for folder, dtype in ((tmp_path / "run-p-true", "bfloat16"), (tmp_path / "f", "float32")):
        assert runs.read_configuration(folder).config["backend_options"] == {"dtype": dtype}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--backend", "openai", "--backend-options", "base_url=http://h/v1"],
            "with --backend openai: the server decides",
        ),
        (["--backend-options", "dtype=bfloat16"], "--dtype float32 and --backend-options dtype=bfloat16 differ"),
    ],
)
def test_a_dtype_that_cannot_be_kept_to_is_refused(run: Run, tmp_path: Path, flags: list[str], message: str) -> None:
    code, _, error = run("generate", "--model", "m", "--out", tmp_path / "o", "--dtype", "float32", *flags)
    assert code == 2 and message in error
