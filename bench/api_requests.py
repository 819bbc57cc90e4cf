"""`polymode generate --backend openai` killed repeatedly: nothing that was answered and recorded is asked again.

    python bench/api_requests.py                     10,000 requests, killed with SIGKILL after every 2,000
    python bench/api_requests.py --n 300 --every 100 --concurrency 8

A scripted OpenAI-compatible server answers at once, and every hundredth request first with status 429. Before each
kill's --resume the questions in completions.jsonl.part are read: none of them may reach the server again. At the end
every question has its answer once. Prints requests a second of the whole run, start of the commands included, and
between the first and the last request of each process.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TEXT = "<answer>one</answer><confidence>0.9</confidence>"
REPLY = json.dumps(
    {
        "choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 60, "completion_tokens": 12},
    }
).encode()


class Log:
    """What was asked."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.times: list[float] = []
        self.answered: Counter[str] = Counter()
        self.recorded: frozenset[str] = frozenset()
        self.asked_again: list[str] = []

    def ask(self, question: str) -> bool:
        """Note a request; whether it is answered."""
        with self.lock:
            self.times.append(time.monotonic())
            if question in self.recorded:
                self.asked_again.append(question)
            if len(self.times) % 100 == 0:
                return False
            self.answered[question] += 1
            return True


def serve(log: Log) -> ThreadingHTTPServer:
    """The scripted server, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(length := int(self.headers["Content-Length"]))
            if len(content) < length:  # who asked was killed
                return
            body = json.loads(content)
            is_answered = log.ask(body["messages"][0]["content"].split("\n")[0])
            try:
                self.send_response(200 if is_answered else 429)
                content = REPLY if is_answered else b"slow down"
                self.send_header("Content-Length", str(len(content)))
                if not is_answered:
                    self.send_header("Retry-After", "0.05")
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:  # who asked was killed
                pass

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Listening(ThreadingHTTPServer):
        request_queue_size = 256

    server = Listening(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def finished(path: Path) -> frozenset[str]:
    """Questions of the whole lines of a file."""
    if not path.exists():
        return frozenset()
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return frozenset(json.loads(line)["question"] for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Run it and print what came of it; 0 when nothing was lost or asked twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="requests")
    parser.add_argument("--every", type=int, default=2_000, help="requests between kills; 0 never kills")
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args(arguments)
    log = Log()
    server = serve(log)
    n_kills, spans = 0, []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = ({"id": str(i), "question": f"Question {i}", "references": ["one"]} for i in range(options.n * 3 // 2))
        (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        command = [sys.executable, "-m", "polymode", "generate", "--model", "m", "--task", "records", "--style", "full"]
        command += ["--data", str(folder / "questions.jsonl"), "--split", "train", "--n", str(options.n), "--k", "1"]
        command += ["--out", str(folder / "run"), "--resume", "--backend", "openai", "--backend-options"]
        command += [
            f"base_url=http://127.0.0.1:{server.server_address[1]}/v1",
            f"concurrency={options.concurrency}",
        ]
        while True:
            before = len(log.times)
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
                while child.poll() is None:
                    if options.every and len(log.times) - before >= options.every:
                        child.send_signal(signal.SIGKILL)
                        break
                    time.sleep(0.01)
                out, error = child.communicate()
            spans.append((len(log.times) - before, log.times[-1] - log.times[before]))
            if child.returncode == 0:
                break
            if child.returncode != -signal.SIGKILL:
                print(error, file=sys.stderr)
                return 1
            n_kills += 1
            log.recorded = finished(folder / "run" / "completions.jsonl.part")
            print(f"killed after {len(log.times):,} requests, {len(log.recorded):,} answers recorded", flush=True)
        seconds = time.monotonic() - start
        questions = Counter(
            json.loads(line)["question"]
            for line in (folder / "run" / "completions.jsonl").read_text(encoding="utf-8").splitlines()
        )
    server.shutdown()
    print(out.strip())
    n_lost = sum(count - 1 for count in log.answered.values())
    print(
        f"{len(questions):,} completions, {n_kills} kills, {len(log.times):,} requests in {seconds:.0f} s: "
        f"{len(log.times) / seconds:.0f} a second, {sum(n for n, _ in spans) / sum(s for _, s in spans):.0f} while "
        f"asking; {n_lost} answers were lost on their way in a kill, {len(log.asked_again)} recorded ones asked again"
    )
    is_whole = len(questions) == options.n and set(questions.values()) == {1}
    return 0 if is_whole and not log.asked_again and n_lost <= n_kills * options.concurrency else 1


if __name__ == "__main__":
    raise SystemExit(main())
