"""A server that stores its answers, with a share drawn at random that the test decides on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from polymode.policy import Policy
from polymode.policy.reference import Reference
from polymode.web.live.answers import LiveAnswers
from polymode.web.live.monitor import LiveMonitor
from polymode.web.pages.site import PageOptions
from polymode.web.reviews.queue import ReviewQueue

from ...policy.test_monitoring import guarantee
from ..conftest import FITTED, Start
from ..reviews.conftest import Clock, empty_file, file, place

REFERENCE = Reference(confidences=(tuple(i / 300 for i in range(300)), tuple(i / 200 for i in range(300))))
GUARANTEED = Policy(answer_at=0.8, offer_at=0.5, k=2, conditions=replace(FITTED, reference=REFERENCE)).with_guarantees(
    guarantee("answer", 0.1)
)
URL = "/v1/answer-sets"
OUTCOMES = "/v1/outcomes"


@dataclass
class Served:
    """A server and what it stores."""

    client: TestClient
    live: LiveAnswers
    queue: ReviewQueue
    clock: Clock

    def ask(self, question: str = "Is it so?", **fields: Any) -> dict[str, Any]:
        headers = fields.pop("headers", {})
        reply = self.client.post(URL, json={"question": question, **fields}, headers=headers)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def monitor(self) -> LiveMonitor:
        """A new one, which reads everything from the start."""
        return LiveMonitor(self.live, GUARANTEED)


Serves = Callable[..., Served]


@pytest.fixture
def serve(start: Start, place: str) -> Iterator[Serves]:
    """Starts a server: ``share``, ``days``, the numbers that ``draws`` gives, and keyword arguments of create_app."""
    queues: list[ReviewQueue] = []

    def begin(share: float = 0.5, days: float = 90, draws: Callable[[], float] = lambda: 0.0, **options: Any) -> Served:
        clock = Clock()
        clock.now = datetime.now(UTC) - timedelta(hours=1)
        queue = ReviewQueue(place, wait_seconds=20, clock=clock)
        queues.append(queue)
        live = LiveAnswers(queue.store, "this one", share=share, days=days, clock=clock, draw=draws)
        settings = {"policy": GUARANTEED, **options.pop("settings", {})}
        pages = PageOptions(reviews=queue) if options.pop("pages", False) else None
        client = start(settings, escalations=queue, live=live, pages=pages, **options)
        return Served(client, live, queue, clock)

    yield begin
    for queue in queues:
        queue.close()


__all__ = ["GUARANTEED", "OUTCOMES", "URL", "Served", "Serves", "empty_file", "file", "place"]
