"""Votes and shares in records: the published forms of crowds' answers, and weights that are no distribution."""

import json
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError, RecordError
from polymode.tasks import examples_of
from polymode.tasks.records import Records
from polymode.types import Example, Reference

CHAOS = {
    "uid": "1n",
    "label_counter": {"e": 50, "n": 30},
    "label_dist": [0.625, 0.375, 0.0],
    "label_count": [50, 30, 0],
    "example": {"premise": "A dog runs on a beach.", "hypothesis": "A dog is happy."},
}
PROTO: dict[str, Any] = {
    "metadata": {"id": "q1", "source": "mine"},
    "question": {"original": "Name something for a picnic.", "normalized": "name something for a picnic"},
    "answers": {
        "raw": {"sandwich": 30, "sandwiches": 20, "blanket": 50},
        "clusters": {
            "q1.0": {"count": 50, "answers": ["sandwich", "sandwiches"]},
            "q1.1": {"count": 30, "answers": ["blanket"]},
        },
    },
    "num": {"answers": 80, "clusters": 2},
}
SHARES: dict[str, Any] = {"weights": "counts", "target": "distribution"}


def only(tmp_path: Path, row: Any, **options: Any) -> Example:
    """The one record, held out for nothing."""
    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps(row) + "\n", encoding="utf-8")
    [example] = Records(source, validation=0, test=0, **options).examples("train")
    return example


def test_answers_to_numbers_as_in_chaosnli(tmp_path: Path) -> None:
    ask = "{example.premise} Does it follow that: {example.hypothesis} Answer e, n or c."
    example = only(tmp_path, CHAOS, question_field=ask, references_field="label_counter", id_field="uid", **SHARES)
    assert example.id == "1n"
    question = "A dog runs on a beach. Does it follow that: A dog is happy. Answer e, n or c."
    assert example.question == question
    assert example.references == (Reference("e", weight=0.625), Reference("n", weight=0.375))
    assert example.distribution == {"e": 0.625, "n": 0.375}
    assert example.target == "distribution"


def test_clusters_as_in_protoqa(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"question_field": "question.normalized", "id_field": "metadata.id"}
    example = only(tmp_path, PROTO, references_field="answers.clusters", **fields, **SHARES)
    assert example.references == (
        Reference("sandwich", ("sandwiches",), 0.625),
        Reference("blanket", weight=0.375),
    )
    raw = only(tmp_path, PROTO, references_field="answers.raw", **fields, weights="counts")
    assert raw.distribution == {"sandwich": 0.5, "blanket": 0.5}  # the verifier calls the plural the same
    assert raw.references[0].names == ("sandwich", "sandwiches")
    assert raw.target == "verdict"
    # The hub's form: a list of clusters, or columns.
    listed = {"question": "?", "clusters": list(PROTO["answers"]["clusters"].values())}
    assert only(tmp_path, listed, references_field="clusters", **SHARES).references == example.references
    columns = {"question": "?", "clusters": {"count": [50, 30], "answers": [["sandwich", "sandwiches"], ["blanket"]]}}
    found = only(
        tmp_path, columns, references_field="clusters.answers", weights_field="clusters.count", **SHARES
    ).references
    assert found == example.references


def test_votes_in_a_field_of_their_own_and_answers_without_a_vote(tmp_path: Path) -> None:
    row = {"question": "?", "references": ["e", "n", "c"], "votes": [50, 30, 0], "shares": [0.6, 0.4, 0.0]}
    example = only(tmp_path, row, weights_field="votes", **SHARES)
    assert [ref.text for ref in example.references] == ["e", "n"]  # nobody said c
    example = only(tmp_path, row, weights_field="shares", target="distribution")
    assert example.distribution == {"e": 0.6, "n": 0.4, "c": 0.0}
    # A field of weights comes before the numbers beside the answers; a number that is missing on the hub is left out.
    row = {"question": "?", "references": {"e": 5, "n": 3, "c": None}, "shares": [0.5, 0.5]}
    example = only(tmp_path, row, weights_field="shares", target="distribution")
    assert example.distribution == {"e": 0.5, "n": 0.5}


@pytest.mark.parametrize(
    ("row", "options", "problem"),
    [
        (
            {"references": {"e": 76, "n": 20}},
            {},
            "weight 76 of 'e' must be a number from 0 to 1; divide votes",
        ),
        ({"references": {"e": 0.7, "n": 0.6}}, {}, "weights sum to 1.3; .* or say weights = 'counts'"),
        ({"references": {"e": 0.7, "n": 0.2}}, {"target": "distribution"}, "the weights of the references sum to 0.9"),
        ({"references": ["e", "n"]}, {"target": "distribution"}, "the reference 'e' has no weight"),
        ({"references": []}, {"target": "distribution"}, "the question has no references"),
        ({"references": ["e", "n"]}, SHARES, "no reference has a count; name their field"),
        ({"references": {"e": 0, "n": 0}}, SHARES, "all counts are 0; leave the record out"),
        ({"references": {"e": -1, "n": 3}}, SHARES, "-1 of 'e' is no number of votes"),
        ({"references": {"e": float("inf"), "n": 3}}, SHARES, "inf of 'e' is no number of votes"),
        ({"references": {"e": 1e308, "n": 1e308}}, SHARES, r"1e\+308 of 'e' is no number of votes"),
        ({"references": {"e": 10**400, "n": 3}}, SHARES, "10000.* of 'e' is no number of votes"),
        ({"references": ["e", "n"], "votes": [3]}, {**SHARES, "weights_field": "votes"}, "1 entries for 2 references"),
        ({"references": ["e"], "votes": ["many"]}, {**SHARES, "weights_field": "votes"}, "'many' of 'e' is no number"),
        ({"references": ["e", "n"], "votes": [3, None]}, {**SHARES, "weights_field": "votes"}, "None of 'n'"),
        ({"references": [{"count": 3, "answers": []}]}, SHARES, "a cluster with count 3 has no answers"),
        ({"references": ["e"]}, {"question_field": "{premise} {question}"}, "field 'premise' is missing"),
    ],
)
def test_what_is_no_distribution_is_refused_with_the_line(
    tmp_path: Path, row: Any, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RecordError, match=problem) as caught:
        only(tmp_path, {"question": "?", **row}, **options)
    assert "rows.jsonl, line 1" in str(caught.value)


def test_options_are_checked(tmp_path: Path) -> None:
    for name in ("weights", "target"):
        with pytest.raises(ConfigError, match=f"{name} = 'votes'"):
            only(tmp_path, {"question": "?", "references": ["a"]}, **{name: "votes"})


def test_another_target_than_the_tasks_own(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps({"question": "?", "references": {"e": 5, "n": 5}}) + "\n", encoding="utf-8")
    task = Records(source, validation=0, test=0, weights="counts")
    assert [one.target for one in examples_of(task, "train")] == ["verdict"]
    [soft] = examples_of(task, "train", target="distribution")
    assert soft.target == "distribution"
    source.write_text(json.dumps({"question": "?", "references": ["e", "n"]}) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="task 'records', question 'record-1': .* 'e' has no weight"):
        examples_of(Records(source, validation=0, test=0), "train", target="distribution")
