"""New escalations are told: signed, again after failures and restarts, and never more than is meant to be told."""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError
from polymode.policy import Policy
from polymode.web.reviews import ReviewQueue, senders
from polymode.web.reviews.notices import FIRST_WAIT, LEASE, TRIES, Notifier
from polymode.web.reviews.senders import Command, Notice, NotSent, Webhook, read_secret, signed

SECRET = b"0123456789abcdef01234567"
Add = Callable[..., int]


class Receiver:
    """A web server that keeps what it gets, and answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.replies: list[tuple[int, dict[str, str]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                status, more = receiver.replies.pop(0) if receiver.replies else (204, {})
                self.send_response(status)
                for name, value in {"content-length": "0", **more}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=hidden"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    thread = threading.Thread(target=one.server.serve_forever)
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


class Scripted:
    """A sender that fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.notices = failures, []

    def send(self, notice: Notice) -> None:
        self.notices.append(notice)
        if len(self.notices) <= self.failures:
            raise NotSent("status 500")


def told(queue: ReviewQueue, item_id: int) -> list[Any]:
    return [event.detail for event in queue.events(item_id) if event.what == "told"]


@pytest.fixture
def telling(place: str, clock: Any) -> Iterator[ReviewQueue]:
    with ReviewQueue(place, notify=["webhook"], clock=clock) as queue:
        yield queue


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the reference implementations' own tests.
    secret = senders.base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_escalation_is_posted_signed_and_without_the_question(
    telling: ReviewQueue, clock: Any, add: Add, receiver: Receiver
) -> None:
    item_id = add(telling, "A secret question?", request_id="r1", risk="high")
    assert add(telling, "A secret question?", request_id="r1", risk="high") == item_id  # sent twice, told once
    add(telling, "An answered one?", (("flu", 0.95), ("cold", 0.02)), policy=Policy(answer_at=0.9))
    hook = {"webhook": Webhook(receiver.url, SECRET)}
    notifier = Notifier(telling.store, hook, base="https://desk.example/", clock=clock)
    assert (notifier.send_due(), notifier.send_due()) == (1, 0)
    [(path, headers, body)] = receiver.requests
    assert path == "/hook?key=hidden" and headers["content-type"] == "application/json"
    assert json.loads(body)["data"] == {
        "item": item_id,
        "request_id": "r1",
        "risk": "high",
        "decision": "escalate",
        "url": f"https://desk.example/reviews/{item_id}",
    }
    own = signed(SECRET, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert own["webhook-signature"] == headers["webhook-signature"]
    assert told(telling, item_id) == [{"channel": "webhook"}]


def test_the_documented_check_accepts_it_and_nothing_else(receiver: Receiver) -> None:
    text = (Path(__file__).parents[3] / "docs/serve.md").read_text(encoding="utf-8")
    snippet = text[text.index("  import base64, hashlib, hmac, time") :].partition("  ```")[0]
    names: dict[str, Any] = {}
    exec("\n".join(line[2:] for line in snippet.splitlines()), names)
    Webhook(receiver.url, SECRET).send(Notice("n-1", {"data": {"a": "é"}}))
    [(_, headers, body)] = receiver.requests
    is_genuine = names["is_genuine"]
    assert is_genuine(SECRET, headers, body)
    assert not is_genuine(SECRET + b"x", headers, body) and not is_genuine(SECRET, headers, body + b" ")
    old = signed(SECRET, "n-1", int(headers["webhook-timestamp"]) - 301, body)
    assert not is_genuine(SECRET, old, body)


def test_a_failure_is_tried_again_later_and_after_a_restart(
    place: str, clock: Any, add: Add, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Scripted(failures=2)
    with ReviewQueue(place, notify=["webhook"], clock=clock) as queue:
        item_id = add(queue, "A secret question?")
        assert Notifier(queue.store, {"webhook": sender}, clock=clock).send_due() == 1
    with ReviewQueue(place, clock=clock) as queue:
        again = Notifier(queue.store, {"webhook": sender}, clock=clock)
        assert again.send_due() == 0
        clock.pass_(FIRST_WAIT)
        assert (again.send_due(), again.send_due()) == (1, 0)
        clock.pass_(2 * FIRST_WAIT - 1)
        assert again.send_due() == 0
        clock.pass_(1)
        assert again.send_due() == 1
        assert told(queue, item_id) == [{"channel": "webhook"}]
        clock.pass_(1e6)
        assert again.send_due() == 0
    assert len({notice.id for notice in sender.notices}) == 1 and len(sender.notices) == 3
    assert "secret" not in caplog.text and "status 500" in caplog.text


def test_it_gives_up_in_the_end_and_says_so(
    telling: ReviewQueue, clock: Any, add: Add, caplog: pytest.LogCaptureFixture
) -> None:
    item_id, sender = add(telling), Scripted(failures=1000)
    notifier = Notifier(telling.store, {"webhook": sender}, clock=clock)
    for _ in range(TRIES + 3):
        notifier.send_due()
        clock.pass_(3600)
    assert len(sender.notices) == TRIES
    assert told(telling, item_id) == [{"channel": "webhook", "failed": "status 500"}]
    assert [r.levelno for r in caplog.records].count(logging.ERROR) == 1


def test_processes_take_turns(place: str, clock: Any, add: Add) -> None:
    with ReviewQueue(place, notify=["webhook"], clock=clock) as queue, ReviewQueue(place, clock=clock) as other:
        add(queue)
        sender, second = Scripted(), Scripted()
        rival = Notifier(other.store, {"webhook": second}, clock=clock)

        class Slow:
            def send(self, notice: Notice) -> None:
                assert rival.send_due() == 0  # while the first is still sending
                sender.send(notice)

        assert Notifier(queue.store, {"webhook": Slow()}, clock=clock).send_due() == 1
        clock.pass_(LEASE + 1)
        assert rival.send_due() == 0 and len(sender.notices) == 1


def test_the_thread_sends_while_answering_goes_on(place: str, add: Add) -> None:
    with ReviewQueue(place, notify=["command"]) as queue:
        gate, arrived = threading.Event(), threading.Event()

        class Waiting:
            def send(self, notice: Notice) -> None:
                arrived.set()
                assert gate.wait(20)

        with Notifier(queue.store, {"command": Waiting()}):
            first = add(queue, "1?")
            assert arrived.wait(20)
            assert add(queue, "2?") > first  # nothing waits for a receiver that hangs
            gate.set()


def test_redirects_are_not_followed_and_proxies_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    receiver.replies = [(302, {"location": "/elsewhere"}), (307, {"location": "/elsewhere"}), (500, {})]
    for status in (302, 307, 500):
        with pytest.raises(NotSent, match=f"status {status}"):
            Webhook(receiver.url, SECRET).send(Notice("n", {}))
    assert {path for path, _, _ in receiver.requests} == {"/hook?key=hidden"}
    receiver.server.server_close()
    with pytest.raises(NotSent, match="ConnectionRefusedError"):
        Webhook("http://127.0.0.1:9/x", SECRET).send(Notice("n", {}))


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example/x", "ftp://h/x", "file:///etc/passwd", "https://", "https://u:p@h/x", "https://h/a b"),
        *("http://169.254.169.254/latest", "http://[::ffff:1.2.3.4]/", "https://h:port/", "https://h/\n", "h", ""),
        "http://localhost.evil/",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--notify-url is not allowed"):
        Webhook(url, SECRET)


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(path)
    monkeypatch.delenv(senders.SECRET, raising=False)
    with pytest.raises(ConfigError, match="needs a secret to sign with"):
        read_secret(None)
    path.write_bytes(SECRET + b"\n")
    assert read_secret(path) == SECRET
    monkeypatch.setenv(senders.SECRET, "whsec_" + senders.base64.b64encode(SECRET).decode())
    assert read_secret(None) == SECRET
    monkeypatch.setenv(senders.SECRET, "whsec_***")
    with pytest.raises(ConfigError, match="goes on in base 64"):
        read_secret(None)
    with pytest.raises(ConfigError, match="too short: use at least 24 bytes"):
        Webhook("https://h.example", b"short")
    assert SECRET.decode() not in repr(Webhook("https://h.example", SECRET))


def test_a_command_gets_the_text_and_no_shell_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, add: Add
) -> None:
    monkeypatch.setenv("POLYMODE_API_KEYS", "hidden")
    out = tmp_path / "out.json"
    code = "import json,os,sys; json.dump([sys.argv[2:], sys.stdin.read(), sorted(os.environ)], open(sys.argv[1],'w'))"
    line = f'{sys.executable} -c "{code}" {out} "$HOME; touch x" `id` *'
    with ReviewQueue(place, notify=["command"]) as queue:
        item_id = add(queue, "How is \u20ac spelt?", request_id="r1")
        assert Notifier(queue.store, {"command": Command.of(line)}, with_question=True).send_due() == 1
    arguments, text, environment = json.loads(out.read_text())
    assert arguments == ["$HOME; touch x", "`id`", "*"]
    assert text.startswith("A question waits for a person.\n\n") and f"item: {item_id}\n" in text
    assert "question: How is \u20ac spelt?\n" in text and "request id: r1\n" in text
    assert "POLYMODE_API_KEYS" not in environment and "PATH" in environment


def test_a_command_that_fails_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    notice = Notice("n", {"data": {}})
    with pytest.raises(NotSent, match="exit status 1"):
        Command.of("false").send(notice)
    monkeypatch.setattr(senders, "SECONDS", 0.1)
    with pytest.raises(NotSent, match=r"more than 0.1 s"):
        Command.of("sleep 60").send(notice)
    for line in ("", "  ", "no-such-program x"):
        with pytest.raises(ConfigError, match="no program"):
            Command.of(line)
    with pytest.raises(ConfigError, match="check its quotes"):
        Command.of('mail "')
