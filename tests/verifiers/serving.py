"""`transformers serve` with a tiny random checkpoint: a real OpenAI-compatible server that talks nonsense."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer

START_SECONDS = 300
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def random_checkpoint(folder: Path) -> Path:
    """Folder of a model with random weights and a chat template, as `transformers serve` wants it."""
    tokenizer = build_tokenizer(["code matches right answer question number names { } [ ] : , 1 2 3 yes no"])
    tokenizer.chat_template = CHAT_TEMPLATE
    size = LabModelSize(hidden=32, layers=2, heads=2, intermediate=64, positions=4096)
    build_model(tokenizer, size, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def serving(model: Path, log: Path) -> Iterator[str]:
    """The base address of a server that runs meanwhile; its output goes to ``log``."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--device", "cpu"], stdout=output, stderr=output, env=env)
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(START_SECONDS * 2):
        try:
            direct.open(address, timeout=5).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.5)
    raise AssertionError(f"transformers serve did not start:\n{log.read_text(errors='replace')[-3000:]}")
