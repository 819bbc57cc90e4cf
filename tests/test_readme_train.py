"""README's commands with options of a task and a verifier, run as they stand: only the model is smaller."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from polymode.cli import main
from polymode.cli.train import changed
from polymode.errors import ConfigError
from polymode.prompts import build_prompt
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer
from polymode.training.recipe import Recipe

from .docs.documents import blocks, shell_commands

ROOT = Path(__file__).resolve().parent.parent
SMALL = {
    "--max-steps": "1",
    "--questions-per-step": "2",
    "--num-generations": "2",
    "--device-batch": "2",
    "--max-completion-length": "8",
}


def commands() -> list[tuple[str, ...]]:
    """The commands of README that give options of a task."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    own = [c.words for block in blocks(text) for c in shell_commands(block.body, "README.md")]
    return [words for words in own if "--task-options" in words]


def small(words: Sequence[str]) -> list[str]:
    """The command with the sizes of `SMALL`, in place of its own where it names them: an option is given once."""
    own = [at for at, word in enumerate(words) if word in SMALL]
    rest = [word for at, word in enumerate(words) if at not in own and at - 1 not in own]
    return [*rest, *(word for option in SMALL.items() for word in option)]


def test_readme_shows_them_for_listing_and_training() -> None:
    assert [words[0] for words in commands()] == ["tasks", "train"]


@pytest.mark.slow
def test_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("math_verify")
    rows = [{"prompt": f"What is 1/{i}?", "answers": [f"1/{i}", f"{1 / i}"]} for i in range(1, 9)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prompt = build_prompt("What is 1/2?", 3, confidence=True, style="full")
    tokenizer = build_tokenizer(["<answer1>1</answer1><confidence1>0.5</confidence1>", prompt])
    build_model(tokenizer, LabModelSize(16, 1, 2, 32, 1024), seed=0).save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    listing, training = commands()
    assert main([*listing, "--n", "1"]) == 0
    out = capsys.readouterr().out
    assert "What is 1/" in out and "reference: 1/" in out and " = " in out
    words = ["tiny" if word == "Qwen/Qwen3-8B" else word for word in training]
    assert main(small(words)) == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "runs/own/config.json").read_text(encoding="utf-8"))["config"]
    assert config["task_options"] == {"question_field": "prompt", "references_field": "answers", "strings": "aliases"}
    assert (config["verifier"], config["verifier_options"]) == ("symbolic", {"seconds": 2})


def test_a_flag_completes_the_recipes_options() -> None:
    recipe = Recipe(task="records", data=Path("q.jsonl"), task_options={"strings": "aliases", "test": 0.2})
    assert changed(recipe, {"task_options": {"test": 0}}).task_options == {"strings": "aliases", "test": 0}
    assert changed(recipe, {"task": "records", "k": 2}).task_options == recipe.task_options


def test_another_choice_leaves_the_recipes_options_behind() -> None:
    judge = {"base_url": "http://localhost/v1", "model": "m"}
    recipe = Recipe(
        task="records", data=Path("q.jsonl"), task_options={"test": 0.2}, verifier="judge", verifier_options=judge
    )
    clinic = changed(recipe, {"task": "clinic", "task_options": {"threshold": 0.1}})
    assert (clinic.task_options, clinic.data, clinic.verifier_options) == ({"threshold": 0.1}, None, judge)
    text = changed(recipe, {"verifier": "text"})
    assert (text.verifier_options, text.task_options, text.data) == ({}, {"test": 0.2}, Path("q.jsonl"))
    with pytest.raises(ConfigError, match="seconds"):
        changed(recipe, {"verifier_options": {"seconds": 2}})  # the judge has no such option
