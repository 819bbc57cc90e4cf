"""`polymode publish`: what the folder holds, what the card says, and what is sent to a hub, and when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from polymode import runs
from polymode.cli import main
from polymode.errors import ConfigError
from polymode.publish.cards import card, cell, license_of, metrics_section
from polymode.publish.repository import check_name
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer
from polymode.training.recipe import Recipe
from polymode.uncertainty import Estimate

from .hub_stub import Hub, hub

NAN = float("nan")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as training leaves it, with an evaluation in ``test``; files of training lie about."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    tokenizer = build_tokenizer(["a question"])
    build_model(tokenizer, LabModelSize(16, 1, 2, 32, 64), seed=0).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "model" / "training_args.bin").write_bytes(b"names /home/somebody")
    data = folder.parent / "questions.jsonl"
    data.write_text('{"question": "a", "references": ["b"]}\n')
    runs.create(folder, replace(Recipe(task="records", data=data, k=3, seed=7), method="multi-rlcr"))
    (folder / "metrics.jsonl").write_text('{"schema": 1, "step": 1}\n')
    metrics = {
        "coverage": Estimate(1.25, 1.0, 1.5, n=40, n_unscored=2),
        "brier": Estimate(0.2, 0.15, 0.25, n=40, n_unscored=2),
        "auroc": Estimate(NAN, NAN, NAN, n=0),
    }
    view = {"k": 3, "n_questions": 40, "n_completions": 42, "verifier": {"name": "text", "options": {}}}
    runs.Metrics(view, metrics).write(folder / "test")
    return folder


def front_of(text: str) -> dict[str, object]:
    return yaml.safe_load(text.split("---")[1])


def test_a_model_is_published_into_a_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "published"
    flags = ["publish", str(run), "--evaluation", str(run / "test"), "--out", str(out), "--license", "apache-2.0"]
    assert main(flags) == 0
    assert capsys.readouterr().out == f"made: {out}; read {out / 'README.md'} before you publish it\n"
    assert not (out / "training_args.bin").exists()
    expected = AutoModelForCausalLM.from_pretrained(str(run / "model")).state_dict()
    found = AutoModelForCausalLM.from_pretrained(str(out)).state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    assert (
        AutoTokenizer.from_pretrained(str(out)).get_vocab() == AutoTokenizer.from_pretrained(run / "model").get_vocab()
    )
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    options = {"task": "records", "data": "questions.jsonl", "method": "multi-rlcr", "k": 3, "seed": 7}
    assert recipe == options  # method and K are the defaults, and named all the same

    text = (out / "README.md").read_text(encoding="utf-8")
    front = front_of(text)
    assert (front["license"], front["library_name"]) == ("apache-2.0", "transformers")
    [index] = front["model-index"]  # type: ignore[misc]
    [result] = index["results"]
    headline = [(one["type"], one["value"]) for one in result["metrics"]]
    assert headline == [("coverage", 1.25), ("brier", 0.2)]  # AUROC is undefined
    assert "multi-rlcr" in front["tags"]  # type: ignore[operator]
    assert "\nsets of one completion, K = 3, 40 questions, 42 completions, verifier text.\n" in text
    assert "| coverage | distinct references found per set | 1.25 | 1.00 to 1.50 | 40 | 2 |" in text
    assert "| auroc | AUROC of confidence | – | – | 0 | 0 |" in text
    assert f"`questions.jsonl` (SHA-256 {runs.fingerprint(run.parent / 'questions.jsonl')})" in text
    for path in out.iterdir():
        assert str(run.parent).encode() not in path.read_bytes(), f"{path.name} names a folder of this machine"


# PEFT calls transformers 5 by an old name.
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
def test_adapters_are_merged(run: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(str(run / "model")), LoraConfig(r=2, target_modules="all-linear")
    )
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weight)
    adapted.save_pretrained(str(tmp_path / "adapters"))
    assert main(["publish", str(tmp_path / "adapters"), "--out", str(tmp_path / "out")]) == 0
    found = AutoModelForCausalLM.from_pretrained(str(tmp_path / "out")).state_dict()
    expected = adapted.merge_and_unload().state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert "Nothing was measured for this card." in (tmp_path / "out" / "README.md").read_text()


@pytest.fixture
def relabelled(tmp_path: Path) -> Path:
    note = {"answer": "Ar", "alias_of": "argon", "by": "Ada Lovelace", "at": "2026-11-02T10:00:00+00:00"}
    note |= {"runs": ["/home/ada/runs/one"], "score": 0.9, "share": 0.5, "confidence": 0.8, "n_samples": 8}
    rows = [
        {"question": "a gas", "references": [["argon", "Ar"], "neon"], "relabelled": [{**note, "original": "f" * 64}]},
        {
            "question": "a metal",
            "references": ["gold", "tin"],
            "relabelled": [
                {**note, "answer": "tin", "alias_of": None, "by": "Bob", "at": "2026-11-05", "original": "f" * 64}
            ],
        },
        {"question": "a color", "references": ["red"]},
    ]
    path = tmp_path / "relabelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_relabelled_data_are_published_without_names(relabelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert main(["publish", str(relabelled), "--out", str(out), "--license", "cc-by-4.0"]) == 0
    text, data = (out / "README.md").read_text(), (out / "data.jsonl").read_text()
    assert front_of(text)["license"] == "cc-by-4.0" and front_of(text)["size_categories"] == ["n<1K"]
    for line in (
        *("| records | 3 |", "| records with added references | 2 |", "| references added | 1 |"),
        *("| names added to a reference | 1 |", "| people who accepted | 2 |"),
    ):
        assert line in text
    assert "Between 2026-11-02 and 2026-11-05" in text and f"SHA-256 {'f' * 64} (2 additions)" in text
    for secret in ("Ada", "Bob", "/home"):
        assert secret not in text + data
    rows = [json.loads(line) for line in data.splitlines()]
    assert [row["references"] for row in rows] == [[["argon", "Ar"], "neon"], ["gold", "tin"], ["red"]]
    assert [row["relabelled"][0]["by"] for row in rows[:2]] == ["reviewer-1", "reviewer-2"]
    assert rows[0]["relabelled"][0]["runs"] == ["one"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["{run}", "--out", "{out}", "--repo", "mine"], "--repo 'mine' is no repository: write OWNER/NAME"),
        (["{run}", "--out", "{out}", "--push"], "--push needs --repo OWNER/NAME"),
        (["{run}/test", "--out", "{out}"], "holds no trained model: give the run folder of a finished training"),
        (["{run}/absent", "--out", "{out}"], "absent does not exist: give the run folder"),
        (["{run}", "--out", "{run}"], "is there already: choose another --out"),
        (["{run}", "--out", "{out}", "--evaluation", "{run}/absent"], "absent"),
        (["{run}/metrics.jsonl", "--out", "{out}"], "no record has a field 'relabelled'"),
        (["{run}/metrics.jsonl", "--out", "{out}", "--base", "b"], "--evaluation and --base are for models"),
        (["{run}", "--out", "{out}", "--repo", "o/n", "--push"], "README.md names no license"),
    ],
)
def test_what_cannot_be_published_is_one_line(
    flags: list[str], message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["publish", *(flag.format(run=run, out=out) for flag in flags)]) in (1, 2)
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not out.exists() or "license" in message
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("source", ["{run}", "{run}/metrics.jsonl"])
def test_two_processes_do_not_make_one_folder(
    source: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.publish.data._notes", lambda row: [{"by": "a", "at": "2026"}])
    out, part = tmp_path / "out", tmp_path / ".out.part"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"of the other process")
    with runs.alone(out):
        assert main(["publish", source.format(run=run), "--out", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"error: {out}: another process is writing it now: wait until it is done, or choose another --out"
    assert (part / "model.safetensors").exists() and not out.exists()


@pytest.mark.parametrize("repo", ["a", "a/b/c", "/b", "a/", "a b/c", "a/b.git", "a/b--c", "ä/b", "a/..b", "a/b\n"])
def test_what_is_no_name_of_a_repository(repo: str) -> None:
    with pytest.raises(ConfigError, match="is no repository"):
        check_name(repo)


def test_a_card_cannot_be_broken_by_its_texts() -> None:
    assert cell("a | b\n<script>") == "a \\| b &lt;script>"
    text = card({"license": "x: y # z", "tags": []}, "a\nb", ["part"])
    assert "\n# a b\n" in text and front_of(text) == {"license": "x: y # z"} and license_of(text) == "x: y # z"
    assert license_of("no front") == license_of("---\n: [\n---\n") == license_of("---\nlicense:\n---\n") == ""


def test_an_evaluation_without_numbers_has_a_table() -> None:
    text = metrics_section("test", runs.Metrics({"k": 2}, {"coverage": Estimate(NAN, NAN, NAN, n=0, n_unscored=9)}))
    assert "| coverage | distinct references found per set | – | – | 0 | 9 |" in text


# --- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_hub() -> Iterator[Hub]:
    with hub() as state:
        yield state


def publish(own_hub: Hub, *flags: str, token: str = "hf_secret") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, whose hub is ours; the client reads its address when it is imported."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": own_hub.url, "HF_TOKEN": token}
    environment |= {"HF_HOME": str(Path(flags[-1]).parent / "no-home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "polymode", "publish", *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_nothing_is_sent_unless_asked_and_then_the_folder_as_it_is(
    own_hub: Hub, relabelled: Path, tmp_path: Path
) -> None:
    flags = [str(relabelled), "--license", "cc-by-4.0", "--repo", "o/n", "--out", str(tmp_path / "data")]
    assert publish(own_hub, *flags).returncode == 0
    assert not own_hub.repositories and not own_hub.files
    readme = tmp_path / "data" / "README.md"
    readme.write_text(readme.read_text() + "\nEdited.\n")
    done = publish(own_hub, "--push", *flags)
    assert (done.returncode, done.stdout) == (0, f"published: {own_hub.url}/datasets/o/n/commit/1\n"), done.stderr
    [asked] = own_hub.repositories.values()
    assert asked["type"] == "dataset" and asked.get("private") is not False
    assert own_hub.files["README.md"].decode().endswith("Edited.\n")
    assert own_hub.files["data.jsonl"] == (tmp_path / "data" / "data.jsonl").read_bytes()
    assert own_hub.tokens == {"Bearer hf_secret"}


@pytest.mark.parametrize(
    ("status", "token", "rc", "message"),
    [
        (403, "hf_x", 2, "--repo o/n: the token may not write there (HTTP 403)"),
        (500, "hf_x", 1, "o/n was not published"),
        (200, "", 2, "--push needs a token of the hub that may write: hf auth login, or set HF_TOKEN"),
        (0, "hf_x", 1, "o/n was not published"),  # nobody listens
    ],
)
def test_a_hub_that_refuses_is_one_line_and_the_folder_stays(
    status: int, token: str, rc: int, message: str, own_hub: Hub, relabelled: Path, tmp_path: Path
) -> None:
    own_hub.status = status
    if not status:
        own_hub.url = "http://127.0.0.1:9"
    flags = [str(relabelled), "--license", "mit", "--repo", "o/n", "--push", "--out", str(tmp_path / "data")]
    done = publish(own_hub, *flags, token=token)
    assert done.returncode == rc, done.stderr
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
    assert "hf_x" not in done.stderr and (tmp_path / "data" / "README.md").exists()
