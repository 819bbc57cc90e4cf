"""A real browser on a real server: the machine's Chromium, driven by Playwright; skipped where either is missing.

``POLYMODE_CHROMIUM`` names the program, ``POLYMODE_SCREENSHOTS`` a folder that keeps a picture of every page that a
test looks at; without it pictures go to the test's temporary folder.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from polymode.policy import Policy
from polymode.web.app import create_app
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from ..conftest import Model, serving

SECONDS = 60
"""Longest wait for anything in the browser; a busy machine is slow."""
WIDE = {"width": 1100, "height": 800}
PHONE = {"width": 360, "height": 740}

Started = Callable[..., str]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser, one for the tests of a file: while Playwright is open no other test could run an event loop."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    program = os.environ.get("POLYMODE_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(program).exists():
        pytest.skip(f"no Chromium at {program}: install it, or set POLYMODE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        # A browser refuses to shut itself in when it is run by root; what it opens here is our own server only.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=program, args=arguments, timeout=1000 * SECONDS)
        yield browser
        browser.close()


class Window:
    """One person's window on one server. What the content policy forbids, or a request to elsewhere, fails the test."""

    def __init__(self, browser: Any, base: str, shots: Path, **options: Any) -> None:
        self.base, self._shots = base, shots
        self.context = browser.new_context(base_url=base, **{"viewport": WIDE, **options})
        self.context.set_default_timeout(1000 * SECONDS)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", self._asked)
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))

    def _heard(self, message: Any) -> None:
        is_status = "Failed to load resource: the server responded" in message.text
        if message.type in ("error", "warning") and not is_status:
            self.complaints.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:")):
            self.complaints.append(f"asked for {request.url}")

    def open(self, path: str) -> None:
        self.page.goto(path)

    def sign_in(self, name: str, at: str = "/reviews") -> None:
        self.open(f"/sign-in?next={at}")
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_text(f"Signed in: {name}").wait_for()
        self.page.wait_for_load_state()  # what the page does with keys comes with its script

    def press(self, name: str) -> None:
        """Click a button and wait for the page that follows."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name, exact=True).click()

    def see(self, text: str) -> None:
        """Wait until a text can be seen; an option of a list that is not open cannot."""
        self.page.get_by_text(text).filter(visible=True).first.wait_for()

    def look(self, name: str) -> None:
        """Keep a picture; the page must not be wider than the window."""
        self.page.wait_for_load_state()
        width, inner = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width <= inner, f"{name} is {width} pixels wide in a window of {inner}"
        self.page.screenshot(path=str(self._shots / f"{name}.png"), full_page=True)


Opens = Callable[..., Window]


@pytest.fixture
def window(chromium: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    """Opens a window on a server's address; keyword arguments of Playwright's contexts."""
    kept = os.environ.get("POLYMODE_SCREENSHOTS")
    shots = Path(kept) / re.sub(r"\W+", "-", request.node.name) if kept else tmp_path / "shots"
    shots.mkdir(parents=True, exist_ok=True)
    opened: list[Window] = []

    def begin(base: str, **options: Any) -> Window:
        opened.append(Window(chromium, base, shots, **options))
        return opened[-1]

    yield begin
    for one in opened:
        one.context.close()
    assert [complaint for one in opened for complaint in one.complaints] == []


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewQueue]:
    with ReviewQueue(tmp_path / "reviews.db", wait_seconds=20) as queue:
        yield queue


@pytest.fixture
def served(model: Model, queue: ReviewQueue) -> Iterator[Started]:
    """Starts a server with a scripted model and a review queue, and returns its address.

    Args: ``shown`` for other pages than the queue's; keyword arguments of `create_app`.
    """
    running: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def begin(shown: PageOptions | None = None, **options: Any) -> str:
        settings = serving(policy=Policy(answer_at=0.8, offer_at=0.6), k=3)
        app = create_app(settings, model, escalations=queue, pages=shown or PageOptions(reviews=queue), **options)
        sock = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        running.append((server, thread, sock))
        end = time.monotonic() + SECONDS
        while not server.started:
            assert thread.is_alive() and time.monotonic() < end
            time.sleep(0.005)
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    yield begin
    model.gate.set()
    for server, thread, sock in running:
        server.should_exit = True
        thread.join(20)
        sock.close()
