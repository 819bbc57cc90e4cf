"""Two trainings into one folder: the second is refused in one line, and goes on when the first has died."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polymode.cli import main


@pytest.mark.slow
def test_a_second_training_is_refused_until_the_first_has_died(
    chat_model: Path, drinks_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    options = {"task": "records", "data": str(drinks_file), "model": str(chat_model), "max_steps": 1}
    options |= {"questions_per_step": 2, "num_generations": 2, "max_completion_length": 8, "save_steps": 1}
    recipe.write_text(json.dumps({**options, "task_options": {"style": "brief", "validation": 0.0, "test": 0.0}}))
    command = ["train", str(recipe), "--out", str(out)]
    first = subprocess.Popen([sys.executable, "-m", "polymode", *command], start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not (out / ".model.lock").exists():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        busy = f"{out / 'model'}: another process is writing it now"
        for args, reasons in ((command, (busy, "exists already")), ([*command, "--resume"], (busy,))):
            capfd.readouterr()
            assert main(args) == 2
            [line] = capfd.readouterr().err.splitlines()
            assert any(reason in line for reason in reasons)
        assert not (out / "model").exists()
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert main([*command, "--resume"]) == 0
    assert (out / "model" / "model.safetensors").is_file() and not (out / ".model.lock").exists()
