"""The documentation site: builds without a warning, and loads nothing from another host."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

LOADS = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data"), ("link", "href")}
ELSEWHERE = re.compile(r"(?:https?:)?//")


class _Loads(HTMLParser):
    """Addresses that a browser fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if value and (tag, name) in LOADS]


def loads(html: str) -> list[str]:
    parser = _Loads()
    parser.feed(html)
    return parser.addresses


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(root)},
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    pages, styles = sorted(site.rglob("*.html")), sorted(site.rglob("*.css"))
    assert len(pages) > 15 and styles
    for page in pages:
        assert [address for address in loads(page.read_text(encoding="utf-8")) if ELSEWHERE.match(address)] == []
    for style in styles:
        assert not re.search(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_the_check_sees_what_a_page_loads() -> None:
    html = '<script src="https://a/b.js"></script><link href="c.css"><a href="https://d">read</a><img src="//e/f.png">'
    assert [address for address in loads(html) if ELSEWHERE.match(address)] == ["https://a/b.js", "//e/f.png"]


def test_the_reference_shows_signatures_and_docstrings(site: Path) -> None:
    page = (site / "reference" / "polymode" / "index.html").read_text(encoding="utf-8")
    assert 'id="polymode.reward_of"' in page
    assert "multi-rlcr" in re.sub(r"<[^>]+>", "", page)


def test_doctests_and_tables_of_docstrings_are_code(site: Path) -> None:
    for page in (site / "reference").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<blockquote>" not in text and "<p>::" not in text and "<p>====" not in text, page


def test_every_page_is_in_the_navigation(root: Path) -> None:
    text = (root / "mkdocs.yml").read_text(encoding="utf-8").split("\nmarkdown_extensions:")[0]
    nav = yaml.safe_load(text)["nav"]
    listed = [page for section in nav for entry in section.values() for page in _pages(entry)]
    pages = [path.relative_to(root / "docs").as_posix() for path in (root / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(pages)


def _pages(entry: str | list[dict[str, str]]) -> list[str]:
    return [entry] if isinstance(entry, str) else [page for item in entry for page in item.values()]
