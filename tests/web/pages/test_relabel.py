"""The pages of proposals: decide, conflicts, the new version, and forms that are not ours."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError
from polymode.relabel import DataFields, Proposal, read_proposals, write_proposals
from polymode.relabel.data import read_data
from polymode.web.pages.site import open_pages

from .conftest import HERE, Visit, Visitor, shown_text
from .test_hostile import HOSTILE, Tags
from .test_runs import TABLES

DATA = [{"question": "Ache?", "references": ["flu"]}, {"question": "Rash?", "references": ["measles"]}]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    runs.write_jsonl(tmp_path / "questions.jsonl", DATA)
    return tmp_path / "questions.jsonl"


@pytest.fixture
def path(tmp_path: Path, data: Path) -> Path:
    mark = read_data(data, DataFields()).fingerprint
    one = Proposal("record-1", "Ache?", ("flu",), "cold", 0.48, 0.6, 0.8, 3, 5, ("runs/a",), mark)
    other = replace(one, id="record-2", question="Rash?", references=("measles",), answer="rubella", confidence=None)
    write_proposals(tmp_path / "proposals.jsonl", [one, other])
    return tmp_path / "proposals.jsonl"


@pytest.fixture
def pages(visit: Visit, path: Path, data: Path, tmp_path: Path) -> Visitor:
    return visit(open_pages(proposals=path, data=data, relabelled=tmp_path / "new.jsonl"))


@pytest.fixture
def ann(pages: Visitor) -> Visitor:
    pages.sign_in("ann")
    return pages


def fields(pages: Visitor, number: int, show: str = "all") -> dict[str, str]:
    """What the form of a proposal holds, as a browser would send it."""
    page = pages.get(f"/relabel?show={show}").text
    form = page[page.index(f'action="/relabel/{number}"') :].partition("</form>")[0]
    held = dict(re.findall(r'name="(seen|shown)" value="([^"]*)"', form))
    return {**held, "answer": held.get("shown", ""), "alias_of": "0", "show": show}


def decide(pages: Visitor, number: int, act: str, **changes: str) -> Any:
    return pages.post(f"/relabel/{number}", {**fields(pages, number), "act": act, **changes}, form_at="/relabel")


def test_a_proposal_with_what_it_rests_on(pages: Visitor) -> None:
    text = shown_text(pages.get("/relabel").text)
    for part in ("undecided 2", "Ache?", "references flu", "proposed cold", "0.60, 3 of 5 samples", "0.80",
                 "0.48", "runs/a", "none stated", "sign in first", "new.jsonl"):  # fmt: skip
        assert part in text, part
    assert "Accept as" not in text


def test_from_a_proposal_to_the_new_version(ann: Visitor, path: Path, data: Path, tmp_path: Path) -> None:
    before = data.read_bytes()
    assert decide(ann, 1, "reference", answer="the common cold").status_code == 303
    assert decide(ann, 2, "alias").status_code == 303
    text = shown_text(ann.get("/relabel?show=accepted&done=2").text)
    assert "accepted as an alias of measles" in text and "the common cold" in text and "by ann" in text
    reply = ann.post("/relabel/write", form_at="/relabel")
    assert reply.status_code == 200 and "New version written" in reply.text
    assert "further references 1 aliases 1 records changed 2" in shown_text(reply.text)
    first, second = runs.read_jsonl(tmp_path / "new.jsonl")
    assert first["references"] == ["flu", "the common cold"] and second["references"] == [["measles", "rubella"]]
    assert first["relabelled"][0]["by"] == "ann" and data.read_bytes() == before


def test_refused_and_taken_back(ann: Visitor, path: Path) -> None:
    decide(ann, 1, "refuse")
    assert read_proposals(path)[0].accepted is False
    assert "refused 1" in shown_text(ann.get("/relabel").text)
    decide(ann, 1, "undecided")
    assert read_proposals(path)[0].accepted is None


def test_nobody_decides_over_somebody_else(pages: Visitor, path: Path) -> None:
    pages.sign_in("ben")
    late = fields(pages, 1)
    pages.sign_in("ann")
    decide(pages, 1, "refuse")
    pages.sign_in("ben")
    before = path.read_bytes()
    reply = pages.post("/relabel/1", {**late, "act": "reference"}, form_at="/relabel")
    text = shown_text(reply.text)
    assert reply.status_code == 409 and "Changed by somebody else" in text and "ann refused this proposal" in text
    assert path.read_bytes() == before
    assert "Withdraw the decision" not in pages.get("/relabel?show=refused").text


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"act": "burn"}, 422), ({"act": ""}, 422), ({"act": "alias", "alias_of": "7"}, 422),
        ({"act": "alias", "alias_of": "-1"}, 422), ({"act": "alias", "alias_of": "flu"}, 422),
        ({"act": "reference", "answer": " "}, 422), ({"act": "reference", "answer": "Flu!"}, 422),
        ({"act": "reference", "seen": "x"}, 409),
    ],
)  # fmt: skip
def test_what_is_not_allowed_changes_nothing(ann: Visitor, path: Path, changes: dict[str, str], status: int) -> None:
    before = path.read_bytes()
    assert decide(ann, 1, **changes).status_code == status
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", ["0", "3", "x", "-1", "9" * 40, "%2e%2e", "1/2"])
def test_a_proposal_that_is_not_there(ann: Visitor, path: Path, number: str) -> None:
    sent = {**fields(ann, 1), "act": "refuse"}
    assert ann.post(f"/relabel/{number}", sent, form_at="/relabel").status_code in (404, 405)
    assert read_proposals(path)[0].accepted is None


def test_forms_that_are_not_ours_change_nothing(ann: Visitor, path: Path, tmp_path: Path) -> None:
    decide(ann, 1, "reference")
    before = path.read_bytes()
    sent = {**fields(ann, 2), "act": "refuse"}
    for target, own in (("/relabel/2", sent), ("/relabel/write", {})):
        for posted in (own, {**own, "csrf": "0" * 64}):
            refused = ann.client.post(target, data=posted, headers=HERE)
            if refused.status_code == 303:  # what was typed comes back, and has not been sent
                assert refused.headers["location"] == "/resend" and "Not sent yet" in ann.get("/resend").text
            else:
                assert refused.status_code in (400, 403)
        foreign = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
        assert ann.post(target, own, form_at="/relabel", **foreign).status_code == 403
        assert ann.get(target).status_code in (404, 405)
    assert path.read_bytes() == before and not (tmp_path / "new.jsonl").exists()


def test_who_did_not_sign_in_decides_nothing(pages: Visitor, path: Path) -> None:
    before = path.read_bytes()
    assert pages.post("/relabel/1", {"act": "refuse", "seen": "x"}).status_code == 401
    assert pages.post("/relabel/write").status_code == 401
    assert path.read_bytes() == before


def test_what_cannot_be_written_is_said(ann: Visitor, path: Path, data: Path, tmp_path: Path) -> None:
    assert ann.post("/relabel/write", form_at="/relabel").status_code == 422
    decide(ann, 1, "reference")
    runs.write_jsonl(data, [*DATA, DATA[0]])
    reply = ann.post("/relabel/write", form_at="/relabel")
    assert reply.status_code == 422 and "made for another version" in shown_text(reply.text)
    (tmp_path / "new.jsonl").mkdir()
    runs.write_jsonl(data, DATA)
    reply = ann.post("/relabel/write", form_at="/relabel")
    assert reply.status_code == 503 and "cannot write" in shown_text(reply.text)


def test_a_damaged_or_missing_file_is_named(ann: Visitor, path: Path) -> None:
    path.write_text('{"id": 3}\n')
    reply = ann.get("/relabel")
    assert reply.status_code == 422 and "proposals.jsonl, line 1" in shown_text(reply.text)
    path.unlink()
    assert ann.get("/relabel").status_code == 404


def test_text_is_inert_and_stays_as_it_is(visit: Visit, path: Path, data: Path) -> None:
    text = f"\n{HOSTILE}\r\x07"
    write_proposals(
        path,
        [
            replace(p, question=HOSTILE, answer=text, references=(HOSTILE,), runs=(HOSTILE,))
            for p in read_proposals(path)
        ],
    )
    pages = visit(open_pages(proposals=path, data=data))
    pages.sign_in("<b>ann")
    page = pages.get("/relabel").text
    found = Tags(page)
    assert found.tags <= {*TABLES, "textarea"} and not [a for a in found.attributes if a.startswith("on")]
    sent = {**fields(pages, 1), "act": "alias"}
    pages.post("/relabel/1", sent, form_at="/relabel")
    [kept, _] = read_proposals(path)
    assert kept.accepted and kept.answer == text and kept.alias_of == HOSTILE
    assert Tags(pages.get("/relabel?show=accepted&done=1").text).tags <= {*TABLES, "textarea"}


def test_many_proposals_come_page_by_page(visit: Visit, path: Path, data: Path) -> None:
    one = read_proposals(path)[0]
    write_proposals(path, [replace(one, answer=f"answer-{i}") for i in range(45)])
    pages = visit(open_pages(proposals=path, data=data))
    found = [n for p in (1, 2, 3, 9) for n in re.findall(r'id="proposal-(\d+)"', pages.get(f"/relabel?page={p}").text)]
    assert found[:45] == [str(i) for i in range(1, 46)] and found[45:] == found[40:45]


def test_flags_that_do_not_go_together(path: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data FILE is missing"):
        open_pages(proposals=path)
    with pytest.raises(ConfigError, match="--relabelled is given without --proposals"):
        open_pages(relabelled=tmp_path / "x.jsonl")
    with pytest.raises(ConfigError, match="--data-fields prompt=a is not known"):
        open_pages(proposals=path, data=data, data_fields={"prompt": "a"})
    with pytest.raises(DataNotFoundError):
        open_pages(runs=tmp_path / "none")
    made = open_pages(
        proposals=path, data=data, data_fields={"question": "question", "strings": "references", "equality": "exact"}
    )
    assert made.proposals is not None and made.proposals.out is None and made.runs is None
