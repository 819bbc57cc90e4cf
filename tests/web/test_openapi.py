"""The API's own description: complete, and kept to for whatever it allows and forbids (schemathesis)."""

import re
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings

from polymode.policy import Policy
from polymode.web.app import create_app
from polymode.web.keys import Caller, Keys

from .conftest import Model, Start, serving

app = create_app(serving(policy=Policy(answer_at=0.8)), Model(), wait=0.0)


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """The application without its end: schemathesis starts and ends it for every request."""
    if scope["type"] != "lifespan":
        await app(scope, receive, send)
        return
    for stage in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{stage}"
        await send({"type": f"lifespan.{stage}.complete"})


schema = schemathesis.openapi.from_asgi("/openapi.json", endless)


def make_last_a_question(messages: Any) -> None:
    """That the last message is a user's and not blank cannot be said in a schema."""
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        if messages[-1].get("role") in ("system", "developer", "assistant"):
            messages[-1]["role"] = "user"
        content = messages[-1].get("content")
        if isinstance(content, str):
            messages[-1]["content"] = content[:-1] + "?"
        elif isinstance(content, list) and content and isinstance(content[-1], dict):
            text = content[-1].get("text")
            content[-1]["text"] = text[:-1] + "?" if isinstance(text, str) else text


@schema.parametrize()
@settings(
    max_examples=10,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
def test_every_reply_is_one_that_the_description_allows(case: schemathesis.Case) -> None:
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
        case.body["model"] = "clinic"  # the one name that leads further than status 404
        make_last_a_question(case.body.get("messages"))
        form = case.body.get("response_format")
        if isinstance(form, dict) and form.get("type") == "json_schema":
            form["type"] = "json_object"  # which schemas are refused no schema can say
    case.call_and_validate()


def test_the_description_names_every_path_field_and_failure(start: Start) -> None:
    described = start(keys=Keys({"0" * 64: Caller("a")})).app.openapi()  # type: ignore[attr-defined]
    paths = described["paths"]
    own = {"/v1/answer-sets", "/health", "/ready", "/metrics"}
    assert set(paths) == {*own, "/v1/systemone", "/v1/chat/completions", "/v1/models", "/v1/models/{model}"}
    post = paths["/v1/answer-sets"]["post"]
    assert set(post["responses"]) == {
        "200",
        "400",
        "401",
        "403",
        "408",
        "413",
        "421",
        "422",
        "429",
        "500",
        "503",
        "504",
    }
    assert post["security"] == [{"HTTPBearer": []}]
    assert "security" not in create_app(serving(), Model()).openapi()["paths"]["/v1/answer-sets"]["post"]
    for name in ("AnswerSetRequest", "ChatRequest", "TypedRequest", "ChoiceQuestion"):
        for field, about in described["components"]["schemas"][name]["properties"].items():
            assert about.get("description"), field


def test_every_operation_has_a_name_a_tag_and_a_schema_for_each_reply(start: Start) -> None:
    described = start().app.openapi()  # type: ignore[attr-defined]
    operations = [one for path in described["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names) and all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name) for name in names)
    tags = {tag["name"] for tag in described["tags"]}
    schemas = described["components"]["schemas"]
    for one in operations:
        assert set(one["tags"]) <= tags and len(one["tags"]) == 1
        for status, reply in one["responses"].items():
            for content in reply["content"].values():
                schema = content["schema"]
                name = schema.get("$ref", "").rpartition("/")[2]
                assert name in schemas or schema.get("type") in ("string", "object"), (one["operationId"], status)
    assert {"ChatChunk", "ErrorReply", "ProblemBody"} <= set(schemas)


def test_the_description_names_the_classes_of_the_policy(start: Start) -> None:
    def request(policy: Policy) -> dict[str, Any]:
        return start({"policy": policy}).app.openapi()["components"]["schemas"]["AnswerSetRequest"]  # type: ignore[attr-defined]

    by_risk = request(Policy(by="risk", groups={"low": Policy(), "red flag": Policy()}))
    assert by_risk["properties"]["risk"]["enum"] == ["low", "red flag"]
    assert by_risk["required"] == ["question", "risk"] and "default" not in by_risk["properties"]["risk"]
    by_ward = request(Policy(by="ward", groups={"3": Policy()}))
    assert by_ward["properties"]["meta"]["properties"] == {"ward": {"type": "string", "enum": ["3"]}}
    assert by_ward["required"] == ["meta", "question"]
    assert by_ward["properties"]["risk"]["enum"] == ["normal", "high"]
    schemas = start({"policy": Policy(by="risk", groups={"low": Policy()})}).app.openapi()["components"]["schemas"]  # type: ignore[attr-defined]
    for body in ("ChatRequest", "TypedRequest"):
        assert schemas[body]["properties"]["risk"]["enum"] == ["low"] and "risk" in schemas[body]["required"]
