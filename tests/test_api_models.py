"""A model behind an OpenAI-compatible server, from its samples to a served policy; what the server does wrong."""

import json
import math
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polymode import endpoint, runs
from polymode.cli import main

from .scripted_server import Reply, Server

LISTED = ((("True", 0.8), (" true", 0.05), ("False", 0.1)), (("True", 0.2), ("False", 0.6)))
"""What the server lists for a right and for a wrong answer."""


def reply(text: str | None, reason: str = "stop", **choice: object) -> Reply:
    one = {"message": {"role": "assistant", "content": text}, "finish_reason": reason, **choice}
    return 200, {}, json.dumps({"choices": [one], "usage": {"prompt_tokens": 50, "completion_tokens": 20}}).encode()


def number_in(body: dict[str, Any]) -> int:
    found = re.search(r"after (\d+)\?", body["messages"][0]["content"])
    assert found is not None
    return int(found[1])


def successor(body: dict[str, Any]) -> Reply:
    """The next number and the one after it; asked for True or False, True with the listed probabilities."""
    n = number_in(body)
    if (found := re.search(r"Proposed answer: (\d+)", body["messages"][0]["content"])) is None:
        return reply(
            f"<answer1>{n + 1}</answer1><confidence1>0.9</confidence1>"
            f"<answer2>{n + 2}</answer2><confidence2>0.1</confidence2>"
        )
    if "logprobs" not in body:
        return reply("True" if body["seed"] % 4 else "no idea")
    listed = [{"token": t, "logprob": math.log(p)} for t, p in LISTED[int(found[1]) != n + 1]]
    return reply("True", logprobs={"content": [{**listed[0], "top_logprobs": listed}]})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"Which number comes after {i}?", "references": [str(i + 1)]} for i in range(200)]
    Path("q.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    one = Server(successor)
    yield one
    one.close()


Run = Callable[..., str]


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with the back-end; gives what it prints, or its error."""

    def call(*args: object, code: int = 0, api: bool = True) -> str:
        back_end = ["--backend", "openai", "--backend-options", f"base_url={server.url}", "retries=0"] if api else []
        assert main([*map(str, args), *back_end]) == code, capsys.readouterr().err
        shown = capsys.readouterr()
        return shown.err if code else shown.out

    return call


def generate(run: Run, *args: object, code: int = 0, n: int = 40) -> str:
    command = ("generate", "--model", "m", "--task", "records", "--data", "q.jsonl", "--style", "full", "--k", 2)
    return run(*command, "--split", "train", "--n", n, "--out", "run", *args, code=code)


def test_from_samples_to_a_served_policy(run: Run, server: Server) -> None:
    shown = generate(run)
    assert "server: 40 replies, 2,000 prompt tokens, 800 generated\ntokens: 800 generated\n" in shown
    run("evaluate", "run", "--n-boot", 0, api=False)
    assert runs.read_metrics(Path("run")).metrics["coverage"].value == 1.0
    shown = run("calibrate", "run", "--target", "set", "--alpha", 0.2, api=False)
    assert "offer_at = 0.9" in shown
    question = "Which number comes after 7?"
    shown = run("answer", question, "--model", "m", "--style", "full", "--policy", "run/policy.json")
    assert "decision: OFFER_SET: 8\n" in shown
    command = [sys.executable, "-m", "polymode", "serve", "--model", "m", "--style", "full", "--port", "0"]
    command += ["--policy", "run/policy.json", "--backend", "openai", "--base-url", server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            found = re.search(r"serving m at (\S+), k = 2", child.stdout.readline())
            assert found is not None
            request = urllib.request.Request(
                f"{found[1].removesuffix(',')}/v1/answer-sets",
                json.dumps({"question": question}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=20) as response:
                body = json.load(response)
        finally:
            child.terminate()
    assert body["decision"] == "offer_set" and body["answers"][0]["text"] == "8"
    # Every stage asked with the words that the policy was calibrated with.
    asked = {body["messages"][0]["content"] for body in server.bodies if number_in(body) == 7}
    assert len(asked) == 1


def test_p_true_is_read_from_the_listed_probabilities(run: Run, server: Server) -> None:
    generate(run, n=3)
    shown = run("confidences", "run", "--method", "p-true", api=False)  # the run names its back-end
    # (.8 + .05) / .95 and .2 / .8; they hold .95 and .8, on average .875.
    assert "p-true: 3 of 3 completions have confidences, 6 answers, mean 0.572\n" in shown
    assert "hold: mean 0.875, lowest 0.800\n" in shown
    for line in Path("run-p-true/completions.jsonl").read_text().splitlines():
        assert json.loads(line)["confidences"] == pytest.approx([0.85 / 0.95, 0.25])
        assert json.loads(line)["confidence_mass"] == pytest.approx([0.95, 0.8])
    assert server.bodies[-1]["top_logprobs"] == 20
    shown = run("evaluate", "run-p-true", "--n-boot", 0, api=False)
    # Brier: ((1 - .8947)^2 + .25^2) / 2 = (.01108 + .0625) / 2
    assert runs.read_metrics(Path("run-p-true")).metrics["brier"].value == pytest.approx(0.03679, abs=1e-5)


@pytest.mark.parametrize("refuses", [False, True])
def test_p_true_is_sampled_where_no_probabilities_are_listed(run: Run, server: Server, refuses: bool) -> None:
    def silent(body: dict[str, Any]) -> Reply:
        if refuses and "logprobs" in body:
            return 400, {}, b"logprobs are not supported"
        return successor({name: value for name, value in body.items() if name != "logprobs"})

    server.script = silent
    generate(run, n=2)
    server.bodies.clear()
    shown = run("confidences", "run", "--method", "p-true", "--checks", 8, api=False)
    # Seeds 0 to 7: six say True and two (0 and 4) neither, so q = 1 and the words hold .75.
    assert "mean 1.000\n" in shown and "hold: mean 0.750, lowest 0.750\n" in shown
    assert 32 < len(server.bodies) <= 32 + 4  # 4 answers, 8 replies each; each question may ask for a list first


def test_what_was_measured_is_not_asked_again(run: Run, server: Server) -> None:
    generate(run, n=6)

    def failing(body: dict[str, Any]) -> Reply:
        return (500, {}, b"oops") if number_in(body) % 3 == 0 else successor(body)

    server.script = failing
    asked = {number_in(body) for body in server.bodies}
    n_failed = sum(n % 3 == 0 for n in asked)
    assert 0 < n_failed < 6
    command = ("confidences", "run", "--method", "p-true")
    error = run(*command, code=1)
    assert f"{n_failed} of 6 completions could not be measured; the first: " in error and "status 500: oops" in error
    assert "what is finished is in run-p-true/completions.jsonl.part, and --resume asks only for the rest\n" in error
    assert error.count("\n") == 1 and not Path("run-p-true/completions.jsonl").exists()
    server.bodies.clear()
    server.script = successor
    assert "run folder run-p-true exists already" in run(*command, code=2)
    assert f"resumed: {6 - n_failed} completions are measured\n" in run(*command, "--resume")
    assert {number_in(body) % 3 for body in server.bodies} == {0}
    assert [json.loads(line)["id"] for line in Path("run-p-true/completions.jsonl").read_text().splitlines()] == [
        json.loads(line)["id"] for line in Path("run/completions.jsonl").read_text().splitlines()
    ]
    # Another file, or another setting, is another run.
    assert "reasoning = 'sampled' differs" in run(*command, "--resume", "--reasoning", "sampled", code=2)
    with Path("run/completions.jsonl").open("a") as handle:
        handle.write("\n")
    assert "source_sha256 = " in run(*command, "--resume", code=2)


@pytest.mark.parametrize(
    ("answer", "seen", "advice"),
    [
        ((200, {}, b'{"choices": []}'), "the reply has no choices", "ask again"),
        ((200, {}, b'{"error": "x"}'), 'status 200 with an error: {"error": "x"}', "do what the server says"),
        ((200, {}, b'{"x": 1}'), "the reply is not a chat completion", "check base_url"),
        ((200, {}, b"<html>"), "the reply is not JSON: '<html>'", "check base_url: it ends with the version"),
        ((200, {}, b""), "the reply is not JSON: ''", "check base_url"),
        ((400, {}, b"context of 4096 exceeded"), "status 400: context of 4096 exceeded", "shorten the question"),
        ((401, {}, b"no key"), "status 401: no key", "set the key: --backend-options api_key_env="),
        ((404, {}, b"no model m"), "status 404: no model m", "check base_url and the name of the model"),
        ((429, {"Retry-After": "3600"}, b"quota"), "status 429: quota (asks to wait 3600 s)", "concurrency=4"),
    ],
)
def test_what_a_server_does_wrong_is_one_line_with_what_to_set(
    run: Run, server: Server, answer: Reply, seen: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.generate.openai_http.REST_SECONDS", 0.01)
    server.script = lambda body: answer if number_in(body) % 2 else successor(body)
    error = generate(run, n=8, code=1)
    assert error.count("\n") == 1
    assert seen in error and advice in error and "--resume asks only for the rest" in error
    n_finished = len(Path("run/completions.jsonl.part").read_text().splitlines())
    assert f"{8 - n_finished} of 8 completions could not be generated" in error
    server.script = successor
    server.bodies.clear()
    generate(run, "--resume", n=8)
    assert len(server.bodies) == 8 - n_finished


def test_refused_prompts_may_count_as_empty_completions(run: Run, server: Server) -> None:
    server.script = lambda body: (400, {}, b"against our policy") if number_in(body) % 2 else successor(body)
    generate(run, n=8, code=1)
    shown = generate(run, "--resume", "--refused", "empty", n=8)
    texts = {
        int(re.findall(r"\d+", row["question"])[0]) % 2: row["completion"]
        for row in map(json.loads, Path("run/completions.jsonl").read_text().splitlines())
    }
    assert texts[1] == "" and texts[0].startswith("<answer1>") and "completions: run" in shown
    # A server that refuses everything is no server that refuses a prompt.
    server.script = lambda _: (400, {}, b"unknown field seed")
    shutil.rmtree("run")
    assert "unknown field seed" in generate(run, "--refused", "empty", n=4, code=1)


def test_what_is_cut_off_or_withheld_is_counted(run: Run, server: Server) -> None:
    replies = {0: reply("<think>on and", "length"), 1: reply(None, "content_filter")}
    server.script = lambda body: replies.get(number_in(body) % 3) or successor(body)
    shown = generate(run, n=12)
    texts = [json.loads(line)["completion"] for line in Path("run/completions.jsonl").read_text().splitlines()]
    n_cut, n_withheld = texts.count("<think>on and"), texts.count("")
    assert min(n_cut, n_withheld) > 0
    assert f"; {n_cut:,} ended with finish_reason length: raise --max-tokens; {n_withheld:,} ended with" in shown
    assert "content_filter: the server withheld the text\n" in shown
    assert f"{n_cut + n_withheld} of 12 completions are shorter than --max-tokens (1536) and did not end" in shown
    assert "by themselves: withheld by the server, or at the end of the model's context\n" in shown


def test_a_model_that_refuses_or_calls_a_tool_is_said_to(run: Run, server: Server) -> None:
    replies = {0: reply(None, refusal="I cannot."), 1: reply(None, "tool_calls"), 2: reply("1", "insufficient_memory")}
    server.script = lambda body: replies.get(number_in(body) % 4) or successor(body)
    shown = generate(run, n=20)
    texts = [json.loads(line) for line in Path("run/completions.jsonl").read_text().splitlines()]
    n_refused, n_tools = (
        sum(not t["completion"] and t["finished"] == is_end for t in texts) for is_end in (True, False)
    )
    n_other = [t["completion"] for t in texts].count("1")
    assert min(n_refused, n_tools, n_other) > 0
    assert f"; {n_refused} without any text, as where a model refuses to answer; {n_other} ended with" in shown
    assert (
        f"finish_reason insufficient_memory: counted as cut off; {n_tools} ended with finish_reason tool_calls" in shown
    )


@pytest.mark.parametrize("reason", ["eos_token", "stop_sequence", "end_turn", "STOP", "", None])
def test_what_servers_call_an_end(run: Run, server: Server, reason: Any) -> None:
    server.script = lambda body: reply(f"<answer1>{number_in(body) + 1}</answer1><answer2>x</answer2>", reason)
    assert "cut off" not in generate(run, "--no-confidence", n=2)
    run("evaluate", "run", "--n-boot", 0, api=False)
    assert runs.read_metrics(Path("run")).metrics["coverage"].value == 1.0


@pytest.mark.slow
def test_kills_lose_nothing_that_was_recorded(root: Path) -> None:
    command = [sys.executable, str(root / "bench" / "api_requests.py"), "--n", "300", "--every", "120"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "300 completions, 2 kills" in done.stdout and " 0 recorded ones asked again" in done.stdout
