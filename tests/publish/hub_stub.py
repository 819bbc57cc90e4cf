"""A hub on this machine: takes repositories and commits as the Hugging Face hub does, and keeps what it was sent."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What the hub has, and how it behaves."""

    url: str = ""
    status: int = 200
    """Of every reply; above 400 nothing is kept."""
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)


@contextmanager
def hub() -> Iterator[Hub]:
    """Run a hub while the block lasts."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.tokens.add(self.headers.get("Authorization", ""))
            if state.status >= 400:
                return self.reply({"error": "no"})
            if self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
                state.repositories[name] = asked
                return self.reply({"url": f"{state.url}/{name}", "name": name})
            if "/preupload/" in self.path:
                files = [{**one, "uploadMode": "regular", "shouldIgnore": False} for one in json.loads(body)["files"]]
                return self.reply({"files": files})
            if "/commit/" not in self.path:  # the check of a card's metadata
                return self.reply({"errors": [], "warnings": []})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    state.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            repository = self.path.removeprefix("/api").partition("/commit/")[0]
            return self.reply({"commitUrl": f"{state.url}{repository}/commit/1", "commitOid": "1", "success": True})

        def do_GET(self) -> None:
            self.reply({"id": "o/n", "siblings": [], "sha": "0"})

        def reply(self, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(state.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
