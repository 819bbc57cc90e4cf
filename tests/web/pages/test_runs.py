"""Pages of runs: list, one run, one question, figures, reports; and whatever files and addresses hold."""

import json
import re
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.cli import main
from polymode.compare.columns import run_at
from polymode.report.arms import Arm, read_arm
from polymode.report.page import report_html
from polymode.web.app import create_app
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.pages.rendering import number
from polymode.web.pages.site import PageOptions, open_pages

from ..conftest import Live, Model, serving
from ..run_folders import GOOD, POOR, answers, write_run, write_training
from .conftest import Visit, Visitor, shown_text
from .test_hostile import HOSTILE, Tags

TABLES = {"table", "thead", "tbody", "tr", "th", "td", "small", "abbr", "br", "article", "caption", "html", "head",
          "meta", "title", "link", "body", "a", "header", "nav", "main", "h1", "h2", "h3", "h4", "p", "section", "div",
          "span", "bdi", "strong", "dl", "dt", "dd", "details", "summary", "ul", "ol", "li", "fieldset", "legend",
          "label", "input", "button", "form", "select", "option", "textarea", "svg", "rect", "time"}  # fmt: skip


ELSEWHERE = (
    "/runs/..", "/runs/../secret", "/runs/%2e%2e/secret", "/runs/..%2fsecret", "/runs/%2e%2e%2fsecret",
    "/runs/lab/%2e%2e/%2e%2e/secret", "/runs/%252e%252e/secret", "/runs//etc/passwd", "/runs/%2fetc", "/runs/mine%00",
    "/runs/..%5csecret", "/runs/..\\secret", "/runs/out", "/runs/mine/../../secret", "/runs/mine/metrics.json",
    "/runs/%ff", "/runs/" + "a" * 3000, "/runs/%ed%a0%80", "/runs/.", "/runs/mine/", "/runs/~root",
)  # fmt: skip


def shown(folder: Path) -> PageOptions:
    """All of a server's pages of runs."""
    return open_pages(runs=folder)


@pytest.fixture(autouse=True)
def quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, which take seconds to draw."""
    monkeypatch.setattr("polymode.report.page.build_figures", lambda arms, reference: [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An experiment with two arms, and a run by itself."""
    root = tmp_path / "runs"
    for arm, texts in (("arm-a", GOOD), ("arm-b", POOR)):
        write_training(root / "lab" / arm / "seed-0", seed=0)
        write_run(root / "lab" / arm / "seed-0" / "set", texts)
    write_run(root / "mine")
    return root


@pytest.fixture
def pages(visit: Visit, folder: Path) -> Visitor:
    return visit(shown(folder))


Fetch = Callable[[str], Any]


@pytest.fixture
def ready(pages: Visitor) -> Fetch:
    """A page once it is prepared."""

    def fetch(path: str) -> Any:
        for _ in range(200):
            reply = pages.get(path)
            if reply.status_code != 202:
                return reply
            assert reply.headers["refresh"] == "2"
        raise AssertionError(f"{path} is never ready")

    return fetch


def test_the_list_has_every_run_with_its_metrics(pages: Visitor) -> None:
    page = pages.get("/runs")
    assert page.status_code == 200
    text = shown_text(page.text)
    for part in (
        "lab",
        "arm-a/seed-0/set",
        "arm-b/seed-0/set",
        "mine",
        "multi-rlcr, clinic, k = 2, seed 0",
        "Coverage ↑",
        "Calibration error ↓",
    ):
        assert part in text
    links = set(re.findall(r'href="(/runs/[^"]*)"', page.text))
    arms = {"/runs/lab/arm-a/seed-0", "/runs/lab/arm-b/seed-0"}  # not known to be over, so listed by themselves too
    assert links == {"/runs/mine", *arms, *(f"{arm}/set" for arm in arms)}


def test_a_run_has_metrics_and_questions(ready: Fetch) -> None:
    page = ready("/runs/lab/arm-a/seed-0/set")
    text = shown_text(page.text)
    assert page.status_code == 200
    for part in ("all 3", "missed 1", "malformed 0", "overconfident 1", "What is it, q1?", "references found: 2 of 2"):
        assert part in text
    assert re.search(r"Coverage ↑ 1\.00 \[0\.\d\d, \d\.\d\d\]", text) and "Brier score ↓ 0." in text
    # Clopper and Pearson: 0 of 3 is at most 1 - 0.025^(1/3); the ends of 1 of 3 are 1 - 0.975^(1/3) and its like.
    assert "missed 33.3% [0.8, 90.6] , malformed 0.0% [0.0, 70.8] , overconfident 33.3% [0.8, 90.6]" in text


@pytest.mark.parametrize(
    ("query", "ids"),
    [("", "q1 q2 q3"), ("show=missed", "q3"), ("show=overconfident", "q2"), ("show=malformed", ""), ("find=2", "q2")],
)
def test_lists_of_questions(ready: Fetch, query: str, ids: str) -> None:
    page = ready(f"/runs/mine?{query}").text
    assert re.findall(r"What is it, (q\d)\?", page) == ids.split()
    assert ("No question matches" in page) == (not ids)


def test_questions_come_page_by_page(visit: Visit, tmp_path: Path) -> None:
    write_run(tmp_path / "many", {f"q-{i}": GOOD["q2"] for i in range(60)})
    pages = visit(shown(tmp_path))
    seen: list[str] = []
    path = "/runs/many"
    while path:
        page = pages.get(path).text
        seen += re.findall(r"What is it, (q-\d+)\?", page)
        after = re.search(r'rel="next" href="([^"#]*)', page)
        path = after[1].replace("&amp;", "&") if after else ""
    assert seen == [f"q-{i}" for i in range(60)]
    assert "51 to 60 of 60" in shown_text(pages.get("/runs/many?page=999").text)


def test_a_question_with_spans_verdicts_and_terms(ready: Fetch) -> None:
    page = ready("/runs/mine?question=3")
    text = shown_text(page.text)
    for part in ("Question q3", "What is it, q3?", "measles reference, not found", "rubeola ✗ wrong", "↺ repeat",
                 "equal to answer 1", "stated 0.30", "coverage 0.000", "format 1.000", "20 tokens",
                 "<answer1>"):  # fmt: skip
        assert part in text, part
    assert re.search(r"score 0\.9\d\d", text)
    assert re.search(r'class="segment answer wrong"><span class="label">1 ✗ wrong</span>rubeola<', page.text)
    assert 'class="segment reasoning">&lt;think&gt;hm&lt;/think&gt;<' in page.text


def test_before_and_after_stay_in_the_list(ready: Fetch) -> None:
    page = ready("/runs/mine?question=2&show=overconfident").text
    assert "← Previous" not in page and "Next →" not in page and "overconfident only" in page
    assert re.search(r'rel="next" href="/runs/mine\?question=3"', ready("/runs/mine?question=2").text)


@pytest.mark.parametrize("number", ["0", "4", "-1", "x", "1e9", "٣", "9" * 30])
def test_a_question_that_is_not_there(ready: Fetch, number: str) -> None:
    assert ready(f"/runs/mine?question={number}").status_code in (404, 422)


def test_runs_beside_each_other(ready: Fetch) -> None:
    page = ready("/runs/lab/arm-a/seed-0/set?question=2&beside=lab/arm-b/seed-0/set")
    text = shown_text(page.text)
    assert page.status_code == 200 and "sprain ✗ wrong" in text and "gout ✓ correct" in text
    assert "reference, found: A 1, B 1" in text
    three = shown_text(ready("/runs/mine?question=2&beside=lab/arm-a/seed-0/set&beside=lab/arm-b/seed-0/set").text)
    assert "reference, found: A 1, B 1, C 1" in three and "C: lab/arm-b/seed-0/set" in three
    assert ready("/runs/mine?question=1&beside=../etc").status_code == 404
    many = "&".join(f"beside={number}" for number in range(13))
    assert ready(f"/runs/mine?question=1&{many}").status_code == 422


def test_a_run_has_the_report_that_is_made_of_its_files(ready: Fetch, folder: Path) -> None:
    page = ready("/runs/lab/arm-a/seed-0/set?part=report")
    text = shown_text(page.text)
    assert page.status_code == 200 and "Every metric" in text
    assert re.search(r"Coverage ↑ distinct references found per set: coverage 1\.00 \[", text)
    assert 'href="/runs/lab/arm-a/seed-0/set">This run and its questions<' in page.text
    [policy] = page.headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy and "script" not in policy and "form-action 'none'" in policy
    config = run_at(folder / "lab/arm-a/seed-0/set")
    own = report_html(title=text[:1], intro=(), arms=[read_arm(Arm(config.label, config.kind, (config.folder,)))])
    table = '<table class="metrics">'
    assert page.text[page.text.index(table) :].split("</tbody>")[0] == own[own.index(table) :].split("</tbody>")[0]


def test_a_stored_report_is_shown_and_nothing_in_it_runs(pages: Visitor, folder: Path) -> None:
    (folder / "lab" / runs.REPORT).write_text("<style>p{color:red}</style><p>hello<script>alert(1)</script>")
    assert 'href="/runs/lab?part=report"' in pages.get("/runs").text
    reply = pages.get("/runs/lab?part=report")
    [policy] = reply.headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy and "style-src 'unsafe-inline'" in policy and "script" not in policy
    assert policy.endswith("; sandbox") and "<p>hello" in reply.text
    (folder / "mine" / runs.METRICS).unlink()
    reply = pages.get("/runs/mine?part=report")
    assert reply.status_code == 404 and "no metrics.json to make one of" in shown_text(reply.text)


def test_the_folders_own_report(pages: Visitor, folder: Path) -> None:
    (folder / runs.REPORT).write_text("<p>all")
    assert pages.get("/runs/?part=report").text == "<p>all"
    assert pages.get("/runs/").headers["location"] == "/runs"


def test_no_address_leads_out_of_the_folder(live: Live, folder: Path) -> None:
    secret = write_run(folder.parent / "secret")
    (secret / runs.REPORT).write_text("SECRET")
    (folder / "out").symlink_to(secret)
    port = live(pages=shown(folder))
    for path in ELSEWHERE:
        for query in ("", "?part=report", "?question=1"):
            # As it goes over the wire: most clients take dots away first.
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", path + query)
            reply = connection.getresponse()
            text = reply.read().decode()
            connection.close()
            assert reply.status == 404, path + query
            assert "SECRET" not in text and "What is it" not in text


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (runs.JUDGED, '{"id": "q1"}\n', "mine/judged.jsonl, line 1: verdicts is missing"),
        (runs.JUDGED, "\n{\n", "mine/judged.jsonl, line 2: not valid JSON"),
        (runs.JUDGED, "\udcff", "mine/judged.jsonl, line 1: not UTF-8"),
        (runs.METRICS, "{", "mine/metrics.json: not valid JSON"),
        (runs.METRICS, '{"metrics": []}', None),
        (runs.METRICS, '{"metrics": {"coverage": []}}', "metrics, coverage"),
        (runs.COMPLETIONS, "nonsense\n", "mine/completions.jsonl, line 1: not valid JSON"),
        (runs.CONFIG, "{", None),
        (runs.CONFIG, '{"config": [1]}', None),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_shown(
    ready: Fetch, folder: Path, file: str, content: str, said: str | None
) -> None:
    (folder / "mine" / file).write_text(content, encoding="utf-8", errors="surrogateescape")
    page = ready("/runs/mine")
    assert page.status_code == 200
    if said is not None:
        assert said in shown_text(page.text)
    assert ready("/runs").status_code == 200
    for query in ("question=1", "part=report", "show=missed"):
        assert ready(f"/runs/mine?{query}").status_code in (200, 404, 422)


@pytest.mark.parametrize("file", [runs.METRICS, runs.CONFIG, runs.TRAIN_METRICS])
def test_no_value_of_any_field_breaks_a_page(visit: Visit, tmp_path: Path, file: str) -> None:
    home = tmp_path / "arm" / "seed-0"
    write_training(home)
    folder = write_run(home / "set", {"q1": GOOD["q1"]})
    path = home / file if (home / file).exists() else folder / file
    first = json.loads(path.read_text().splitlines()[0] if file == runs.TRAIN_METRICS else path.read_text())
    pages = visit(shown(tmp_path))
    for name in first:
        for value in (3, [[]], {"a": [1]}):
            path.write_text(json.dumps({**first, name: value}) + "\n")
            for query in ("", "?part=report"):
                assert pages.get(f"/runs/arm/seed-0/set{query}").status_code in (200, 202, 404, 422)
    assert pages.get("/runs").status_code == 200


def test_what_is_missing_is_said(ready: Fetch, folder: Path) -> None:
    (folder / "mine" / runs.JUDGED).unlink()
    assert "not judged: there is no judged.jsonl" in shown_text(ready("/runs/mine").text)
    (folder / "mine" / runs.METRICS).unlink()
    assert "not evaluated: there is no metrics.json" in shown_text(ready("/runs/mine").text)
    (folder / "mine" / runs.COMPLETIONS).unlink()
    assert ready("/runs/mine").status_code == 404


def test_a_run_without_completions_still_has_verdicts(ready: Fetch, folder: Path) -> None:
    (folder / "mine" / runs.COMPLETIONS).unlink()
    text = shown_text(ready("/runs/mine?question=1").text)
    assert "flu ✓ correct" in text and "the completion is not in completions.jsonl" in text


def test_a_run_judged_into_another_folder_shows_its_texts(ready: Fetch, folder: Path) -> None:
    assert main(["evaluate", str(folder / "mine"), "--out", str(folder / "again")]) == 0
    text = shown_text(ready("/runs/again?question=1").text)
    assert "What is it, q1?" in text and "Model output" in text


@pytest.mark.parametrize("file", ["set/judged.jsonl", "set/config.json", "config.json", "metrics.jsonl"])
def test_no_report_is_made_of_files_outside_the_folder(ready: Fetch, folder: Path, tmp_path: Path, file: str) -> None:
    path = folder / "lab" / "arm-a" / "seed-0" / file
    (tmp_path / "secret").write_text(path.read_text() if path.exists() else "{}")
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "secret")
    reply = ready("/runs/lab/arm-a/seed-0/set?part=report")
    assert reply.status_code == 404 and "leads out of the folder" in shown_text(reply.text)


def test_texts_outside_the_folder_are_not_shown(ready: Fetch, folder: Path, tmp_path: Path) -> None:
    secret = write_run(tmp_path / "secret")
    assert main(["evaluate", str(secret), "--out", str(folder / "again")]) == 0
    text = shown_text(ready("/runs/again?question=1").text)
    assert "flu ✓ correct" in text and "What is it" not in text and "Model output" not in text


def test_a_run_that_changes_is_read_anew(ready: Fetch, folder: Path) -> None:
    assert "missed 1" in shown_text(ready("/runs/mine").text)
    write_run(folder / "mine", {"q1": GOOD["q1"]})
    assert "missed 0" in shown_text(ready("/runs/mine").text)


def test_what_is_being_read_says_so_and_comes_back(visit: Visit, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymode.web.pages.run_reader.PATIENCE", 0.0)
    pages = visit(shown(folder))
    first = pages.get("/runs/mine")
    assert first.status_code in (200, 202)
    for _ in range(500):
        page = pages.get("/runs/mine")
        if page.status_code == 200:
            return
        assert "In preparation" in page.text and page.headers["refresh"] == "2"
    raise AssertionError("never ready")


def test_text_of_models_and_files_is_inert(visit: Visit, tmp_path: Path) -> None:
    name = "<script>alert(1)<&script> \"' {{7*7}}"
    write_run(
        tmp_path / name,
        {"q1": [answers(("&lt;b&gt;", 0.9), ("<script>x", 0.2), thought=HOSTILE)], HOSTILE: [HOSTILE]},
        questions={"q1": HOSTILE, HOSTILE: HOSTILE},
        references={"q1": [HOSTILE], HOSTILE: ["<img src=x onerror=alert(1)>"]},
    )  # fmt: skip
    write_training(tmp_path / name, method=HOSTILE, task="<b>")
    pages = visit(shown(tmp_path))
    [link] = set(re.findall(r'href="(/runs/[^"?]*)"', pages.get("/runs").text))
    for path in ("/runs", link, f"{link}?question=1", f"{link}?question=2", f"{link}?find=%3Cscript%3E", "/compare"):
        reply = pages.get(path)
        assert reply.status_code == 200, path
        found = Tags(reply.text)
        assert found.tags <= TABLES, (path, found.tags - TABLES)
        assert not {a for a in found.attributes if a.startswith("on") or a == "style"}
        assert "\x1b" not in reply.text
        policy = reply.headers["content-security-policy"]
        assert "script-src 'self';" in policy and "unsafe" not in policy
        assert re.findall(r"<script[^>]*>", reply.text) == ['<script src="/static/desk.js" defer>']


def test_pages_of_runs_need_a_session_where_there_are_keys(visit: Visit, folder: Path) -> None:
    pages = visit(shown(folder), keys=Keys({hash_of("pm-secret"): Caller("anna")}))
    for path in ("/runs", "/runs/mine", "/runs/lab?part=report", "/compare"):
        assert pages.get(path).status_code == 303
    pages.sign_in("anna", key="pm-secret")
    assert pages.get("/runs").status_code == 200


def test_without_a_folder_there_are_no_such_pages(visit: Visit) -> None:
    pages = visit(PageOptions())
    assert pages.get("/runs").status_code == 404 and 'href="/runs"' not in pages.get("/").text


def test_pages_are_not_in_the_description_of_the_api(folder: Path, model: Model) -> None:
    paths = create_app(serving(), model, pages=shown(folder)).openapi()["paths"]
    assert not [path for path in paths if path.startswith(("/runs", "/compare", "/relabel"))]


@pytest.mark.parametrize(
    ("value", "text"), [(-0.0001, "0.000"), (-0.5, "-0.500"), (1234.5, "1,234.500"), (float("nan"), "–"), (None, "–")]
)
def test_numbers_as_they_are_written(value: float | None, text: str) -> None:
    assert number(value, 3) == text
