"""A scripted HTTP server on this machine, which stands for a model behind an endpoint."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


class Server:
    """Answers each POST with what ``script`` makes of its JSON body; keeps bodies, headers and times."""

    def __init__(self, script: Callable[[dict[str, Any]], Any]) -> None:
        self.script = script
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
                finally:
                    with lock:  # before the client can know, and ask for the next
                        server.busy -= 1
                try:
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

            def log_message(self, *_: Any) -> None:
                pass

        class Listening(ThreadingHTTPServer):
            request_queue_size = 64  # of 5, some of many at once are reset

        self._http = Listening(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
