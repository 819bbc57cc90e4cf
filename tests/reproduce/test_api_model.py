"""The paper's experiment with a model behind an API: what needs no training, resumed by question."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from polymode import endpoint, runs
from polymode.cli import main
from polymode.errors import ConfigError
from polymode.reproduce import run, worker
from polymode.reproduce.plans import Arm, Plan, View, plans
from polymode.reproduce.run import Launch

from ..scripted_server import Reply, Server
from .finished import Finished

ADDRESS = {"base_url": "http://127.0.0.1:1/v1"}
API = {"task": "list-questions", "model": "m", "backend": "openai", "backend_options": ADDRESS}
N, DEEP, K = 6, 2, 2


def reply(text: str, **choice: object) -> Reply:
    one = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **choice}
    return 200, {}, json.dumps({"choices": [one], "usage": {"prompt_tokens": 50, "completion_tokens": 9}}).encode()


def number_in(body: dict[str, Any]) -> int:
    found = re.search(r"after (\d+)\?", body["messages"][0]["content"])
    assert found is not None
    return int(found[1])


def successor(body: dict[str, Any]) -> Reply:
    """One sample in four is wrong; asked for two answers the right one comes first; True has 8 of 10 parts."""
    n, asked = number_in(body), body["messages"][0]["content"]
    if "Proposed answer" in asked:
        listed = [{"token": "True", "logprob": -0.2231435513}, {"token": "False", "logprob": -1.6094379124}]
        return reply("True", logprobs={"content": [{**listed[0], "top_logprobs": listed}]})
    if "<answer2>" in asked:
        return reply(
            f"<answer1>{n + 1}</answer1><confidence1>0.9</confidence1>"
            f"<answer2>{n + 2}</answer2><confidence2>0.1</confidence2>"
        )
    return reply(f"<answer>{n + (2 if body['seed'] % 4 == 0 else 1)}</answer>")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr("polymode.generate.openai_http.REST_SECONDS", 0.01)
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"Which number comes after {i}?", "references": [str(i + 1)]} for i in range(40)]
    Path("q.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    def start(launch: Launch, plan: Plan, arm: Arm, root: Path, slot: int, **_: Any) -> Finished:
        folder = root / arm.folder
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a") as log, redirect_stdout(log), redirect_stderr(log):
            return Finished(worker.main(launch.job(plan, arm, root)))

    monkeypatch.setattr(run, "_start", start)
    monkeypatch.setattr(run, "_POLL_SECONDS", 0.0)
    one = Server(successor)
    yield one
    one.close()


Command = Callable[..., tuple[str, str]]


@pytest.fixture
def command(server: Server, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*args: object, code: int = 0) -> tuple[str, str]:
        words = ("reproduce", "paper", "--task", "records", "--data", "q.jsonl", "--task-options", "test=0.5")
        sizes = ("--questions", N, "--deep-questions", DEEP, "--recipe-options", f"k={K}", "--out", "run")
        back_end = ("--model", "m", "--backend", "openai", "--backend-options", f"base_url={server.url}", "retries=0")
        assert main([str(word) for word in (*words, *sizes, *back_end, *args)]) == code
        shown = capsys.readouterr()
        return shown.out, shown.err

    return call


def test_the_plan_has_what_needs_no_training_and_says_why() -> None:
    (plan,) = plans("paper", None, API)
    assert [arm.name for arm in plan.arms] == ["untrained"]
    (arm,) = plan.arms
    assert not arm.is_trained and arm.starts_from is None and arm.steps == 0
    assert arm.views == (
        View("samples", 1, 3, False),
        View("prompted", 3, 1, True),
        View("samples-votes", 1, 3, False, "votes", "samples"),
        View("samples-p-true", 1, 3, False, "P(True)", "samples"),
    )
    assert "m is behind a server and cannot be trained: warm-up, distilled and the four methods" in plan.note
    assert "\n" not in plan.note
    # 1000 questions: three samples, two views of them, one set; 150 with 30 samples and ten sets.
    assert plan.completions(arm) == 1000 * (3 + 3 + 3 + 1) + 150 * (30 + 10)
    (lab,) = plans("paper", None, {**API, "task": "clinic"})  # whose own style only trained models know
    assert lab.arms[0].recipe.prompt_style == "full"
    (brief,) = plans("paper", None, {**API, "style": "brief"})
    assert "samples-p-true" not in {view.name for view in brief.arms[0].views}
    (other,) = plans("paper", None, {"task": "list-questions", "model": "m"})
    assert other.note == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend_options": {}}, "backend = 'openai' needs the address of the server: add --backend-options base_url"),
        ({"steps": 3}, "steps = 3 with backend = 'openai': a model behind a server is not trained"),
        ({"seeds": 2}, "seeds = 2 with backend = 'openai'"),
        ({"lora": {"r": 4}}, "lora = {'r': 4} with backend = 'openai'"),
        ({"dtype": "float32"}, "dtype = 'float32' with backend"),
        ({"device": "cuda"}, "device = 'cuda' with backend"),
        ({"warmup": "self"}, "warmup = 'self' with backend"),
        ({"warmup_options": {"steps": 3}}, "warmup_options = .* with backend"),
        ({"model": None}, "--model is missing"),
    ],
)
def test_options_of_training_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        plans("paper", None, {**API, **options})
    assert "\n" not in str(caught.value)


def test_smollm2_is_trained_and_cannot_be_behind_a_server() -> None:
    with pytest.raises(ConfigError, match="which trains its model"):
        plans("smollm2", None, {name: value for name, value in API.items() if name != "task"})


def test_every_view_is_measured(command: Command, server: Server) -> None:
    shown, _ = command()
    assert shown.startswith("m is behind a server and cannot be trained")
    views = Path("run/untrained/seed-0")
    stated = runs.read_metrics(views / "prompted")
    assert stated.metrics["coverage"].value == 1.0
    assert stated.metrics["brier"].value == pytest.approx(0.01)  # (.1^2 + .1^2) / 2
    pooled = runs.read_metrics(views / "samples")
    assert pooled.pool == K and 0 < (pooled.metrics["coverage"].value or 0) <= 1
    assert runs.read_metrics(views / "samples-votes").view["confidence_from"] == "votes"
    for one in runs.read_completions(views / "samples-p-true"):
        assert one.confidences == pytest.approx((0.8,))
    # Six questions: two samples, one set, P(True) of two; two of them with 30 samples and 15 sets.
    assert len(server.bodies) == N * (K + 1 + K) + DEEP * (30 + 15)
    assert not list(views.rglob("*.part"))
    page = Path("run/report.html").read_text(encoding="utf-8")
    for label in ("untrained, 2 samples", "untrained, 2 samples, votes", "untrained, 2 samples, P(True)"):
        assert label in page
    assert "cannot be trained" in page and "learning rate" not in page and "warm start" not in page
    # A finished experiment asks for nothing, wherever its server is now; another request would be another experiment.
    server.bodies.clear()
    moved = ("--resume", "--backend-options", "base_url=http://127.0.0.1:1/v1", "concurrency=2")
    command(*moved)
    assert server.bodies == []
    _, error = command(*moved, "top_k=3", code=2)
    assert "backend_options = {'top_k': 3} differs from the experiment's {}" in error


def test_a_stopped_experiment_asks_only_for_the_rest(command: Command, server: Server) -> None:
    def failing(body: dict[str, Any]) -> Reply:
        return (500, {}, b"oops") if number_in(body) % 3 == 0 else successor(body)

    server.script = failing
    _, error = command(code=1)
    assert "1 of 1 arms failed, first untrained/seed-0: " in error and "--resume asks only for the rest" in error
    part = Path("run/untrained/seed-0/samples/deep/completions.jsonl.part")
    n_finished = len(part.read_text().splitlines()) if part.exists() else 0
    server.bodies.clear()
    server.script = successor
    command("--resume")
    assert len(server.bodies) == N * (K + 1 + K) + DEEP * (30 + 15) - n_finished


def test_refused_prompts_may_count_as_empty(command: Command, server: Server) -> None:
    numbers: list[int] = []

    def refusing(body: dict[str, Any]) -> Reply:
        numbers.append(number_in(body))
        if "Proposed answer" not in body["messages"][0]["content"] and number_in(body) == numbers[0]:
            return 400, {}, b"against our policy"
        return successor(body)

    server.script = refusing
    _, error = command(code=1)
    assert "against our policy" in error and "--refused empty" in error
    command("--resume", "--refused", "empty")
    texts = [one.text for one in runs.read_completions(Path("run/untrained/seed-0/prompted"))]
    assert texts.count("") == 1 and len(texts) == N
