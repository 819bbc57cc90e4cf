"""Listening, and shutting down without dropping requests (layer L6; with `connections` all that imports uvicorn)."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from polymode.errors import ConfigError
from polymode.web.connections import bounded_protocol, most_connections

GRACE_SECONDS = 30
"""How long requests in progress may take after the signal to shut down."""
KEEP_ALIVE_SECONDS = 75
"""How long a connection may wait for its next request: longer than clients and proxies keep theirs (5 to 60 s), so that
they never send one on a connection that is being closed."""
LOG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
    "loggers": {
        "polymode": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}


def serve(app: Any, *, host: str, port: int, ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM; then finish the requests in progress.

    Args:
        app: the application.
        host: address to listen on.
        port: 0 takes a free one.
        ready: called with the server's address once it listens.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    with _listening(host, port) as sock:
        config = uvicorn.Config(
            app,
            log_config=LOG,
            access_log=False,  # the gate logs, without anything that a user wrote
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            http=bounded_protocol(most_connections()),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = uvicorn.Server(config)
        # uvicorn raises the signals that ended it again; by then everything is done.
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            ready(address_of(sock))
            server.run(sockets=[sock])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def check_address(host: str, port: int) -> None:
    """Check before a model is loaded that an address can be listened on; raises ConfigError."""
    _listening(host, port).close()


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ConfigError(f"port = {port} is not allowed: give a whole number from 0 to 65535")
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(address[:2], family=family, backlog=2048)  # type: ignore[arg-type]
    except (OSError, UnicodeError) as exc:
        number = getattr(exc, "errno", None) or 0  # of a name that cannot be resolved it is negative
        reason = os.strerror(number) if number > 0 else getattr(exc, "strerror", None) or exc
        raise ConfigError(f"cannot listen on {host} port {port} ({reason}): choose another --host or --port") from None


def address_of(sock: socket.socket) -> str:
    """How clients of this machine call a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
