"""A visitor of the pages: follows forms as a browser does, by what the page holds."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from ..conftest import Start

HERE = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
"""What a browser says with a form of this server."""


class Visitor:
    """A browser without eyes."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        client.follow_redirects = False

    def get(self, path: str) -> Any:
        return self.client.get(path)

    def token(self, path: str = "/sign-in") -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.get(path).text)
        assert found is not None
        return found[1]

    def post(
        self, path: str, fields: dict[str, Any] | None = None, *, form_at: str = "/sign-in", **headers: str
    ) -> Any:
        """Post with the token of the form at ``form_at``."""
        sent = {"csrf": self.token(form_at), **(fields or {})}
        return self.client.post(path, data=sent, headers={**HERE, **headers})

    def sign_in(self, name: str, **fields: str) -> Any:
        return self.post("/sign-in", {"name": name, **fields})


def shown_text(page: str) -> str:
    """What a page shows, without markup, white space as one blank."""
    body = re.sub(r"<title>.*?</title>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewQueue]:
    with ReviewQueue(tmp_path / "reviews.db", wait_seconds=10) as queue:
        yield queue


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(start: Start) -> Visit:
    """Opens the pages of a new server; keyword arguments of `create_app`."""

    def begin(shown: PageOptions | None = None, **options: Any) -> Visitor:
        return Visitor(start(pages=shown or PageOptions(), **options))

    return begin
