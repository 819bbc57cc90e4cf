"""Two reviewers never get one item: threads on one queue, processes on one file."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from polymode.errors import ReviewConflictError
from polymode.web.reviews.queue import ReviewQueue

Add = Callable[..., int]

CLAIMER = """
import sys
from polymode.web.reviews.queue import ReviewQueue
with ReviewQueue(sys.argv[1], wait_seconds=60) as queue:
    queue.counts()
    print("ready", flush=True)
    sys.stdin.readline()
    while (item := queue.claim(sys.argv[2])) is not None:
        print(item.id, flush=True)
"""


def test_threads_share_the_line_without_a_clash(queue: ReviewQueue, add: Add) -> None:
    ids = {add(queue, f"{n}?") for n in range(12)}
    taken: list[list[int]] = [[] for _ in range(4)]
    together = threading.Barrier(len(taken))

    def work(number: int) -> None:
        together.wait()
        while (item := queue.claim(f"reviewer {number}")) is not None:
            taken[number].append(item.id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(taken))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item_id for own in taken for item_id in own) == sorted(ids)


def test_of_threads_that_want_one_item_one_gets_it(queue: ReviewQueue, add: Add) -> None:
    item_id = add(queue)
    outcomes: list[str] = []
    together = threading.Barrier(6)

    def work(name: str) -> None:
        together.wait()
        try:
            queue.claim(name, item_id)
            outcomes.append(name)
        except ReviewConflictError:
            outcomes.append("refused")

    threads = [threading.Thread(target=work, args=(f"reviewer {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("refused") == 5
    assert queue.item(item_id).claimed_by in outcomes


def test_processes_share_the_line_without_a_clash(place: str, add: Add) -> None:
    with ReviewQueue(place) as queue:
        ids = {add(queue, f"{n}?") for n in range(15)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, place, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("ann", "bob")
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        taken = [[int(line) for line in worker.communicate(timeout=120)[0].split()] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert sorted(item_id for own in taken for item_id in own) == sorted(ids)
    with ReviewQueue(place) as queue:
        assert {item.claimed_by for item in queue.items()} == {
            name for name, own in zip(("ann", "bob"), taken, strict=True) if own
        }


def test_queues_opened_at_once_make_the_tables_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "reviews.db"
    queues = [ReviewQueue(path, wait_seconds=60) for _ in range(4)]  # each with connections of its own
    faults: list[Exception] = []
    together = threading.Barrier(len(queues))

    def work(queue: ReviewQueue) -> None:
        together.wait()
        try:
            assert queue.counts().open == 0
        except Exception as exc:
            faults.append(exc)
        queue.close()

    threads = [threading.Thread(target=work, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
