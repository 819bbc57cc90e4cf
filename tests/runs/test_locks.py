"""One writer of an output at a time: whoever is second is told in one line, and a process that dies leaves no lock."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from polymode import runs
from polymode.errors import RunExistsError, WriteError

BUSY = "another process is writing it now: wait until it is done, or choose another --out"
HOLDER = """
import os, sys, time
from pathlib import Path
from polymode import runs
with runs.alone(Path(sys.argv[1])):
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(60)
    print("locked", flush=True)
    sys.stdin.read()
"""


def holder(target: Path, *more: str) -> subprocess.Popen[str]:
    """A process that has the lock until its input ends."""
    args = [sys.executable, "-c", HOLDER, str(target), *more]
    process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdin = None if process.stdin is None or process.stdin.closed else process.stdin
    process.communicate()


def test_only_one_at_a_time_writes_an_output(tmp_path: Path) -> None:
    target = tmp_path / "new" / "run" / runs.JUDGED
    with runs.alone(target):
        with pytest.raises(RunExistsError, match=f"judged.jsonl: {BUSY}"), runs.alone(target):
            pass
        with runs.alone(target.with_name(runs.COMPLETIONS)), runs.alone(tmp_path / runs.JUDGED):
            pass
    assert list(tmp_path.iterdir()) == []  # neither lock nor folders
    with runs.alone(target):
        target.write_text("")
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_ends_anyhow_leaves_its_lock_file_and_no_lock(tmp_path: Path, number: signal.Signals) -> None:
    target = tmp_path / "model"
    process = holder(target)
    try:
        with pytest.raises(RunExistsError, match=BUSY), runs.alone(target):
            pass
        process.send_signal(number)
        process.wait(30)
        assert (tmp_path / ".model.lock").exists()
        with runs.alone(target):
            pass
        assert list(tmp_path.iterdir()) == []
    finally:
        end(process)


def test_what_a_process_has_forked_does_not_keep_its_lock(tmp_path: Path) -> None:
    target = tmp_path / "model"
    process = holder(target, "fork")
    try:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)  # its child sleeps on
        with runs.alone(target):
            pass
    finally:
        end(process)


def test_whoever_waits_gets_it_next(tmp_path: Path) -> None:
    target, order = tmp_path / "proposals.jsonl", list[str]()

    def write(name: str) -> None:
        with runs.alone(target, waits=True):
            order.append(f"{name} begins")
            order.append(f"{name} ends")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    with runs.alone(target):
        for thread in threads:
            thread.start()
        assert order == []
    for thread in threads:
        thread.join(30)
    assert len(order) == 8 and all(order[i].split()[0] == order[i + 1].split()[0] for i in range(0, 8, 2))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = r"cannot write .*file/\.model\.lock: .*; choose another folder"
    with pytest.raises(WriteError, match=said), runs.alone(tmp_path / "file" / "model"):
        pass


def test_without_locks_a_run_works_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def absent(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", absent)
    with runs.alone(tmp_path / "model"):
        (tmp_path / "model").mkdir()
    assert "cannot be locked (Operation not supported): let no other process write" in caplog.text
