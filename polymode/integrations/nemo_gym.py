"""NeMo Gym 0.4: a resources server whose ``/verify`` returns the total and, as ``reward_components``, every term.

::

    # app.py of a resources server
    from polymode.integrations.nemo_gym import PolymodeResourcesServer

    PolymodeResourcesServer.run_webserver()

A row has ``references`` beside ``responses_create_params``, and may have ``k``, ``question``, ``target`` and
``distribution``. The server's configuration may have a mapping ``polymode`` with the fields of
`polymode.integrations.options.Options`, which are checked when the server starts. A row that cannot be used gets the
status 422, with what is wrong with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from polymode.integrations.versions import check_version

check_version("nemo-gym")

from fastapi import HTTPException
from nemo_gym.base_resources_server import (  # pyright: ignore[reportMissingImports]
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from pydantic import Field

from polymode.errors import UserError
from polymode.integrations.options import ROW_FIELDS, Options


class PolymodeServerConfig(BaseResourcesServerConfig):
    """Options of the reward."""

    polymode: dict[str, Any] = Field(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Refuse options that there are not, before the first request."""
        super().model_post_init(context)
        Options.from_mapping(self.polymode)


class PolymodeVerifyRequest(BaseVerifyRequest):
    """A reply and the references of its question."""

    references: Any
    k: int | None = None
    question: str | None = None
    target: str | None = None
    distribution: dict[str, float] | None = None


class PolymodeVerifyResponse(BaseVerifyResponse):
    """The total as ``reward``, its terms as ``reward_components``, which sum to it."""

    reward_components: dict[str, float] | None = None
    """None where the verifier could not judge the reply."""


class PolymodeResourcesServer(SimpleResourcesServer):
    """Scores the last message of a response."""

    config: PolymodeServerConfig

    async def verify(self, body: PolymodeVerifyRequest) -> PolymodeVerifyResponse:  # pyright: ignore
        """NeMo Gym's hook."""
        rule = Options.from_mapping(self.config.polymode)
        row = body.model_dump(include={*ROW_FIELDS})
        text = _text_of(body.response.output)
        try:  # a verifier may take a while: the server goes on with other requests
            score = await asyncio.to_thread(rule.score, text, body.references, row)
        except UserError as exc:
            raise HTTPException(422, str(exc)) from None
        components = None if score.total is None else dict(score.terms)
        return PolymodeVerifyResponse(**body.model_dump(), reward=rule.total(score), reward_components=components)


def _text_of(output: list[Any]) -> str:
    """The last message's text; a response that ends with a call of a tool holds no answer."""
    if not output or output[-1].type != "message":
        return ""
    return "".join(part.text for part in output[-1].content if part.type == "output_text")
