"""Load test of `polymode serve`: many clients at once, compared with one question at a time.

    python bench/serve_load.py --model runs/quick/.../model                 starts a server, 50 clients, 30 seconds
    python bench/serve_load.py --model MODEL --seconds 5 --clients 10
    python bench/serve_load.py --url http://localhost:8000 --pid 4242      a running server; --pid for its memory

Each client asks questions of the lab's clinic one after another, over a connection of its own, without pauses. First
one client alone, which is what answering without batches gives, then all of them. Reported are replies by status,
answered requests a second and their latencies, the sizes of batches, and the server's resident memory before and after
(Linux). Clients and server share this machine's processors, so on a small machine both rates are lower than a client
elsewhere would see; the ratio between them is the gain from batching.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import httpx2

from polymode.tasks import open_task

START_SECONDS = 300
WARM_UP = 3
"""Questions before anything is measured: the first batch is slower."""
SINGLE_SHARE = 0.5
"""Of the seconds, for the client alone."""


@dataclass
class Tally:
    """What came back."""

    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def line(self, name: str) -> str:
        """One row: requests a second that were answered, and latencies."""
        done = len(self.latencies)
        p50, p95 = quantiles(self.latencies)
        replies = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return f"{name:<14} {done / self.seconds:8.1f} /s   p50 {p50:7.3f} s   p95 {p95:7.3f} s   {replies}"


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95% quantile; NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]


async def load(url: str, questions: Sequence[str], clients: int, seconds: float, key: str) -> Tally:
    """``clients`` that ask for so many seconds; requests under way at the end are finished and counted."""
    tally, supply = Tally(), cycle(questions)
    start = time.perf_counter()
    until = start + seconds
    limits = httpx2.Limits(max_connections=clients)

    async def ask(client: httpx2.AsyncClient) -> None:
        while time.perf_counter() < until:
            sent = time.perf_counter()
            try:
                reply = await client.post("/v1/answer-sets", json={"question": next(supply)}, headers=bearer(key))
                status = str(reply.status_code)
            except httpx2.HTTPError as exc:
                status = type(exc).__name__
            tally.statuses[status] += 1
            if status == "200":
                tally.latencies.append(time.perf_counter() - sent)

    async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=120, trust_env=False) as client:
        await asyncio.gather(*(ask(client) for _ in range(clients)))
    tally.seconds = time.perf_counter() - start
    return tally


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def batches(url: str, key: str) -> tuple[float, float]:
    """Batches so far, and requests in them."""
    text = httpx2.get(f"{url}/metrics", headers=bearer(key), trust_env=False).text
    found = {name: float(value) for name, value in re.findall(r"^polymode_batch_size_(count|sum) (\S+)$", text, re.M)}
    return found.get("count", 0.0), found.get("sum", 0.0)


def resident(pid: int | None) -> float:
    """MiB of a process; NaN where it cannot be read."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan")
    return int(re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.M)[0]) / 1024


@contextmanager
def serving(model: str, extra: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Address and process number of a server that runs meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.json"
        policy.write_text(json.dumps({"answer_at": 0.8, "offer_at": 0.8}))
        command = [sys.executable, "-m", "polymode", "serve", "--model", model, "--policy", str(policy)]
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen([*command, "--port", str(port), *extra], stdout=log, stderr=log)
            try:
                url = f"http://127.0.0.1:{port}"
                wait_until_ready(url, process)
                yield url, process.pid
            except BaseException:
                log.seek(0)
                print(log.read()[-3000:], file=sys.stderr)
                raise
            finally:
                process.send_signal(signal.SIGTERM)
                print(f"server ended with {process.wait(60)}")


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(START_SECONDS * 2):
        if process.poll() is not None:
            break
        try:
            if httpx2.get(f"{url}/ready", timeout=10, trust_env=False).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.5)
    raise SystemExit(f"the server did not start: {process.args}")


def measure(url: str, pid: int | None, options: argparse.Namespace) -> None:
    questions = [example.question for example in open_task("clinic").examples("test", 500)]
    for question in questions[:WARM_UP]:
        asyncio.run(load(url, [question], 1, 0.001, options.key))
    before = resident(pid)
    single = asyncio.run(load(url, questions, 1, SINGLE_SHARE * options.seconds, options.key))
    alone, before_many = batches(url, options.key)
    many = asyncio.run(load(url, questions, options.clients, options.seconds, options.key))
    end, asked = batches(url, options.key)
    print(single.line("one client"))
    print(many.line(f"{options.clients} clients"))
    print(f"ratio          {rate(many) / rate(single):8.1f}")
    size = (asked - before_many) / max(1.0, end - alone)
    print(f"batches        {end - alone:8.0f} with all clients, of {size:.1f} requests")
    print(f"memory         {before:8.0f} MiB before, {resident(pid):.0f} MiB after")


def rate(tally: Tally) -> float:
    return len(tally.latencies) / tally.seconds or float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a model of the lab's clinic; a server is started with it")
    parser.add_argument("--url", help="a server that runs, instead of --model")
    parser.add_argument("--pid", type=int, help="its process, for the memory")
    parser.add_argument("--key", default="", help="API key for it")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("serve", nargs="*", help="further options of polymode serve, behind --")
    options = parser.parse_args()
    if options.url:
        measure(options.url.rstrip("/"), options.pid, options)
    elif options.model:
        with serving(options.model, options.serve) as (url, pid):
            measure(url, pid, options)
    else:
        parser.error("--model DIR or --url ADDRESS is needed")


if __name__ == "__main__":
    main()
