"""The review queue: nothing acknowledged is lost when its process is killed, and how long adding and claiming take.

    python bench/review_queue.py                     1,000 items, the adding process killed every 100 python
    bench/review_queue.py --n 200 --every 20 python bench/review_queue.py --place postgresql://USER@HOST/NAME    an
    empty database, which is not cleared afterwards

A process adds items and prints the id of each when `add` returns; it is killed with SIGKILL after every so many items,
at any point, and another continues. At the end all printed ids must be present. Times are those of one process, with
each commit on disk; the disk sets them.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from polymode.parsing import parse_answers
from polymode.policy import Policy, decide
from polymode.web.reviews import ReviewQueue

TEXT = "<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>cold</answer2><confidence2>0.3</confidence2>"
ANSWERS = parse_answers(TEXT, 2, confidence=True)


def add_one(queue: ReviewQueue) -> int:
    return queue.add("Fever and cough, 31 years?", ANSWERS, decide(ANSWERS, Policy(answer_at=0.9)), completion=TEXT)


def add_for_ever(place: str) -> None:
    queue = ReviewQueue(place)
    while True:
        print(add_one(queue), flush=True)


def killed(place: str, every: int) -> list[int]:
    """Ids that one process acknowledged before it was killed, ``every`` at least."""
    with subprocess.Popen(
        [sys.executable, __file__, "--add", "--place", place], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        ids = [int(worker.stdout.readline()) for _ in range(every)]
        worker.send_signal(signal.SIGKILL)
        return ids + [int(line) for line in worker.stdout.read().split("\n")[:-1]]


def milliseconds(act: Callable[[], object], n: int) -> str:
    times = []
    for _ in range(n):
        began = time.perf_counter()
        act()
        times.append((time.perf_counter() - began) * 1000)
    return f"median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms"


def claimed_by_threads(queue: ReviewQueue, n_threads: int) -> list[int]:
    """Ids of all open items, claimed by threads side by side."""
    ids: list[int] = []

    def work(name: str) -> None:
        while (item := queue.claim(name)) is not None:
            ids.append(item.id)

    threads = [threading.Thread(target=work, args=(f"reviewer {number}",)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ids


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="items to acknowledge")
    parser.add_argument("--every", type=int, default=100, help="items between two kills")
    parser.add_argument("--times", type=int, default=200, help="items to time")
    parser.add_argument("--place", help="file or URL; a temporary file by default")
    parser.add_argument("--add", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.add:
        add_for_ever(options.place)
    with tempfile.TemporaryDirectory() as folder:
        place = options.place or str(Path(folder) / "reviews.db")
        acknowledged: list[int] = []
        kills = 0
        while len(acknowledged) < options.n:
            acknowledged += killed(place, min(options.every, options.n - len(acknowledged)))
            kills += 1
        with ReviewQueue(place, wait_seconds=60) as queue:
            kept = {item.id: item for item in queue.items(limit=10 * options.n + 10_000)}
            lost = [item_id for item_id in acknowledged if item_id not in kept]
            broken = [item_id for item_id in acknowledged if item_id in kept and len(kept[item_id].answers) != 2]
            print(f"{len(acknowledged):,} acknowledged, {kills} kills: {len(lost)} lost, {len(broken)} incomplete")
            print(f"add:   {milliseconds(lambda: add_one(queue), options.times)}")
            print(f"claim: {milliseconds(lambda: queue.claim('ann'), options.times)}")
            began, ids = time.perf_counter(), claimed_by_threads(queue, 4)
            twice = len(ids) - len(set(ids))
            print(f"4 threads claimed {len(ids):,} in {time.perf_counter() - began:.1f} s, {twice} of them twice")
    return 1 if lost or broken or twice else 0


if __name__ == "__main__":
    sys.exit(main())
