"""Counters and histograms of one server for Prometheus (layer L6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServerMetrics:
    """Metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry)
        self.requests = counter("polymode_requests", "Requests, by path and status", ["path", "status"])
        self.seconds = histogram(
            "polymode_request_seconds", "Seconds from a request to its reply", ["path"], buckets=SECONDS
        )
        self._waiting = Gauge("polymode_queue_length", "Requests that wait for the model", registry=self._registry)
        self._batch_size = histogram("polymode_batch_size", "Requests of a batch", buckets=SIZES)
        self._batch_seconds = histogram("polymode_batch_seconds", "Seconds of a batch", buckets=SECONDS)
        self.decisions = counter("polymode_decisions", "Decisions, by kind and risk", ["kind", "risk"])
        self.completions = counter("polymode_completions", "Completions, by how they were read", ["status"])
        self.tokens = counter("polymode_tokens", "Tokens, where they are known", ["kind"])
        self.faults = counter("polymode_model_faults", "Requests that the model or its server failed")

    def count_batch(self, size: int, seconds: float) -> None:
        """Count one batch."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Read the length of the queue from ``length`` at every scrape."""
        self._waiting.set_function(length)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
