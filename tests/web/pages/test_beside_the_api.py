"""The pages beside the API: not in its description, counted and logged under few names, and left out by an option."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from polymode.cli import main
from polymode.generate import transformers
from polymode.web.keys import KEYS_VARIABLE
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from ..conftest import Model, Start
from .conftest import Visit


def test_pages_are_not_in_the_description_of_the_api(start: Start, queue: ReviewQueue) -> None:
    with_pages = start(pages=PageOptions(reviews=queue)).app.openapi()  # type: ignore[attr-defined]
    without = start().app.openapi()  # type: ignore[attr-defined]
    assert with_pages == without


def test_addresses_of_pages_are_counted_under_few_names(visit: Visit, queue: ReviewQueue) -> None:
    visitor = visit(PageOptions(reviews=queue))
    for path in ("/reviews/1", "/reviews/2", "/reviews/x/y", "/", "/no-such-page"):
        visitor.get(path)
    counted = visitor.get("/metrics").text
    assert 'polymode_requests_total{key="",path="/reviews",status="404"} 3.0' in counted
    assert 'polymode_requests_total{key="",path="/",status="200"} 1.0' in counted
    assert "/reviews/1" not in counted and "no-such-page" not in counted


@pytest.mark.parametrize("option", ["--pages", "--no-pages"])
def test_the_command_has_pages_unless_told(
    option: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def visit_meanwhile(app: Any, **_: Any) -> None:
        with TestClient(app, base_url="http://localhost") as client:
            seen.extend(client.get(path).status_code for path in ("/", "/reviews", "/health"))

    monkeypatch.setattr("polymode.web.server.serve", visit_meanwhile)
    monkeypatch.setattr(transformers, "TransformersGenerator", lambda *_, **__: model)
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    policy = tmp_path / "policy.json"
    policy.write_text("{}", encoding="utf-8")
    args = ["serve", "--model", "m", "--policy", str(policy), "--port", "0", "--reviews", str(tmp_path / "reviews.db")]
    assert main([*args, option]) == 0
    assert seen == ([200, 200, 200] if option == "--pages" else [404, 404, 200])
