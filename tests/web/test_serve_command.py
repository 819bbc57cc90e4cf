"""`polymode serve`: what it refuses before a model is loaded, what it makes of its options, and how it is started."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from polymode.cli import main
from polymode.cli.serve import model_id_of
from polymode.generate import openai_http, transformers
from polymode.web.keys import KEYS_VARIABLE, hash_of, read_keys

from .conftest import SURE, Model

Refused = Callable[..., str]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_text('{"answer_at": 0.8, "k": 2}', encoding="utf-8")
    return path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """The one line on stderr of a command line that must end with exit code 2."""

    def run(*args: object) -> str:
        assert main(["serve", *map(str, args)]) == 2
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1
        return shown.err

    return run


class Started:
    """Stands in for uvicorn: keeps what would be served."""

    def __init__(self) -> None:
        self.app: Any = None
        self.host, self.port = "", -1

    def __call__(self, app: Any, *, host: str, port: int, ready: Callable[[str], None]) -> None:
        self.app, self.host, self.port = app, host, port
        ready(f"http://{host}:{port}")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, model: Model) -> Started:
    one = Started()
    monkeypatch.setattr("polymode.web.server.serve", one)
    monkeypatch.setattr(transformers, "TransformersGenerator", lambda *_, **__: model)
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    return one


def test_what_is_wrong_is_said_before_a_model_is_loaded(refused: Refused, policy: Path, tmp_path: Path) -> None:
    ask = ["--model", "m", "--policy", policy, "--port", 0]
    assert "--model is missing; see polymode serve --help" in refused()
    assert "--policy is missing; see polymode serve --help" in refused("--model", "m")
    assert "policy none.json cannot be read" in refused("--model", "m", "--policy", "none.json")
    assert "k = 3 does not suit the policy, which was calibrated with k = 2: leave k out" in refused(*ask, "--k", 3)
    assert 'invalid value "0" for --batch. Must be >= 1 (see' in refused(*ask, "--batch", 0)
    assert 'invalid value "0" for --queue. Must be >= 1' in refused(*ask, "--queue", 0)
    assert 'invalid value "-1.0" for --wait-ms. Must be >= 0' in refused(*ask, "--wait-ms", -1)
    assert "seconds = 0.0 is not allowed" in refused(*ask, "--seconds", 0)
    assert 'invalid value "-1.0" for --temperature. Must be >= 0' in refused(*ask, "--temperature", -1)
    assert 'invalid value "0" for --max-tokens. Must be >= 1' in refused(*ask, "--max-tokens", 0)
    assert "task = 'chess' is not known" in refused(*ask, "--task", "chess")
    assert "generator 'openai': base_url must be given" in refused(*ask, "--backend", "openai")
    assert "generator 'transformers': unknown option 'base_url'" in refused(*ask, "--base-url", "http://x/v1")
    assert "generator 'transformers': unknown option 'top_k'" in refused(*ask, "--backend-options", "top_k=0")
    assert "host = '0.0.0.0' lets other machines ask" in refused(*ask, "--host", "0.0.0.0")
    assert "keys none cannot be read" in refused(*ask, "--keys", "none")
    for path in ("answers", "//x", "/a/../b", "/a?b", "https://x/a", "/a b"):
        assert f"--base-path = '{path}' is not allowed: give a path that begins with /" in refused(
            *ask, "--base-path", path
        )
    for origin in ("app.example", "https://app.example/", "https://app.example/x", "null", "https://*.example"):
        assert f"--allow-origins = '{origin}' is not allowed" in refused(*ask, "--allow-origins", origin)
    assert "--second-review is given without --reviews" in refused(*ask, "--second-review", 0.1)
    assert "Must be <= 1" in refused(*ask, "--second-review", 1.5)
    assert "--notify-command need --reviews" in refused(*ask, "--notify-command", "true")
    assert "no program 'no-such-mailer'" in refused(*ask, "--notify-command", "no-such-mailer x")
    assert "needs a secret to sign with: --notify-secret FILE, or the variable" in refused(
        *ask, "--notify-url", "https://h.example"
    )
    assert "--notify-secret and --notify-question need" in refused(*ask, "--notify-question")
    assert "port = 70000 is not allowed" in refused(*ask[:-1], 70000)
    assert "has no config.json: copy it there" in refused("--model", tmp_path, "--policy", policy, "--port", 0)


def test_what_stores_answers_needs_a_place_and_a_model(refused: Refused, policy: Path, tmp_path: Path) -> None:
    model, queue = ("--model", "m", "--policy", str(policy)), ("--reviews", str(tmp_path / "reviews.db"))
    assert "need --reviews, whose database holds the answers" in refused(*model, "--review-share", "0.02")
    assert "need --reviews, whose database holds the answers" in refused(*model, "--store-days", "30")
    assert "does not go with --store-days 0" in refused(*model, *queue, "--review-share", "1", "--store-days", "0")
    assert "need --model and --policy" in refused(*queue, "--review-share", "0.02")
    assert "--review-share" in refused(*model, *queue, "--review-share", "2")
    assert "--store-days" in refused(*model, *queue, "--store-days", "-1")


def test_a_missing_package_names_the_extra(refused: Refused, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "polymode.web.app")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert "serving needs the package 'fastapi', which is not installed: pip install 'polymode[serve]'" in refused(
        "--model", "m", "--policy", policy
    )


def test_options_reach_the_server(
    started: Started, model: Model, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["serve", "--model", "a/b", "--policy", policy, "--port", 0, "--max-tokens", 77, "--temperature", 0.5]
    assert main(list(map(str, args))) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("serving a/b at http://127.0.0.1:0, k = 2, policy ")
    assert shown.splitlines()[1:] == [
        "API keys: none, so anyone who can reach the server can use it",
        "note: without --reviews only the client learns of an escalated question",
        "stopped",
    ]
    with TestClient(started.app, base_url="http://localhost") as client:
        body = client.post("/v1/answer-sets", json={"question": "Fever?"}).json()
        assert (body["model_id"], body["decision"]) == ("a/b", "answer")
        assert client.get("/health", headers={"host": "evil.example"}).status_code == 421
    assert (model.settings[0]["max_tokens"], model.settings[0]["temperature"]) == (77, 0.5)
    assert model.calls == [["Fever?\nGive 2 answers with confidence\n"]]  # the style of the task clinic


def test_a_server_behind_a_proxy_and_called_by_other_sites(started: Started, policy: Path) -> None:
    origins = ["https://App.example:8443", "http://[::1]:5173"]
    args = ["serve", "--model", "a/b", "--policy", policy, "--port", 0, "--base-path", "/deep/answers/"]
    assert main([*map(str, args), "--allow-origins", *origins]) == 0
    with TestClient(started.app, base_url="http://localhost") as client:
        reply = client.get("/deep/answers/health", headers={"origin": "https://app.example:8443"})
        assert reply.json() == client.get("/health").json() == {"status": "ok"}
        assert reply.headers["access-control-allow-origin"] == "https://app.example:8443"
        assert 'href="/deep/answers/static/style.css"' in client.get("/").text


def test_a_policy_that_shows_nothing_is_pointed_out(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text("{}", encoding="utf-8")
    assert main(["serve", "--model", "m", "--policy", str(policy), "--port", "0"]) == 0
    shown = capsys.readouterr().out
    assert "k = 3" in shown and "note: the policy has no threshold, so every question is escalated\n" in shown


def test_keys_are_made_shown_once_and_asked_for(
    started: Started, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    path = tmp_path / "keys.txt"
    assert "--keys FILE is missing" in refused("--new-key", "anna")
    assert main(["serve", "--new-key", "anna", "--keys", str(path)]) == 0
    key, note = capsys.readouterr().out.splitlines()
    assert note == f"This key is not shown again; {path} has its hash under the name anna"
    owner = read_keys(path).owner(key)
    assert owner is not None and (owner.name, owner.scopes) == ("anna", {"ask"})
    args = ["serve", "--model", "m", "--policy", policy, "--port", 0, "--host", "0.0.0.0", "--keys", path]
    assert main(list(map(str, args))) == 0
    assert "API keys: 1\nnote: these keys may only ask: anna\n" in capsys.readouterr().out
    with TestClient(started.app, base_url="http://any.example") as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_keys_of_the_environment_suffice(started: Started, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, f"anna {hash_of('x')}")
    assert main(["serve", "--model", "m", "--policy", str(policy), "--port", "0", "--host", "0.0.0.0"]) == 0


def test_a_server_behind_is_asked_as_the_options_say(
    started: Started, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []

    def generator(base_url: str, model: str, timeout: float = 0.0, **options: Any) -> Model:
        made.append({"base_url": base_url, "model": model, "timeout": timeout, **options})
        return Model(SURE)

    monkeypatch.setattr(openai_http, "OpenAIGenerator", generator)
    args = ["--backend", "openai", "--base-url", "http://x/v1", "--api-key-env", "K", "--seconds", "20", "--name", "us"]
    args += ["--backend-options", "top_k=0"]
    assert main(["serve", "--model", "m", "--policy", str(policy), "--port", "0", "--style", "full", *args]) == 0
    assert made == [{"base_url": "http://x/v1", "model": "m", "api_key_env": "K", "timeout": 18.0, "top_k": 0}]
    with TestClient(started.app, base_url="http://localhost") as client:
        [one] = client.get("/v1/models").json()["data"]
        assert one["id"] == "us"
        assert client.get("/metrics").status_code == 200


def test_escalated_questions_reach_the_review_queue(
    started: Started, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polymode.web.reviews import ReviewQueue

    replies: list[Any] = []

    def ask_meanwhile(app: Any, **_: Any) -> None:
        with TestClient(app, base_url="http://localhost") as client:
            replies.append(client.post("/v1/answer-sets", json={"question": "Fever?", "risk": "high"}).json())

    monkeypatch.setattr("polymode.web.server.serve", ask_meanwhile)
    queue = tmp_path / "reviews.db"
    args = ["serve", "--model", "m", "--policy", str(policy), "--port", "0", "--reviews", str(queue)]
    assert main(args) == 0
    with ReviewQueue(queue) as kept:
        item = kept.claim("ann")
        assert item is not None
        assert (item.id, item.question, item.risk, item.model_id) == (
            replies[0]["escalation_id"],
            "Fever?",
            "high",
            "m",
        )
        assert [answer.text for answer in item.answers] == ["panic attack", "migraine"]


def test_a_random_share_is_reviewed_and_outcomes_are_taken(
    started: Started, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from polymode.web.reviews import ReviewQueue

    place = tmp_path / "reviews.db"
    args = ["serve", "--model", "m", "--policy", policy, "--reviews", place, "--review-share", 1]
    assert main(list(map(str, args))) == 0
    assert "answers are stored for 90 days, 1 of different questions go to review" in capsys.readouterr().out
    with TestClient(started.app, base_url="http://localhost") as client:
        name = client.post("/v1/answer-sets", json={"question": "Fever?"}).json()["request_id"]
        outcome = {"request_id": name, "correct": ["panic attack"]}
        assert client.post("/v1/outcomes", json=outcome).json()["verdicts"] == [True, False]
        assert "Live calibration" in client.get("/live").text
    with ReviewQueue(place) as queue:
        [item] = queue.resolved()
        assert (item.question, item.origin, item.finished_by) == ("Fever?", "random", "outcome")


def test_a_folder_is_named_without_telling_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    assert model_id_of(str(folder)) == "mine/model"
    assert model_id_of("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    assert model_id_of("/") == ""


def test_a_real_model_answers(started: Started, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polymode.tasks.lab.clinic import Clinic
    from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer

    monkeypatch.undo()
    monkeypatch.setattr("polymode.web.server.serve", started)
    folder = tmp_path / "model"
    tokenizer = build_tokenizer(Clinic().vocabulary())
    build_model(tokenizer, LabModelSize(hidden=16, layers=1, heads=2, intermediate=32), seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    args = ["--model", str(folder), "--policy", str(policy), "--port", "0", "--max-tokens", "8", "--seed", "0"]
    assert main(["serve", *args]) == 0
    with TestClient(started.app, base_url="http://localhost") as client:
        assert client.get("/ready").json()["status"] == "ready"
        body = client.post("/v1/answer-sets", json={"question": "A 9 year old boy has fever"}).json()
        assert body["decision"] == "escalate"  # untrained, it does not keep the format
        assert 1 <= body["usage"]["completion_tokens"] <= 8 and body["usage"]["prompt_tokens"] > 5
        assert json.dumps(body).isascii()
