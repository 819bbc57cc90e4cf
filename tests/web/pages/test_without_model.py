"""Pages without a model: what is there, what is not, and the flags of `polymode serve`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from polymode.cli import main
from polymode.web.app import create_pages_app
from polymode.web.pages.site import open_pages

from ..run_folders import write_run


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write_run(tmp_path / "runs" / "mine")
    with TestClient(create_pages_app(open_pages(runs=tmp_path / "runs")), follow_redirects=False) as client:
        yield client


def test_the_start_is_the_first_page(client: TestClient) -> None:
    assert client.get("/").headers["location"] == "/runs"
    page = client.get("/runs")
    assert page.status_code == 200 and ">Ask<" not in page.text
    assert client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/v1/models", "/ready", "/metrics", "/reviews", "/relabel"])
def test_what_needs_a_model_or_a_queue_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.post("/v1/answer-sets", json={"question": "a"}).status_code == 404


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--model is missing"),
        (["--runs", "RUNS", "--model", "m"], "--policy is missing"),
        (["--runs", "RUNS", "--no-pages"], "--runs is given with --no-pages"),
        (["--runs", "RUNS/none"], "is not a folder: check --runs"),
        (["--proposals", "RUNS/none"], "--data FILE is missing"),
        (["--runs", "RUNS", "--relabelled", "x.jsonl"], "--relabelled is given without --proposals"),
    ],
)
def test_flags_that_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    (tmp_path / "runs").mkdir()
    args = [flag.replace("RUNS", str(tmp_path / "runs")) for flag in flags]
    assert main(["serve", "--port", "0", *args]) == 2
    assert said in capsys.readouterr().err


def test_the_command_serves_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "mine")
    seen: list[Any] = []

    def serve(app: Any, *, host: str, port: int, ready: Any) -> None:
        ready("http://127.0.0.1:1")
        with TestClient(app, base_url="http://127.0.0.1:1") as client:
            seen.append(client.get("/runs").text)

    monkeypatch.setattr("polymode.web.server.serve", serve)
    assert main(["serve", "--runs", str(tmp_path), "--port", "0"]) == 0
    assert "pages at http://127.0.0.1:1, without a model" in capsys.readouterr().out
    assert 'href="/runs/mine"' in seen[0]
