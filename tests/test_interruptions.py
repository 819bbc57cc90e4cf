"""Commands that are killed, interrupted or fail in their last step lose nothing that was finished."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polymode.cli import main
from polymode.evaluation.judged import CompletionJudge

BACK_END = """
import hashlib, time
from pathlib import Path
from polymode.generate import Generated

class Slow:
    def __init__(self, model, *, delay=0.0):
        self.delay = delay

    def generate(self, prompts, *, n, max_tokens, temperature, seed):
        time.sleep(self.delay)
        with open("calls.txt", "a") as handle:
            handle.write(f"{seed}\\n")
        text = lambda prompt, i: hashlib.sha256(f"{seed}{prompt}{i}".encode()).hexdigest()[:8]
        return [[Generated(f"<answer>{text(p, i)} \\ud83d</answer>", 3, True) for i in range(n)] for p in prompts]

class Threaded(Slow):
    is_concurrent, concurrency = True, 2

class Counting:
    def prepare(self, items):
        with open("asked.txt", "a") as handle:
            handle.writelines(f"{example.id}\\n" for example, _ in items)
        return self

    def at(self, example):
        return self

    def same(self, a, b):
        return a == b

    def matches(self, answer, reference):
        if answer == "?" and not Path("repaired").exists():
            raise RuntimeError("cannot tell \\ud83d")
        return answer in reference.names

def crash(table):
    raise RuntimeError("no such metric")

def interrupt(table):
    raise KeyboardInterrupt
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "slow_back_end.py").write_text(BACK_END)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def generate_args(out: str, *further: str, kind: str = "Slow", delay: float = 0.0) -> list[str]:
    return (
        f"generate --model m --backend slow_back_end:{kind} --backend-options delay={delay} --out {out} --k 1 "
        "--no-confidence --n 8 --samples 2 --batch 2"
    ).split() + list(further)


def lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def start(args: list[str], until: Callable[[], bool], number: int) -> int:
    """Run a command until something is true, send it a signal, and return its exit code."""
    # A shell starts what runs in its background with SIGINT ignored, and so would be every child of these tests.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([sys.executable, "-m", "polymode", *args], stderr=subprocess.DEVNULL)
    signal.signal(signal.SIGINT, before)
    try:
        deadline = time.monotonic() + 60
        while not until():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(30)
    finally:
        process.kill()
        process.wait()


def stored_without_delay(out: str, delay: float) -> None:
    """Let the rest be generated without waiting."""
    path = Path(out) / "config.json"
    path.write_text(path.read_text().replace(f'"delay": {delay}', '"delay": 0.0'))


@pytest.mark.parametrize("kind", ["Slow", "Threaded"])
def test_generation_goes_on_where_it_was_stopped(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(generate_args("whole", kind=kind)) == 0
    n_calls = len(lines("calls.txt"))
    part = "cut/completions.jsonl.part"
    args = generate_args("cut", kind=kind, delay=0.15)
    assert start(args, lambda: len(lines(part)) >= 4, signal.SIGKILL) == -signal.SIGKILL
    n_killed = len(lines(part))
    assert 4 <= n_killed < 16 and not Path("cut/completions.jsonl").exists()
    assert start([*args, "--resume"], lambda: len(lines(part)) >= n_killed + 2, signal.SIGINT) == 130
    n_finished = len(lines(part))
    assert n_killed + 2 <= n_finished < 16
    Path("calls.txt").unlink()
    with Path(part).open("a") as handle:
        handle.write('{"id": "half a li')
    stored_without_delay("cut", 0.15)
    capsys.readouterr()
    assert main(generate_args("cut", "--resume", kind=kind)) == 0
    assert f"resumed: {n_finished} completions are finished" in capsys.readouterr().out
    assert len(lines("calls.txt")) == n_calls - n_finished * n_calls // 16  # nothing twice
    assert Path("cut/completions.jsonl").read_bytes() == Path("whole/completions.jsonl").read_bytes()
    assert not Path(part).exists()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("model", ["--model", "other"]),
        ("task", ["--task", "hops"]),
        ("seed", ["--seed", "1"]),
        ("k", ["--k", "2"]),
        ("style", ["--style", "full"]),
        ("temperature", ["--temperature", "0.5"]),
        ("max_tokens", ["--max-tokens", "9"]),
        ("samples", ["--samples", "3"]),
        ("n", ["--n", "9"]),
        ("split", ["--split", "train"]),
        ("confidence", ["--confidence"]),
        ("backend", ["--backend", "slow_back_end:Threaded"]),
        ("backend_options", ["--backend-options", "delay=0.1"]),
    ],
)
def test_other_settings_are_refused_by_name(field: str, change: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(generate_args("run"))
    args = generate_args("run", "--resume")
    flag = "--no-confidence" if field == "confidence" else change[0]
    if flag in args:
        del args[args.index(flag) : args.index(flag) + len(change)]
    assert main([*args, *change]) == 2
    assert f"error: {field} = " in capsys.readouterr().err
    assert len(lines("run/completions.jsonl.part")) == 4


def interrupted(args: list[str]) -> None:
    """A generation of which two batches are finished."""
    assert main(args) == 0
    run = Path(args[args.index("--out") + 1])
    whole = (run / "completions.jsonl").read_text().splitlines(keepends=True)
    (run / "completions.jsonl.part").write_text("".join(whole[:4]))
    (run / "completions.jsonl").unlink()


def test_a_part_needs_resume_and_its_config(capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(generate_args("run"))
    assert main(generate_args("run")) == 2
    assert "run folder run exists already: pass --resume to go on" in capsys.readouterr().err
    Path("run/config.json").unlink()
    assert main(generate_args("run")) == 2
    assert "completions.jsonl.part is there without its config.json: put that back" in capsys.readouterr().err


def write_questions(n: int = 6) -> None:
    Path("run").mkdir()
    rows: list[dict[str, Any]] = [
        {"id": f"q{i}", "completion": f"<answer>{'?' if i == 1 else 'a'}</answer>", "references": ["a"], "k": 1}
        for i in range(n)
    ]
    Path("run/completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def evaluate_args(*further: str) -> list[str]:
    return ["evaluate", "run", "--verifier", "slow_back_end:Counting", "--n-boot", "10", *further]


@pytest.mark.parametrize(("metric", "code"), [("crash", 2), ("interrupt", 130)])
def test_what_was_judged_is_on_disk_before_metrics_begin(
    metric: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_questions()
    Path("run/metrics.json").write_text('{"view": {}}')  # of verdicts that are replaced
    assert main(evaluate_args("--metrics", f"slow_back_end:{metric}")) == code
    assert len(lines("asked.txt")) == 6
    rows = [json.loads(line) for line in lines("run/judged.jsonl")]
    assert [row["verdicts"] for row in rows] == [["correct"], ["unscored"], *[["correct"]] * 4]
    assert rows[1]["faults"] == ["answer 1: RuntimeError: cannot tell \ud83d"]
    assert not Path("run/metrics.json").exists()
    Path("repaired").touch()
    assert main(evaluate_args("--resume")) == 0
    assert lines("asked.txt")[6:] == ["q1"]  # only what could not be judged
    assert json.loads(Path("run/metrics.json").read_text())["metrics"]["coverage"]["n"] == 6
    assert sorted(os.listdir("run")) == ["completions.jsonl", "judged.jsonl", "metrics.json"]
    resumed = Path("run/judged.jsonl").read_bytes(), Path("run/metrics.json").read_bytes()
    assert main(evaluate_args()) == 0
    assert (Path("run/judged.jsonl").read_bytes(), Path("run/metrics.json").read_bytes()) == resumed
    capsys.readouterr()


def test_a_long_judging_keeps_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymode.evaluation.folder.BATCH", 2)
    write_questions()
    usual = CompletionJudge.prepare

    def prepare(self: Any, completions: Any) -> None:
        if len(lines("asked.txt")) == 4:
            raise KeyboardInterrupt
        usual(self, completions)

    with monkeypatch.context() as patch:
        patch.setattr(CompletionJudge, "prepare", prepare)
        assert main(evaluate_args()) == 130
    assert not Path("run/judged.jsonl").exists() and len(lines("run/judged.jsonl.part")) == 1 + 4
    assert main(evaluate_args("--resume")) == 0
    assert lines("asked.txt")[4:] == ["q1", "q4", "q5"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["--k", "2"], "k = 2 differs from None"),
        (["--verifier", "text"], "verifier = {'name': 'text', 'options': {}} differs from {'name': 'slow_back"),
        (["--confidence", "yes"], "confidence = 'yes' differs from 'auto'"),
        (["--pool", "2"], "pooled = 2 differs from None"),
    ],
)
def test_verdicts_of_other_settings_are_refused(
    change: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_questions()
    assert main(evaluate_args("--metrics", "slow_back_end:crash")) == 2
    args = evaluate_args("--resume")
    if change[0] in args:
        del args[args.index(change[0]) : args.index(change[0]) + 2]
    capsys.readouterr()
    assert main([*args, *change]) == 2
    assert complaint in capsys.readouterr().err
    with Path("run/completions.jsonl").open("a") as handle:
        handle.write(json.dumps({"id": "new", "completion": "x", "references": ["a"], "k": 1}) + "\n")
    assert main(evaluate_args("--resume")) == 2
    assert "completions = " in capsys.readouterr().err


def test_unknown_metrics_are_refused_before_anything_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    write_questions()
    assert main(evaluate_args("--metrics", "slow_back_end:missing")) == 2
    assert "slow_back_end" in capsys.readouterr().err and not lines("asked.txt")
    assert main(["evaluate", "run/judged.jsonl"]) == 2
    assert "is what evaluate writes: name the completions" in capsys.readouterr().err


def test_two_commands_on_one_output_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    args = generate_args("run", delay=0.15)
    process = subprocess.Popen([sys.executable, "-m", "polymode", *args], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(lines("run/completions.jsonl.part")) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)  # so that it is not done before the second looks
        assert main([*args, "--resume"]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "completions.jsonl: another process is writing it now: wait until it is done" in line
    finally:
        process.kill()
        process.wait()
    n_finished = len(lines("run/completions.jsonl.part"))
    stored_without_delay("run", 0.15)
    assert main(generate_args("run", "--resume")) == 0
    assert f"resumed: {n_finished} completions are finished" in capsys.readouterr().out
    assert sorted(path.name for path in Path("run").iterdir()) == ["completions.jsonl", "config.json"]
