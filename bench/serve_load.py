"""Load test of `polymode serve`: many clients at once, compared with one question at a time.

    python bench/serve_load.py --model runs/quick/.../model                 starts a server, 50 clients, 30 seconds
    python bench/serve_load.py --model MODEL --seconds 5 --clients 10
    python bench/serve_load.py --model MODEL --idle 200 --seeded           beside idle connections and a seeded client
    python bench/serve_load.py --model MODEL --seconds 1800 --no-single    a soak: memory ten times on the way
    python bench/serve_load.py --url http://localhost:8000 --pid 4242      a running server; --pid for its memory

Each client asks questions of the lab's clinic one after another, over a connection of its own, without pauses. First
one client alone, which is what answering without batches gives, then all of them. Reported are replies by status,
answered requests a second and their latencies, the sizes of batches, and the server's resident memory before, after and
on the way (Linux). Meanwhile /health is asked twice a second; a client that is refused with 429 waits as long as
Retry-After says. Anything but 200 and 429 is an error, and then the exit code is 1. Clients and server share this
machine's processors, so on a small machine both rates are lower than a client elsewhere would see; the ratio between
them is the gain from batching.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
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
from contextlib import contextmanager, suppress
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


@dataclass
class Beside:
    """What goes on beside the clients."""

    idle: int = 0
    """Connections that send nothing; one that the server closes is opened again."""
    is_seeded: bool = False
    """One more client sends a seed of its own with each question."""
    pid: int | None = None
    seeded: Tally = field(default_factory=Tally)
    health: Tally = field(default_factory=Tally)
    memory: list[float] = field(default_factory=list)
    """MiB, ten times on the way."""


async def keep_idle(url: str) -> None:
    """One connection that sends nothing, for ever."""
    host, port = url.removeprefix("http://").split(":")
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                await reader.read()
            finally:
                writer.close()


async def watch(url: str, beside: Beside, seconds: float) -> None:
    """Ask /health on connections of its own, and note the memory, for ever."""
    start, due = time.perf_counter(), 0.0
    while True:
        sent = time.perf_counter()
        try:
            async with httpx2.AsyncClient(timeout=30, trust_env=False) as client:
                status = str((await client.get(f"{url}/health")).status_code)
        except httpx2.HTTPError as exc:
            status = type(exc).__name__
        beside.health.statuses[status] += 1
        beside.health.latencies.append(time.perf_counter() - sent)
        if sent - start >= due:
            beside.memory.append(resident(beside.pid))
            due += seconds / 10
        await asyncio.sleep(0.5)


async def load(
    url: str, questions: Sequence[str], clients: int, seconds: float, key: str, beside: Beside | None = None
) -> Tally:
    """``clients`` that ask for so many seconds; requests under way at the end are finished and counted."""
    tally, supply, beside = Tally(), cycle(questions), beside or Beside()
    start = time.perf_counter()
    until = start + seconds
    limits = httpx2.Limits(max_connections=clients + 1)

    async def ask(client: httpx2.AsyncClient, tally: Tally, seed: int | None = None) -> None:
        while time.perf_counter() < until:
            sent = time.perf_counter()
            fields: dict[str, object] = {"question": next(supply)}
            if seed is not None:
                fields["seed"] = seed = seed + 1
            try:
                reply = await client.post("/v1/answer-sets", json=fields, headers=bearer(key))
                status = str(reply.status_code)
            except httpx2.HTTPError as exc:
                reply, status = None, type(exc).__name__
            tally.statuses[status] += 1
            if status == "200":
                tally.latencies.append(time.perf_counter() - sent)
            elif status == "429" and reply is not None:
                await asyncio.sleep(float(reply.headers["retry-after"]))

    others = [asyncio.ensure_future(keep_idle(url)) for _ in range(beside.idle)]
    others += [asyncio.ensure_future(watch(url, beside, seconds))]
    async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=120, trust_env=False) as client:
        asking = [ask(client, tally) for _ in range(clients)]
        if beside.is_seeded:
            asking.append(ask(client, beside.seeded, 0))
        await asyncio.gather(*asking)
    tally.seconds = beside.seeded.seconds = beside.health.seconds = time.perf_counter() - start
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
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


def measure(url: str, pid: int | None, options: argparse.Namespace) -> bool:
    """Print the figures; whether there was no error."""
    questions = [example.question for example in open_task("clinic").examples("test", 500)]
    for question in questions[:WARM_UP]:
        asyncio.run(load(url, [question], 1, 0.001, options.key))
    before = resident(pid)
    single = None
    if not options.no_single:
        single = asyncio.run(load(url, questions, 1, SINGLE_SHARE * options.seconds, options.key))
    alone, before_many = batches(url, options.key)
    beside = Beside(options.idle, options.seeded, pid)
    many = asyncio.run(load(url, questions, options.clients, options.seconds, options.key, beside))
    end, asked = batches(url, options.key)
    if single is not None:
        print(single.line("one client"))
    print(many.line(f"{options.clients} clients"))
    if options.seeded:
        print(beside.seeded.line("seeded client"))
    print(beside.health.line("/health"))
    if single is not None:
        print(f"ratio          {rate(many) / rate(single):8.1f}")
    size = (asked - before_many) / max(1.0, end - alone)
    print(f"batches        {end - alone:8.0f} with all clients, of {size:.1f} requests")
    print(f"memory         {before:8.0f} MiB before, {resident(pid):.0f} MiB after")
    print("on the way    ", " ".join(f"{mib:.0f}" for mib in beside.memory), "MiB")
    load_average = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"machine        {os.cpu_count()} processors, load average {load_average} over 1, 5 and 15 minutes")
    statuses = many.statuses + beside.seeded.statuses + beside.health.statuses
    errors = sum(count for status, count in statuses.items() if status not in ("200", "429"))
    print(f"errors         {errors:8d} other than 429")
    return not errors


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
    parser.add_argument("--idle", type=int, default=0, help="connections that send nothing, beside the clients")
    parser.add_argument("--seeded", action="store_true", help="one more client, which sends seeds")
    parser.add_argument("--no-single", action="store_true", help="leave out the client alone")
    parser.add_argument("serve", nargs="*", help="further options of polymode serve, behind --")
    options = parser.parse_args()
    if options.url:
        is_good = measure(options.url.rstrip("/"), options.pid, options)
    elif options.model:
        with serving(options.model, options.serve) as (url, pid):
            is_good = measure(url, pid, options)
    else:
        parser.error("--model DIR or --url ADDRESS is needed")
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
