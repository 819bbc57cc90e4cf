"""The look and the templates: colours of the report, numbers, and that nothing is loaded from elsewhere."""

import math
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import jinja2
import pytest

from polymode.report.charts import COLOURS
from polymode.web.pages import rendering
from polymode.web.pages.rendering import minute, number, script, style_sheet

TEMPLATES = sorted((Path(rendering.__file__).parent / "templates").rglob("*.html"))


def test_pages_and_report_have_the_same_colours() -> None:
    light, dark = re.findall(r":root\{(.*?)\}", style_sheet())
    for name, ours in (("ink", "ink"), ("muted", "muted"), ("card", "card"), ("multi-rlcr", "link")):
        for sheet, colour in zip((light, dark), COLOURS[name], strict=True):
            assert f"--{ours}:{colour}" in sheet
    template = (Path(rendering.__file__).parents[2] / "report" / "page.html.j2").read_text(encoding="utf-8")
    for name in ("page", "line", "good", "bad", "track", "soft", "conf"):
        assert re.findall(rf"--{name}:(#\w+)", template)[:2] == re.findall(rf"--{name}:(#\w+)", light + dark), name


def test_nothing_is_loaded_from_elsewhere_and_no_template_holds_a_script_but_our_one() -> None:
    assert len(TEMPLATES) >= 7
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        if path.name == "base.html":
            text = text.replace('<script src="/static/desk.js" defer></script>', "", 1)  # the one that is ours
        assert not re.search(r"<script|<style|\son\w+=|\sstyle=|\|\s*safe|javascript:|//[a-z]+\.", text), path.name
        forms = re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL)
        assert all("csrf_field()" in form for form in forms), path.name
    assert not re.search(r"url\(|@import|//[a-z]+\.", style_sheet())
    assert not re.search(r"https?:|//[a-z]+\.|innerHTML|eval\(", script())


def test_every_template_can_be_read_and_lacks_no_name() -> None:
    environment = rendering._templates()
    assert environment.autoescape is True and environment.undefined is jinja2.StrictUndefined
    for path in TEMPLATES:
        environment.get_template(path.relative_to(Path(rendering.__file__).parent / "templates").as_posix())


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.456, "0.46"), (1234.5, "1,234.50"), (None, "–"), (math.nan, "–"), (math.inf, "–"), (0, "0.00")],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_times_are_utc() -> None:
    at = datetime(2026, 3, 1, 1, 5, tzinfo=timezone(timedelta(hours=2)))
    assert minute(at) == '<time datetime="2026-02-28T23:05:00+00:00">2026-02-28 23:05 UTC</time>'
