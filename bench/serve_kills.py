"""`polymode serve` killed repeatedly while questions are escalated: nothing that was acknowledged is lost.

    python bench/serve_kills.py                      1,000 escalations, the server killed with SIGKILL every 100
    python bench/serve_kills.py --n 200 --every 20 --clients 4

A real `polymode serve` with --reviews uses a scripted OpenAI-compatible server whose answers every policy escalates.
Clients ask concurrently; each reply with an escalation_id is an acknowledgement. The server is killed at
any point, started again on the same port and file, and clients that lost their connection ask again. At the
end every acknowledged item must be in the queue with its question and its answers. Items whose reply was lost
in a kill may be there as well; they were not acknowledged.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

from polymode.web.reviews import ReviewQueue

TEXT = "<answer1>flu</answer1><confidence1>0.3</confidence1><answer2>cold</answer2><confidence2>0.2</confidence2>"
REPLY = {
    "choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 20},
}


class Behind(BaseHTTPRequestHandler):
    """The model's server."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """An answer set that is not sure of anything."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(REPLY).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # who asked was killed
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Clients:
    """Ask side by side until told to stop, and keep what was acknowledged."""

    def __init__(self, port: int, n: int) -> None:
        self.port = port
        self.acknowledged: dict[int, str] = {}
        self.twice: list[int] = []
        self.n_unanswered = 0
        self.statuses: dict[int, int] = {}
        self.seconds: list[float] = []
        self.changed = threading.Condition()
        self.stop = threading.Event()
        self._numbers = count()
        self.threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(n)]
        for thread in self.threads:
            thread.start()

    def wait_for(self, n: int) -> None:
        """Until so many are acknowledged."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.acknowledged) >= n, timeout=600):
                raise TimeoutError(f"{len(self.acknowledged)} of {n} acknowledged in 600 s; statuses {self.statuses}")

    def _ask_on(self) -> None:
        while not self.stop.is_set():
            question = f"Question {next(self._numbers)}: fever?"
            began = time.perf_counter()
            try:
                status, body = self._ask(question)
            except ConnectionRefusedError:  # it is being started again
                self.stop.wait(0.25)
                continue
            except (OSError, http.client.HTTPException, ValueError):
                with self.changed:
                    self.n_unanswered += 1
                continue
            with self.changed:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == 200:
                    self.seconds.append(time.perf_counter() - began)
                    number = body["escalation_id"]
                    if number in self.acknowledged:
                        self.twice.append(number)
                    self.acknowledged[number] = question
                    self.changed.notify_all()

    def _ask(self, question: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            body = json.dumps({"question": question})
            connection.request("POST", "/v1/answer-sets", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()


def started(command: list[str]) -> subprocess.Popen[str]:
    """The server, once it listens."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line.startswith("serving "):
        raise RuntimeError(f"polymode serve did not start: {line!r}")
    return server


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="escalations to acknowledge")
    parser.add_argument("--every", type=int, default=100, help="acknowledgements between two kills")
    parser.add_argument("--clients", type=int, default=8, help="clients side by side")
    options = parser.parse_args()
    behind = ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        place, policy = Path(folder) / "reviews.db", Path(folder) / "policy.json"
        policy.write_text('{"answer_at": 0.9, "offer_at": 0.9, "k": 2}', encoding="utf-8")
        command = [sys.executable, "-m", "polymode", "serve", "--model", "scripted", "--policy", str(policy)]
        command += ["--reviews", str(place), "--port", str(port), "--backend", "openai"]
        command += ["--base-url", f"http://127.0.0.1:{behind.server_address[1]}/v1", "--style", "brief"]
        began, kills, server = time.perf_counter(), 0, started(command)
        clients = Clients(port, options.clients)
        try:
            for goal in range(options.every, options.n + options.every, options.every):
                clients.wait_for(min(goal, options.n))
                server.send_signal(signal.SIGKILL)
                server.wait()
                kills += 1
                if goal < options.n:
                    server = started(command)
        finally:
            clients.stop.set()
            server.kill()
        for thread in clients.threads:
            thread.join(60)
        seconds = time.perf_counter() - began
        with ReviewQueue(place, wait_seconds=60) as queue:
            kept = {item.id: item for item in queue.items(limit=1_000_000)}
            trail = sum(not queue.events(number) for number in clients.acknowledged)
        lost = [number for number in clients.acknowledged if number not in kept]
        broken = [
            number
            for number, question in clients.acknowledged.items()
            if number in kept and (kept[number].question != question or len(kept[number].answers) != 2)
        ]
    print(
        f"{len(clients.acknowledged):,} acknowledged, {kills} kills: {len(lost)} lost, {len(broken)} incomplete, "
        f"{len(clients.twice)} ids given twice, {trail} without an audit trail"
    )
    print(f"kept without an acknowledgement: {len(kept) - len(clients.acknowledged):,}, which nobody was promised")
    print(f"requests that a kill cut off: {clients.n_unanswered:,}; replies by status: {clients.statuses}")
    print(f"{seconds:.0f} s in all, starts included; reply: median {1000 * statistics.median(clients.seconds):.0f} ms")
    return 1 if lost or broken or clients.twice or trail else 0


if __name__ == "__main__":
    sys.exit(main())
