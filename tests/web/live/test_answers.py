"""What is stored of an answer, for how long, and which questions go to the review queue."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from polymode.errors import ConfigError, ReviewStoreError
from polymode.web.live.answers import LiveAnswers, delete_request, deployment_id
from polymode.web.live.tables import live_answers, live_events, live_texts
from polymode.web.reviews.queue import ReviewQueue

from ..conftest import Model
from .conftest import Served, Serves

MIGRAINE = (
    "<answer1>migraine</answer1><confidence1>0.2</confidence1><answer2>flu</answer2><confidence2>0.1</confidence2>"
)


def rows(served: Served, table: sa.Table) -> list[Any]:
    with served.queue.store.reading() as connection:
        return list(connection.execute(sa.select(table)).mappings())


def test_an_answer_is_stored_with_its_numbers_and_its_texts(serve: Serves) -> None:
    served = serve(share=0)
    reply = served.ask("Headache?")
    [row] = rows(served, live_answers)
    assert row["request_id"] == reply["request_id"] and row["kind"] == "answer" and row["n_shown"] == 1
    assert row["confidences"] == [0.85, 0.4] and row["measures"] == [[], [0.85, 1.25]]
    assert row["is_covered"] and not row["is_repeat"] and not row["is_random"] and row["item_id"] is None
    [texts] = rows(served, live_texts)
    assert (texts["question"], texts["answers"]) == ("Headache?", ["panic attack", "migraine"])
    assert served.queue.counts().open == 0


def test_off_means_off(start: Any, tmp_path: Path) -> None:
    queue = ReviewQueue(tmp_path / "reviews.db")
    client = start(escalations=queue)
    assert client.post("/v1/answer-sets", json={"question": "Headache?"}).status_code == 200
    assert client.post("/v1/outcomes", json={"request_id": "x", "correct": []}).status_code == 404
    assert "live" not in client.get("/metrics").text.replace("polymode_live_store_faults", "")
    assert not (tmp_path / "reviews.db").exists()
    queue.close()


def test_the_random_share_is_drawn_whatever_was_decided_and_marked(serve: Serves, model: Model) -> None:
    numbers = iter([0.49, 0.51, 0.0])
    served = serve(share=0.5, draws=lambda: next(numbers))
    first, _ = served.ask("First?"), served.ask("Second?")
    assert first["decision"] == "answer" and first["escalation_id"] is None
    model.scripted = type(model.scripted)([MIGRAINE])
    third = served.ask("Third?")
    assert third["decision"] == "escalate" and third["escalation_id"] == 2
    items = served.queue.items(sort="oldest")
    assert [(item.question, item.origin, item.kind.value) for item in items] == [
        ("First?", "random", "answer"),
        ("Third?", "random", "escalate"),
    ]
    assert served.queue.events(1)[0].detail == {"kind": "answer", "risk": "normal", "origin": "random"}
    assert [row["is_random"] for row in rows(served, live_answers)] == [True, False, True]


def test_a_question_that_was_asked_before_is_neither_drawn_nor_counted(serve: Serves) -> None:
    served = serve(share=1.0)
    served.ask("First?")
    served.ask(" first? ")  # case and spaces make no other question
    assert [row["is_repeat"] for row in rows(served, live_answers)] == [False, True]
    assert served.queue.counts().open == 1
    state = served.monitor().refresh()
    assert (state.n_answers, state.n_repeats, len(state.labels)) == (2, 1, 1)


def test_other_settings_than_the_servers_tell_nothing_about_drift(serve: Serves) -> None:
    served = serve(share=1.0)
    served.ask("First?", seed=7)
    [row] = rows(served, live_answers)
    assert row["measures"] == [[], []] and not row["is_random"]


def test_texts_are_deleted_when_their_time_is_over_and_numbers_stay(serve: Serves) -> None:
    served = serve(days=30)
    served.ask("First?")
    served.clock.pass_(29 * 86400)
    assert served.live.expire() == 0
    served.ask("Second?")
    served.clock.pass_(2 * 86400)
    assert served.live.expire() == 1
    assert [row["question"] for row in rows(served, live_texts)] == ["Second?"]
    assert len(rows(served, live_answers)) == 2


def test_one_answer_is_deleted_by_its_name(serve: Serves) -> None:
    served = serve(share=0)
    reply = served.ask("First?")
    before = served.monitor().refresh().evidence
    assert delete_request(served.queue.store, reply["request_id"], "ann", served.clock())
    assert not delete_request(served.queue.store, reply["request_id"], "ann", served.clock())
    [row] = rows(served, live_answers)
    assert (row["request_id"], row["fingerprint"], row["asked_by"]) == (None, "", "") and not rows(served, live_texts)
    [event] = rows(served, live_events)
    assert (event["what"], event["who"], event["request_id"]) == ("deleted", "ann", reply["request_id"])
    assert served.monitor().refresh().evidence == before


def test_the_audit_trail_only_grows(serve: Serves) -> None:
    served = serve()
    served.client.post("/v1/outcomes", json={"request_id": "nobody", "correct": []})
    for act in ("DELETE FROM live_events", "UPDATE live_events SET who = 'x'"):
        with pytest.raises(ReviewStoreError, match="only grows"), served.queue.store.writing() as connection:
            connection.exec_driver_sql(act)
    assert len(rows(served, live_events)) == 1


def test_a_store_that_fails_costs_no_answer(serve: Serves, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve(share=1.0)

    def fail(*_: object) -> None:
        raise ReviewStoreError("the disk is full")

    monkeypatch.setattr(served.live, "record", fail)
    monkeypatch.setattr(served.live, "draws", fail)
    assert served.ask("First?")["decision"] == "answer"
    assert "polymode_live_store_faults_total 1.0" in served.client.get("/metrics").text


def test_no_text_is_in_the_log(serve: Serves, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "polymode")
    served = serve(share=1.0)
    reply = served.ask("Zebra?")
    served.client.post("/v1/outcomes", json={"request_id": reply["request_id"], "correct": ["zebrafish"]})
    served.client.post("/v1/outcomes", json={"request_id": "zebra", "correct": ["zebrafish"]})
    served.monitor().keep_up()
    assert "zebra" not in caplog.text.lower() and "panic" not in caplog.text
    details = json.dumps([row["detail"] for row in rows(served, live_events)])
    assert "zebra" not in details and "panic" not in details


@pytest.mark.parametrize(("fields", "message"), [({"share": 1.5}, "review_share"), ({"days": -1}, "store_days")])
def test_what_is_not_allowed(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with ReviewQueue(tmp_path / "reviews.db") as queue, pytest.raises(ConfigError, match=message):
        LiveAnswers(queue.store, "x", **fields)
    with ReviewQueue(tmp_path / "reviews.db") as queue, pytest.raises(ConfigError, match="stores nothing"):
        LiveAnswers(queue.store, "x", days=0)


def test_another_model_policy_or_way_to_ask_is_another_deployment() -> None:
    assert len({deployment_id(*one) for one in (("m", {}, 1), ("n", {}, 1), ("m", {"k": 2}, 1), ("m", {}, 2))}) == 4
