"""A scripted HTTP endpoint on this machine."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from polymode.verifiers import endpoint

Reply = tuple[int, dict[str, str], bytes]


class Server:
    """Answers each POST with what ``script`` makes of its JSON body; keeps bodies, headers and times."""

    def __init__(self) -> None:
        self.script: Callable[[dict[str, Any]], Any] = sensible
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.released = threading.Event()
        self.busy = self.most_busy = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    server.bodies.append(body)
                    server.headers.append(dict(self.headers))
                    server.times.append(time.monotonic())
                    server.busy += 1
                    server.most_busy = max(server.most_busy, server.busy)
                try:
                    reply = server.script(body)
                    if callable(reply):  # writes to the connection itself
                        reply(self.wfile)
                        return
                    status, headers, content = reply
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                finally:
                    with lock:
                        server.busy -= 1

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def chat(content: Any, finish_reason: str = "stop") -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    return 200, {"Content-Type": "application/json"}, json.dumps({"choices": [choice]}).encode()


def data_of(body: dict[str, Any]) -> dict[str, Any]:
    """What the judge was asked."""
    return json.loads(body["messages"][1]["content"])


def sensible(body: dict[str, Any]) -> Reply:
    """A judge for whom answers are right that start with the same letter, whatever the case."""
    data = data_of(body)
    first = data["answer_to_judge"][:1].lower()
    matches = [right["number"] for right in data["right_answers"] if right["names"][0][:1].lower() == first]
    return chat(json.dumps({"code": data["code"], "matches": matches}))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A fresh endpoint; waits between attempts are short."""
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    one = Server()
    yield one
    one.close()
