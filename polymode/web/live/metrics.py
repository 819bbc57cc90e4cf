"""Live calibration for Prometheus (layer L6)."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from polymode.uncertainty import Estimate
from polymode.web.live.monitor import LiveMonitor
from polymode.web.live.summary import summarise


class LiveMetrics(Collector):
    """What the last refresh of a monitor knows, at every scrape."""

    def __init__(self, monitor: LiveMonitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        """Alarms, evidence, and the figures of the whole deployment with their limits."""
        state = self._monitor.state
        alarm = GaugeMetricFamily(
            "polymode_live_alarm", "1 where a condition of the guarantees is shown not to hold", labels=["kind", "name"]
        )
        evidence = GaugeMetricFamily(
            "polymode_live_evidence",
            "Logarithm of the evidence against a condition as a share of that of its limit; an alarm from 1",
            labels=["kind", "name"],
        )
        for one in state.evidence:
            alarm.add_metric([one.kind, one.name], float(one.is_alarm))
            evidence.add_metric([one.kind, one.name], one.share_of_limit)
        yield from (alarm, evidence)
        counts = GaugeMetricFamily("polymode_live_questions", "Questions of this deployment", labels=["which"])
        numbers = {"answers": state.n_answers, "different": state.n_different}
        numbers |= {"random": len(state.labels), "reviewed": state.n_reviewed, "late": state.n_late}
        for name, n in numbers.items():
            counts.add_metric([name], n)
        yield counts
        total = summarise(state).total
        if total is None:
            return
        figures = {"failures": total.failures, "coverage": total.coverage, "calibration_gap": total.gap}
        words = {
            "failures": "Share of reviewed questions with something shown where nothing of it is right",
            "coverage": "Share of reviewed questions with a right candidate",
            "calibration_gap": "Expected less actual number of right answers of a reviewed question",
        }
        for name, figure in figures.items():
            yield _family(f"polymode_live_{name}", words[name], figure)


def _family(name: str, text: str, figure: Estimate) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, f"{text}, with its 95% interval", labels=["which"])
    for which in ("value", "low", "high"):
        family.add_metric([which], getattr(figure, which))
    return family
