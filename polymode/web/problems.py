"""Error replies: one line of JSON with field, value, what is allowed, and the fix.

The format is RFC 9457 (application/problem+json) for the paths of this server's own API and for its operation; under
/v1 every other path answers as OpenAI's API does, inside ``error``, where clients of that API look for it, also for
paths that do not exist here. All JSON of the server is written here, so that no text of a user or a model can be
mistaken for HTML.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from polymode import runs
from polymode.errors import (
    DataNotFoundError,
    PolymodeError,
    RecordError,
    ReviewConflictError,
    ReviewStoreError,
    UserError,
    WriteError,
)

MAX_VALUE = 100
"""Characters of a refused value that are sent back."""
PROBLEM_TYPE = "application/problem+json"
OWN_PATHS = ("/v1/answer-sets", "/v1/outcomes", "/v1/systemone")
"""The paths under /v1 that are no part of OpenAI's API."""
_CODES = {401: "invalid_api_key", 403: "insufficient_permissions", 429: "rate_limit_exceeded"}
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Problem(Exception):
    """Why a request is not answered."""

    def __init__(
        self,
        status: int,
        title: str,
        *,
        field: str | None = None,
        value: object = None,
        allowed: str | None = None,
        fix: str,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(title)
        self.code = code
        """What OpenAI's API calls it."""
        self.status, self.title, self.headers = status, title, dict(headers or {})
        self.field, self.value, self.allowed, self.fix = field, _shortened(value), allowed, fix

    def body(self, request_id: str) -> dict[str, object]:
        """As JSON: the fields of `ProblemBody`."""
        return {name: getattr(self, name, request_id) for name in ProblemBody.model_fields}

    def line(self) -> str:
        """As one sentence."""
        where = "" if self.field is None else f" ({self.field}; allowed: {self.allowed})"
        return f"{self.title}{where}: {self.fix}"


class ProblemBody(BaseModel):
    """Why a request is not answered."""

    title: str
    """What is wrong."""
    status: int
    field: str | None
    """Field of the request, a path such as messages.0.content; null when it is about none."""
    value: str | int | float | bool | None
    """What was sent, shortened."""
    allowed: str | None
    fix: str
    request_id: str


class OpenAIProblem(ProblemBody):
    """The same for clients of OpenAI's API."""

    message: str
    """Title, field, what is allowed and fix in one sentence."""
    type: str
    param: str | None
    """The field."""
    code: str | None


class ErrorReply(BaseModel):
    """Why a request is not answered, in the form of OpenAI's API."""

    error: OpenAIProblem


class SafeJSON(JSONResponse):
    """JSON on one line whose ``<``, ``>`` and ``&`` are escaped, so that it is inert wherever it ends up."""

    def render(self, content: Any) -> bytes:
        """As bytes of ASCII."""
        return dumped(content).encode("ascii")


def dumped(content: Any) -> str:
    """JSON on one line, ASCII only, without the characters that HTML gives a meaning."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def problem_response(problem: Problem, request_id: str, path: str) -> SafeJSON:
    """The reply to a request that is not answered."""
    if is_openai(path):
        return SafeJSON(error_of(problem, request_id), problem.status, problem.headers)
    return SafeJSON(problem.body(request_id), problem.status, problem.headers, PROBLEM_TYPE)


def is_openai(path: str) -> bool:
    """Whether clients of OpenAI's API call a path, or may take it for one of that API."""
    return (path == "/v1" or path.startswith("/v1/")) and not path.startswith(OWN_PATHS)


def error_of(problem: Problem, request_id: str) -> dict[str, Any]:
    """A refusal in the form of OpenAI's API: the fields of `ErrorReply`."""
    kind = _TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "server_error")
    code = problem.code or _CODES.get(problem.status)
    own = {"message": problem.line(), "type": kind, "param": problem.field, "code": code}
    return {"error": {**own, **problem.body(request_id)}}


def problem_of(errors: Sequence[Mapping[str, Any]], model: type[BaseModel], body: object) -> Problem:
    """The first of pydantic's errors about a ``body`` of ``model``; of the alternatives of a value the deepest one.

    A message's content, for example, is neither a text nor a list of texts: that its second part is an image says more
    than that it is no text.
    """
    paths = [_path(error, body) for error in errors]
    depths = [len(path) if path[: len(paths[0])] == paths[0] else -1 for path in paths]
    place = depths.index(max(depths))
    error, path = errors[place], paths[place]
    kind = error["type"]
    fields = ", ".join(model.model_fields)
    if kind == "json_invalid":
        return Problem(400, "not JSON", field="body", allowed="a JSON object", fix="send valid JSON")
    if not path:
        fix = "send an object, with the header Content-Type: application/json"
        return Problem(422, "not a JSON object", field="body", allowed=f"a JSON object with {fields}", fix=fix)
    field, value = ".".join(path), error.get("input")
    if kind == "extra_forbidden":
        allowed = f"one of {fields}" if len(path) == 1 else "as GET /openapi.json describes them"
        return Problem(422, "unknown field", field=field, value=value, allowed=allowed, fix="leave it out")
    description = model.model_fields[path[0]].description if path[0] in model.model_fields else None
    if kind == "missing":
        return Problem(422, "a field is missing", field=field, allowed=description, fix="add it")
    message = " ".join(str(error["msg"]).split())
    fix = f"change it: {message[:1].lower()}{message[1:]}"
    return Problem(422, "a value is not allowed", field=field, value=value, allowed=description, fix=fix)


def _path(error: Mapping[str, Any], body: object) -> list[str]:
    """Names and places of the fields that lead to an error.

    Between them stand names of the alternatives of a union, such as list[TextPart], which say nothing to a client.
    """
    path: list[str] = []
    value, parts = body, error["loc"][1:]
    for number, part in enumerate(parts, 1):
        try:
            value = value[part]  # type: ignore[index]
        except (LookupError, TypeError):
            if error["type"] != "missing" or number < len(parts):
                continue
        path.append(str(part))
    return path


def problem_of_exception(exc: Exception, model: type[BaseModel] | None = None) -> Problem:
    """Why a request is not answered, whatever was raised.

    Args:
        exc: what was raised.
        model: of the request's body, where a body was refused.
    """
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, RequestValidationError) and model is not None:
        return problem_of(exc.errors(), model, exc.body)
    if isinstance(exc, HTTPException):
        messages = {
            400: ("the body cannot be read", "send valid JSON"),
            404: ("no such path", "GET /openapi.json lists the paths"),
            405: ("no such method here", f"use {(exc.headers or {}).get('Allow', 'another one')}"),
        }
        title, fix = messages.get(exc.status_code, (str(exc.detail), "GET /openapi.json describes the requests"))
        return Problem(exc.status_code, title, fix=fix, headers=exc.headers)
    return Problem(500, "the server failed", fix="report it with the request_id and the log")


def _shortened(value: object) -> str | int | float | bool | None:
    """A value as it may be sent back: short, and of a plain type."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and math.isfinite(value) and abs(value) < 1e15:
        return value
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:  # an integer of too many digits
        text = type(value).__name__
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}..."


_FIXES: tuple[tuple[type[Exception], int, str], ...] = (
    (runs.ChangedError, 503, "load the page again"),
    (ReviewStoreError, 503, "send it again in a moment; nothing was saved"),
    (WriteError, 503, "free space, or repair the file, then send it again; nothing was written"),
    (ReviewConflictError, 409, "go back to the list"),
    (DataNotFoundError, 404, "go back to the list"),
    (RecordError, 422, "repair the file, then load this page again"),
    (UserError, 422, "go back, change it, and send it again; nothing was written"),
    (PolymodeError, 500, "tell the operator of the server; its log says more"),
    (OSError, 503, "check the folder and its permissions, then load this page again"),
)
"""Status and fix by kind of error; the first that fits counts."""


def problem_of_error(error: Exception) -> Problem:
    """An error of the package, or of reading a file, as a page shows it."""
    status, fix = next((status, fix) for kind, status, fix in _FIXES if isinstance(error, kind))
    if isinstance(error, PolymodeError):
        title = str(error)
    else:  # without the path, which is nobody's business
        title = f"a file cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
    may_pass = isinstance(error, (ReviewStoreError, runs.ChangedError))
    return Problem(status, title, fix=fix, headers={"Retry-After": "2"} if may_pass else None)
