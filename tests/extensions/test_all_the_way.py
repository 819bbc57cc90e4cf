"""One of each kind from a package outside polymode, through train, generate, evaluate, compare and serve."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from polymode.cli import main

NameOf = Callable[[str], str]


def command(*args: object) -> None:
    assert main(list(map(str, args))) == 0


def generated(name_of: NameOf, out: Path, *more: object) -> Path:
    task, generator = name_of("task"), name_of("generator")
    command("generate", "--model", "polly", "--backend", generator, "--task", task, "--k", 2, "--out", out, *more)
    return out


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if "completion" in line or "verdicts" in line]


def evaluated(name_of: NameOf, run: Path, *more: object) -> dict[str, Any]:
    command("evaluate", run, "--verifier", name_of("verifier"), "--metrics", name_of("metric"), "--n-boot", 20, *more)
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that knows the answer format."""
    pytest.importorskip("trl")
    from polymode.training.lab_model import LabModelSize
    from polymode.training.warm_start import WarmStart, warm_start

    from .package.tastes import Drinks

    size = LabModelSize(hidden=32, layers=1, heads=2, intermediate=32, positions=128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return warm_start(Drinks(), WarmStart(steps=80, batch=16, learning_rate=2e-2, size=size))


def test_training(name_of: NameOf, model: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    recipe = {
        "task": name_of("task"),
        "task_options": {"prefix": "wants"},
        "verifier": name_of("verifier"),
        "confidence_score": name_of("confidence_score"),
        "terms": {name_of("term"): 0.5},
        "k": 2,
        "max_steps": 1,
        "questions_per_step": 2,
        "num_generations": 2,
        "max_completion_length": 24,
        "model": str(model),
    }
    path, run = tmp_path / "recipe.yaml", tmp_path / "run"
    path.write_text(json.dumps(recipe))
    command("train", path, "--out", run)
    sampled = pyarrow.parquet.read_table(next(run.rglob("completions_00001.parquet"))).to_pylist()
    clean = [row for row in sampled if row["status"] == "clean"]
    assert len(sampled) == 4 and clean and all(row["prompt"].startswith("wants ") for row in sampled)
    for row in clean:
        answers, q = re.findall(r">([a-z]+)<", row["completion"]), [0.8, 0.4]
        y = [float(verdict == "correct") for verdict in row["verdicts"].split()]
        assert row["term_brevity"] == pytest.approx(0.5 * sum(1 / len(answer) for answer in answers) / 2)
        assert row["term_confidence_score"] == pytest.approx(-sum((a - b) ** 2 for a, b in zip(q, y, strict=True)) / 2)


def test_sampling_and_measuring(name_of: NameOf, tmp_path: Path) -> None:
    run = generated(name_of, tmp_path / "run", "--n", 4, "--confidences", name_of("confidence"))
    # Test questions are pairs 0, 3, 6 and 9 of ten: tea+milk, tea+cocoa, milk+cocoa, juice+cocoa.
    assert sorted(row["id"] for row in rows(run / "completions.jsonl")) == [
        "juice+cocoa",
        "milk+cocoa",
        "tea+cocoa",
        "tea+milk",
    ]
    metrics = evaluated(name_of, run)["metrics"]
    # The first answer, in capitals, is right, beer is not; both carry 0.5: ((1 - 0.5)² + 0.5²) / 2.
    assert metrics["first_right"]["value"] == metrics["coverage"]["value"] == 1
    # All four are equal, and nothing says how large a metric of one's own can be: no interval, with the reason.
    assert (metrics["first_right"]["low"], metrics["first_right"]["n"]) == (None, 4)
    assert metrics["first_right"]["reason"]
    assert metrics["brier"]["value"] == pytest.approx(0.25)


def test_options_of_each(name_of: NameOf, tmp_path: Path) -> None:
    options = ("--task-options", "prefix=wants", "--backend-options", "shout=false")
    run = generated(name_of, tmp_path / "run", "--n", 4, *options)
    assert all(row["question"].startswith("wants ") for row in rows(run / "completions.jsonl"))
    evaluated(name_of, run, "--verifier-options", "tasteless=beer")
    judged = rows(run / "judged.jsonl")
    assert [row["verdicts"] for row in judged] == [["correct", "unscored"]] * 4
    assert judged[0]["faults"] == ["answer 2: ValueError: beer has no taste"]


def test_comparing(name_of: NameOf, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a", "b"):
        evaluated(name_of, generated(name_of, tmp_path / name, "--n", 4))
    command("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out", "--metrics", name_of("metric"))
    # In the table of metrics as [value, interval] and among the differences.
    assert (tmp_path / "out" / "compare.md").read_text().count("| first_right | ") == 2


def test_serving(name_of: NameOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, replies = tmp_path / "policy.json", []
    policy.write_text('{"answer_at": 0.7, "k": 2}')

    def ask(app: Any, **_: Any) -> None:
        with TestClient(app, base_url="http://localhost") as client:
            replies.append(client.post("/v1/answer-sets", json={"question": "likes milk tea"}).json())

    monkeypatch.setattr("polymode.web.server.serve", ask)
    serve = ("serve", "--model", "polly", "--backend", name_of("generator"), "--task", name_of("task"))
    command(*serve, "--policy", policy, "--port", 0)
    [reply] = replies
    assert [answer["text"] for answer in reply["answers"]] == ["TEA"]
    assert reply["decision"] == "answer"


def test_answering(name_of: NameOf, capsys: pytest.CaptureFixture[str]) -> None:
    how = ("--model", "polly", "--backend", name_of("generator"), "--task", name_of("task"), "--k", 2)
    command("answer", "likes milk", *how)
    assert "MILK" in capsys.readouterr().out


def test_lists(name_of: NameOf, capsys: pytest.CaptureFixture[str]) -> None:
    command("tasks", name_of("task"), "--n", 1)
    assert "likes" in capsys.readouterr().out
    command("tasks")
    command("doctor")
    shown = capsys.readouterr().out
    is_installed = ":" not in name_of("task")
    assert ("drinks             tastes:Drinks (tastes)" in shown) == is_installed
    assert ("squared: tastes:squared (tastes)" in shown) == is_installed
