"""From stored answers and labels to alarms, withdrawn guarantees, metrics and figures."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import scipy.stats

from polymode.policy import Policy
from polymode.types import Verdict
from polymode.uncertainty.betting import RateTest
from polymode.web.live import monitor as monitor_module
from polymode.web.live.answers import LiveAnswer
from polymode.web.live.labels import PATIENCE, Label
from polymode.web.live.monitor import LiveMonitor, LiveState
from polymode.web.live.summary import EDGES, mean, share, summarise

from ...policy.test_monitoring import guarantee
from .conftest import GUARANTEED, OUTCOMES, Served, Serves


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "FRESH_SECONDS", 0.0)


def store(served: Served, n: int, **fields: Any) -> list[str]:
    """Store answers to so many new questions; their request ids."""
    names = [f"{served.live.deployment} {len(served.live.rows_after(0)) + i}" for i in range(n)]
    own: dict[str, Any] = {
        "answers": ("a", "b"),
        "confidences": (0.85, 0.4),
        "n_shown": 1,
        "kind": "answer",
        "risk": "normal",
        "group": "",
        "is_covered": True,
        "is_random": False,
        "measures": ((), ()),
    }
    for name in names:
        served.live.record(LiveAnswer(name, f"Question {name}?", **{**own, **fields}))
    return names


def say(served: Served, names: list[str], right: bool = False) -> None:
    for name in names:
        reply = served.client.post(OUTCOMES, json={"request_id": name, "verdicts": [right, False]})
        assert reply.status_code == 200, reply.text


def wealth(state: LiveState) -> tuple[int, float]:
    [one] = [one for one in state.evidence if one.kind == "guarantee"]
    return one.n, one.wealth


def test_outcomes_of_the_random_share_are_tested(serve: Serves) -> None:
    served = serve()
    say(served, store(served, 2, is_random=True))
    say(served, store(served, 1, is_random=True), right=True)
    say(served, store(served, 2))  # outcomes of other questions come when somebody noticed something
    say(served, store(served, 1, is_random=True, is_covered=False))
    say(served, store(served, 1, is_random=True, kind="offer_set", n_shown=2))  # nothing is guaranteed about sets
    own = RateTest(0.1)
    own.observe([True, True, False])
    assert wealth(served.monitor().refresh()) == (3, pytest.approx(own.wealth))


def test_they_count_in_the_order_of_drawing(serve: Serves) -> None:
    served = serve()
    first, second, third = store(served, 3, is_random=True)
    say(served, [second, third])
    state = served.monitor().refresh()
    assert wealth(state)[0] == 0 and state.waits_for is not None and state.waits_for.id == 1
    say(served, [first], right=True)
    state = served.monitor().refresh()
    assert wealth(state)[0] == 3 and state.waits_for is None


def test_what_nobody_reviews_is_passed_over(serve: Serves) -> None:
    served = serve()
    first, second = store(served, 2, is_random=True)
    served.clock.pass_(86400)
    say(served, [second])
    served.clock.pass_(PATIENCE.total_seconds() - 86400 + 60)
    state = served.monitor().refresh()
    assert (wealth(state)[0], state.n_late, state.waits_for) == (1, 1, None)
    say(served, [first])  # too late: a test that has gone on does not go back
    state = served.monitor().refresh()
    assert (wealth(state)[0], state.n_late) == (1, 1)


def test_a_review_is_a_label_and_a_dismissal_is_none(serve: Serves) -> None:
    served = serve(share=1.0)
    for number in range(2):
        served.ask(f"Question {number}?")
    item = served.queue.claim("eve")
    assert item is not None
    served.queue.resolve(item.id, "eve", verdicts={0: Verdict.UNSCORED, 1: Verdict.CORRECT})
    dismissed = served.queue.claim("eve")
    assert dismissed is not None
    served.queue.dismiss(dismissed.id, "eve")
    state = served.monitor().refresh()
    first, second = state.labels
    assert first.verdicts == (False, True) and first.has_failed  # nobody can decide: not right, as in calibration
    assert second.verdicts is None and second.is_dismissed
    assert (wealth(state)[0], state.n_late) == (1, 1)


def test_an_alarm_ends_the_guarantee_and_is_told(serve: Serves, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(share=0.0, pages=True)
    assert served.ask("Before?")["guarantee"] == "..."
    say(served, store(served, 8, is_random=True))  # 2.5 times the stake each, five bets, limit 40
    page = served.client.get("/live").text
    reply = served.ask("After?")
    reason = "the guarantee on single answers does not hold any more for the questions that are asked now"
    assert reply["guarantee"] is None and reply["no_guarantee"] == reason
    assert f"live calibration: {reason}" in caplog.text
    metrics = served.client.get("/metrics").text
    assert 'polymode_live_alarm{kind="guarantee",name="single answers"} 1.0' in metrics
    assert 'polymode_live_questions{which="reviewed"} 8.0' in metrics
    assert 'polymode_live_failures{which="value"} 1.0' in metrics
    assert reason[1:] in page and "No guarantee is claimed any more" in page and "1.00 " in page


def test_a_restart_and_reading_in_parts_come_to_the_same(serve: Serves) -> None:
    served = serve()
    rng = np.random.default_rng(0)
    monitor = served.monitor()
    for _ in range(4):
        for _ in range(15):
            store(served, 1, measures=((), tuple(rng.random(2))), is_random=bool(rng.random() < 0.3))
        monitor.refresh()
    again = served.monitor().refresh()
    assert monitor.state.labels and again.labels == monitor.state.labels
    assert [one.wealth for one in again.evidence] == pytest.approx([one.wealth for one in monitor.state.evidence])
    assert again.n_answers == 60 and [one.n for one in again.evidence] == [0, 60, 60]


def test_confidences_that_change_raise_an_alarm(serve: Serves) -> None:
    served = serve()
    rng = np.random.default_rng(1)
    for _ in range(50):
        store(served, 1, measures=((), (0.9 + rng.random() / 10, 1 + rng.random() / 10)))
    alarms = served.monitor().refresh().alarms
    assert {one.kind for one in alarms} == {"confidences"}
    assert all(5 < (one.alarm_at or 0) < 40 for one in alarms)


def test_another_deployment_starts_anew(serve: Serves) -> None:
    served = serve()
    say(served, store(served, 8, is_random=True))
    served.live.deployment = "the next"
    state = served.monitor().refresh()
    assert (state.n_answers, state.alarms, state.labels) == (0, (), ())


def test_a_state_is_read_anew_only_when_its_time_is_over(serve: Serves, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve(pages=True)
    monkeypatch.setattr(monitor_module, "FRESH_SECONDS", 3600.0)
    monitor = served.monitor()
    before = monitor.refresh()
    store(served, 1)
    assert monitor.refresh() is before and before.n_answers == 0
    assert "up to 5 seconds ago" in served.client.get("/live").text
    assert served.monitor().refresh().n_answers == 1


def test_a_conformal_guarantee_is_held_to_the_set_of_all_answers(serve: Serves) -> None:
    served = serve()
    names = store(served, 2, is_random=True, kind="offer_set")
    served.client.post(OUTCOMES, json={"request_id": names[0], "verdicts": [False, True]})
    served.client.post(OUTCOMES, json={"request_id": names[1], "verdicts": [False, False]})
    conformal = replace(guarantee("offer_set", 0.1), method="conformal")
    policy = Policy(offer_at=0.5, offer_all=True).with_guarantees(conformal)
    own = RateTest(0.1)
    own.observe([False, True])
    assert wealth(LiveMonitor(served.live, policy).refresh()) == (2, pytest.approx(own.wealth))


# --- figures over time -----------------------------------------------------------------------------------------------

START = datetime(2026, 3, 2, tzinfo=UTC)


def label(hours: float, kind: str, q: tuple[float, ...], right: tuple[bool, ...] | None, n_shown: int = 1) -> Label:
    at = START + timedelta(hours=hours)
    return Label(1, at, kind, "", True, n_shown, q, right, at, None, False)


def state_of(hours: Counter[tuple[int, str]], labels: list[Label]) -> LiveState:
    return LiveState((), tuple(labels), hours, sum(hours.values()), 0, START, None, 0)


def test_figures_worked_by_hand() -> None:
    hour = int(START.timestamp()) // 3600
    hours = Counter({(hour, "answer"): 6, (hour, "escalate"): 2, (hour + 30, "answer"): 2})
    labels = [
        label(0, "answer", (0.8, 0.2), (True, False)),
        label(0.5, "answer", (0.6, 0.4), (False, True)),
        label(30, "escalate", (0.2, 0.1), (False, False), n_shown=0),
        label(30, "answer", (0.9,), None),
    ]
    summary = summarise(state_of(hours, labels))
    total = summary.total
    assert total is not None and (total.n, total.n_reviewed) == (10, 3)
    assert (total.decisions["answer"].value, total.decisions["abstain"].value) == (0.8, 0.0)
    assert (total.failures.value, total.failures.n) == (0.5, 2)  # of what was shown
    assert (total.coverage.value, total.coverage.n) == (pytest.approx(2 / 3), 3)
    assert total.gap.value == pytest.approx((0 + 0 + 0.3) / 3)  # 1.0 - 1, 1.0 - 1, 0.3 - 0
    late, early = summary.periods  # of six hours each, those without answers left out
    assert (early.n, early.n_reviewed, late.n, late.n_reviewed) == (8, 2, 2, 1)
    assert early.start == START and late.start == START + timedelta(hours=30)
    assert math.isnan(late.failures.value) and late.failures.n == 0
    bins = {(one.low, one.high): one for one in summary.bins}
    assert bins[0.1, 0.3].confidence == pytest.approx((0.2 + 0.2 + 0.1) / 3) and bins[0.1, 0.3].right.value == 0
    assert (bins[0.3, 0.5].right.value, bins[0.3, 0.5].right.n) == (1.0, 1)
    assert (bins[0.5, 0.7].right.value, bins[0.7, 0.9].right.value) == (0.0, 1.0)
    assert EDGES[0] == 0 and EDGES[-1] == 1 and summarise(state_of(Counter(), [])).total is None


def test_intervals_are_those_of_scipy() -> None:
    figure = share(3, 40)
    exact = scipy.stats.binomtest(3, 40).proportion_ci(0.95, method="exact")
    assert (figure.low, figure.high) == pytest.approx((exact.low, exact.high))
    assert (share(0, 20).low, share(20, 20).high) == (0.0, 1.0)
    values = [0.3, -0.1, 0.2, 0.5]
    low, high = scipy.stats.t.interval(0.95, 3, np.mean(values), scipy.stats.sem(values))
    assert (mean(values).low, mean(values).high) == pytest.approx((low, high))
    assert math.isnan(mean([]).value) and math.isnan(mean([1.0]).low)


def test_long_times_are_shown_in_few_periods() -> None:
    hour = int(START.timestamp()) // 3600
    for span in (5, 60, 24 * 9, 24 * 60, 24 * 400):
        hours = Counter({(hour + i, "answer"): 1 for i in range(0, span, 5)})
        summary = summarise(state_of(hours, []))
        assert 1 <= len(summary.periods) <= 12
        assert sum(one.n for one in summary.periods) == sum(hours.values()) == (summary.total and summary.total.n)


def test_the_page_before_anything_is_asked(serve: Serves) -> None:
    served = serve(pages=True)
    page = served.client.get("/live").text
    assert "No question has been answered yet" in page
    served.ask("First?")
    assert "Nothing shows that the conditions" in served.client.get("/live").text
    assert GUARANTEED.promises and "single answers" in page
