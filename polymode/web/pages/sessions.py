"""Sessions: a random cookie in the browser, and in memory who signed in with it (layer L6).

A restart forgets all sessions, so people sign in again; what they saved is in the review queue. Tokens of forms are
made from the cookie and a secret of the process, so a form belongs to one browser and one run of the server.

Starlette's SessionMiddleware is not used: it keeps the session in a signed cookie, so that a copied cookie would still
be signed in after its owner signed out, and it has one cookie name and one Secure flag for all requests, where this
server names the cookie by port and marks it Secure behind TLS only.

What somebody may do follows from their key as the file of keys is now: a key that is deleted ends its sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from polymode.web.keys import EVERYBODY, Caller, Keys, hash_of
from polymode.web.problems import Problem
from polymode.web.reviews.steps import checked_name

SESSION_SECONDS = 12 * 3600.0
"""How long somebody stays signed in."""
MAX_SESSIONS = 10_000
"""With more, the oldest end."""
MAX_TYPED = 100
"""Forms that are kept for people who sign in again; each is at most as long as a body."""
Fields = tuple[tuple[str, str], ...]
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Session:
    """A person who signed in."""

    reviewer: str
    """As the audit trail names them."""
    until: float
    """On the clock of `Sessions`."""
    key_hash: str = ""
    """Of the key that they signed in with; empty where the server has no keys."""


class Sessions:
    """Sessions of one server.

    Args:
        keys: with any, signing in takes one of them.
        public_url: address by which browsers reach the server; with https the cookie is never sent without TLS.
        clock: seconds.
    """

    def __init__(self, keys: Keys, *, public_url: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._keys, self._clock = keys, clock
        self._is_tls = public_url.startswith("https://")
        self.public_host = urlsplit(public_url).netloc.lower()
        """Host and port of the public address; empty for none."""
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._typed: dict[str, tuple[str, Fields]] = {}

    @property
    def needs_key(self) -> bool:
        """Whether signing in takes an API key."""
        return self._keys.are_required

    def token(self, connection: HTTPConnection) -> str | None:
        """The browser's cookie, if it has the form of ours."""
        token = connection.cookies.get(_cookie_name(connection), "")
        return token if _TOKEN.fullmatch(token) else None

    def of(self, connection: HTTPConnection) -> Session | None:
        """The session of this browser, if it has one that has not ended."""
        session = self._sessions.get(_digest(self.token(connection) or ""))
        if session is None or session.until <= self._clock() or self._rights(session) is None:
            return None
        return session

    def caller(self, connection: HTTPConnection) -> Caller | None:
        """Who the browser's session belongs to, with what they may do; None when nobody signed in."""
        session = self.of(connection)
        return None if session is None else self._rights(session)

    def _rights(self, session: Session) -> Caller | None:
        return self._keys.owner_of_hash(session.key_hash) if self.needs_key else EVERYBODY

    def sign_in(self, name: str, key: str) -> str:
        """A new cookie for a person. The old one never becomes a session, so planting one gains nothing.

        With keys the name is that of the key's owner. Another name may be given, for a key that several people share;
        the owner is then added to it, so that nobody can act as the owner of another key.

        Raises:
            Problem: the key is not known (403).
            ConfigError: the name is not allowed.
        """
        owner = self._keys.owner(key.strip()) if self.needs_key else None
        if self.needs_key and owner is None:
            fix = "give the key that the operator of the server gave you"
            raise Problem(403, "the API key is not known", field="key", allowed="a key that the server knows", fix=fix)
        reviewer = owner.name if owner is not None and name.strip() in ("", owner.name) else checked_name(name)
        if owner is not None and owner.name != reviewer:
            reviewer = f"{reviewer} ({owner.name})"
        token = new_token()
        with self._lock:
            now = self._clock()
            self._sessions = {key: session for key, session in self._sessions.items() if session.until > now}
            while len(self._sessions) >= MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[_digest(token)] = Session(
                reviewer, now + SESSION_SECONDS, hash_of(key.strip()) if self.needs_key else ""
            )
        return token

    def sign_out(self, connection: HTTPConnection) -> None:
        """End the browser's session."""
        with self._lock:
            self._sessions.pop(_digest(self.token(connection) or ""), None)

    def keep_typed(self, token: str, path: str, fields: Fields) -> None:
        """Keep the form that a browser posted to ``path`` until `forget_typed`."""
        with self._lock:
            self._typed.pop(_digest(token), None)
            self._typed[_digest(token)] = path, fields
            while len(self._typed) > MAX_TYPED:
                del self._typed[next(iter(self._typed))]

    def typed(self, connection: HTTPConnection) -> tuple[str, Fields]:
        """Path and fields of the form that is kept for a browser; empty for none."""
        return self._typed.get(_digest(self.token(connection) or ""), ("", ()))

    def forget_typed(self, connection: HTTPConnection) -> None:
        """The browser has posted, or its form is kept elsewhere."""
        with self._lock:
            self._typed.pop(_digest(self.token(connection) or ""), None)

    def form_token(self, token: str) -> str:
        """The token that forms of the browser with this cookie must contain."""
        return hmac.new(self._secret, token.encode(), hashlib.sha256).hexdigest()

    def give_cookie(self, response: Response, connection: HTTPConnection, token: str) -> None:
        """Set the cookie: for this server only, out of reach of scripts, and never sent along from other sites."""
        is_secure = self._is_tls or "https" in (connection.url.scheme, connection.headers.get("origin", "")[:5])
        name = _cookie_name(connection)
        path = base_path_of(connection) or "/"
        response.set_cookie(name, token, path=path, httponly=True, samesite="strict", secure=is_secure)


def base_path_of(connection: HTTPConnection) -> str:
    """Where a proxy shows the server; empty at the root."""
    return connection.scope.get("state", {}).get("base_path", "")


def new_token() -> str:
    """A value for a cookie that nobody can guess."""
    return secrets.token_urlsafe(32)


def _cookie_name(connection: HTTPConnection) -> str:
    # Browsers do not keep the cookies of two servers on one machine apart.
    port = connection.headers.get("host", "").rpartition(":")[2]
    return f"polymode-{port}" if port.isdecimal() and port.isascii() and len(port) <= 5 else "polymode"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
