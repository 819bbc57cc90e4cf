"""The API's description of itself (layer L6): replies by status, and what the policy accepts.

`/openapi.json` names a schema for every reply, also of refusals, so that clients can be generated from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from polymode.policy import Policy
from polymode.policy.policy import RISK
from polymode.web.chat_replies import ChatChunk
from polymode.web.problems import PROBLEM_TYPE, ErrorReply, ProblemBody

QUESTION_STATUSES = (400, 401, 403, 408, 413, 421, 422, 429, 500, 503, 504)
"""Of requests with a question that are not answered."""
TAGS = [
    {"name": "answers", "description": "Ranked answers and a decision."},
    {"name": "openai", "description": "The same for clients of OpenAI's API."},
    {"name": "operation", "description": "For supervisors, load balancers and monitoring."},
]
_STATUS_TEXT = {
    400: "the body is not JSON",
    401: "no API key, or one that is not known",
    403: "the API key lacks the scope",
    404: "the model is not served here, or no such answer is stored",
    408: "the body came too slowly",
    409: "the answer has an outcome or a review already",
    413: "the body is too long",
    421: "the server is not called by this name",
    422: "a field is not allowed",
    429: "too many requests wait; Retry-After says when to ask again",
    500: "the server failed",
    503: "the model, or the review queue, cannot be used now",
    504: "no completion in time",
}
_COMPONENT = "#/components/schemas/{model}"


def responses(*statuses: int, openai: bool = False) -> dict[int | str, dict[str, Any]]:
    """Descriptions of the replies to requests that are not answered."""
    name, media_type = ("ErrorReply", "application/json") if openai else ("ProblemBody", PROBLEM_TYPE)
    content = {media_type: {"schema": {"$ref": _COMPONENT.format(model=name)}}}
    headers = {"Retry-After": {"description": "seconds", "schema": {"type": "string"}}}
    return {
        status: {
            "description": _STATUS_TEXT[status],
            "content": content,
            **({"headers": headers} if status in (429, 503) else {}),
        }
        for status in statuses
    }


_CHUNK = {
    "type": "string",
    "description": "a ChatChunk as JSON, an ErrorReply where the answer fails half-way, [DONE] in the end",
}
_EVENT = {"type": "object", "properties": {"data": _CHUNK}, "required": ["data"]}
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": _EVENT}}}}
"""The further form of a chat completion."""
PLAIN_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain; version=0.0.4; charset=utf-8": {"schema": {"type": "string"}}}}
}
"""Metrics for Prometheus."""


def describe(app: FastAPI, policy: Policy | None, bodies: Sequence[type[BaseModel]]) -> None:
    """Complete the application's description: schemas that no path declares, classes of risk, groups of the policy.

    Args:
        app: the application.
        policy: that decides; None where nothing is answered.
        bodies: of requests that name a class of risk.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        description = build()
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        for model in (ProblemBody, ErrorReply, *((ChatChunk,) if policy is not None else ())):
            _add(schemas, model)
        if policy is not None:
            for body in bodies:
                _name_groups(schemas[body.__name__], policy)
        return description

    app.openapi = openapi  # type: ignore[method-assign]


def _add(schemas: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template=_COMPONENT, mode="serialization")
    schemas |= schema.pop("$defs", {})
    schemas[model.__name__] = schema


def _name_groups(schema: dict[str, Any], policy: Policy) -> None:
    """Say which classes of risk, and which values of another field, the policy has rules for."""
    needed = set(schema["required"])
    schema["properties"]["risk"]["enum"] = list(policy.risks)
    if "normal" not in policy.risks:
        schema["properties"]["risk"].pop("default", None)
        needed.add("risk")
    if policy.by not in ("", RISK):
        field = {"type": "string", "enum": list(policy.groups)}
        schema["properties"]["meta"] |= {"properties": {policy.by: field}, "required": [policy.by]}
        needed.add("meta")
    schema["required"] = sorted(needed)
