"""`polymode serve`: answers and decisions over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polymode.cli.flags import parse_flags
from polymode.cli.named_values import named_values
from polymode.errors import ConfigError, MissingExtraError


@dataclass(frozen=True)
class Serve:
    """Answer questions over HTTP: ranked answers with confidences, a decision and its reason, many clients at once.

    Pages for people at /. POST /v1/answer-sets, /v1/chat/completions (OpenAI-compatible); GET /v1/models, /health,
    /ready, /metrics and /openapi.json. A guarantee of the policy holds for the model, prompt and sampling settings that
    it was calibrated with.
    """

    model: str | None = None
    """Hugging Face model name or folder; with --backend openai the model's name at the server. Without it and --policy
    there are only pages, of --reviews, --runs or --proposals."""
    policy: Path | None = None
    """Policy to decide by; polymode calibrate writes one."""
    k: int | None = None
    """Answers asked for; the policy's by default, else 3."""
    host: str = "127.0.0.1"
    """Address to listen on; other machines reach the server only by another than the default, which needs API keys."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    keys: Path | None = None
    """File with the hashes of API keys; the environment variable POLYMODE_API_KEYS may hold some too."""
    new_key: str | None = None
    """Make an API key of this name, add its hash to --keys, print the key, and end."""
    allow_without_keys: bool = False
    """Listen where other machines reach the server although there are no keys."""
    reviews: str | None = None
    """Review queue for escalated questions: an SQLite file, or postgresql://USER:PASSWORD@HOST/NAME."""
    pages: bool = True
    """Pages for people: ask a question, review, look at runs, relabel."""
    runs: Path | None = None
    """Folder of runs to look at and compare on the pages."""
    proposals: Path | None = None
    """Proposals of polymode relabel to decide on at the pages; --data names the records that they were made for."""
    relabelled: Path | None = None
    """File that the pages may write the new version of --data into (.jsonl)."""
    data_fields: tuple[str, ...] = ()
    """Where things stand in the records of --proposals as NAME=VALUE: question, references, id, strings, equality."""
    backend: Literal["transformers", "openai"] = "transformers"
    """What runs the model: this process, or a server with an OpenAI-compatible API (vLLM, llama.cpp)."""
    base_url: str | None = None
    """Address of that server up to the version, for example http://localhost:8001/v1."""
    api_key_env: str | None = None
    """Environment variable that holds the key for that server."""
    backend_options: tuple[str, ...] = ()
    """Further fields of each request to that server as NAME=VALUE, for example top_k=0 min_p=0; null removes one."""
    name: str | None = None
    """Name of the model for clients; by default --model, of a folder the last two parts."""
    task: str = "clinic"
    """Task whose prompt style is used; `polymode tasks` lists them."""
    data: Path | None = None
    """Folder or file of the task's data."""
    style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` uses the task's own."""
    exclusive: bool = False
    """Say in the prompt that at most one answer is right (style full)."""
    max_tokens: int = 1536
    """Completions are cut off at this length."""
    temperature: float = 1.0
    """Sampling temperature; 0 takes the most likely token each time."""
    seed: int | None = None
    """Of the sampling; drawn by default."""
    batch: int = 16
    """Most questions at the model at once."""
    wait_ms: float = 10.0
    """Milliseconds that a question waits for others to share a batch with (transformers)."""
    queue: int = 64
    """Questions that may wait; more are refused with status 429."""
    seconds: float = 60.0
    """Time limit of a question, status 504."""


BACK_END_SHARE = 0.9
"""Of a request's time limit, what a server behind may take: so a client learns which of the two was slow."""


def run_serve(args: Sequence[str]) -> int:
    """Load the model, listen, and answer until told to end."""
    options: Serve = parse_flags(Serve, "serve", args)
    if options.new_key is not None:
        return _make_key(options)
    try:
        from polymode.web.app import create_app, create_pages_app
        from polymode.web.server import check_address, serve
    except ImportError as exc:
        raise MissingExtraError(exc.name or "fastapi", "serve", "serving") from None
    from polymode.web.gate import LOCAL_HOSTS
    from polymode.web.keys import check_binding, is_local, read_keys

    _check(options)
    keys = read_keys(options.keys)
    check_binding(options.host, keys, allow_without_keys=options.allow_without_keys)
    settings = None if _is_pages_only(options) else _settings(options)
    check_address(options.host, options.port)
    hosts = None if keys or not is_local(options.host) else {*LOCAL_HOSTS, options.host}
    with _reviews(options) as escalations:
        pages = _pages(options, escalations)
        if settings is None:
            app = create_pages_app(pages, keys=keys, hosts=hosts)
        else:
            app = create_app(
                settings,
                _generator(options),
                keys=keys,
                escalations=escalations,
                hosts=hosts,
                size=1 if options.backend == "openai" else options.batch,
                wait=options.wait_ms / 1000,
                room=options.queue,
                workers=options.batch if options.backend == "openai" else 1,
                seed=options.seed,
                pages=pages,
            )
        serve(app, host=options.host, port=options.port, ready=lambda url: _announce(url, settings, keys, options))
    print("stopped")
    return 0


def _is_pages_only(options: Serve) -> bool:
    """Whether there is something to show, and no model is named."""
    is_shown = any(value is not None for value in (options.reviews, options.runs, options.proposals))
    return options.pages and is_shown and options.model is None and options.policy is None


def _pages(options: Serve, reviews: Any) -> Any:
    """What the pages show; None without pages."""
    if not options.pages:
        return None
    from polymode.web.pages.options import open_pages

    return open_pages(
        reviews,
        runs=options.runs,
        proposals=options.proposals,
        data=options.data,
        relabelled=options.relabelled,
        data_fields=named_values(options.data_fields, "data-fields"),
    )


def _announce(url: str, settings: Any, keys: Any, options: Serve) -> None:
    has_keys = f"API keys: {len(keys)}" if keys else "API keys: none, whoever reaches the server may ask"
    if settings is None:
        print(f"pages at {url}, without a model\n{has_keys}", flush=True)
        return
    policy = settings.policy
    print(f"serving {settings.model_id} at {url}, k = {settings.k}, policy {policy.digest()}")
    print(has_keys)
    if options.reviews is None:
        print("note: without --reviews nobody is told of escalated questions but the client")
    if policy.answer_at is None and policy.offer_at is None:
        print("note: the policy has no threshold, so every question is escalated")
    sys.stdout.flush()


def _reviews(options: Serve) -> Any:
    """The review queue, to be closed; none when none is named."""
    if options.reviews is None:
        return nullcontext()
    from polymode.web.reviews import ReviewQueue

    return ReviewQueue(options.reviews)


def _make_key(options: Serve) -> int:
    from polymode.web.keys import new_key

    if options.keys is None:
        raise ConfigError("--keys FILE is missing: name the file that the new key's hash is added to")
    key = new_key(options.keys, options.new_key or "")
    print(f"{key}\nshown only now; {options.keys} holds its hash, under the name {options.new_key}")
    return 0


def _check(options: Serve) -> None:
    for flag, value in (("runs", options.runs), ("proposals", options.proposals)):
        if value is not None and not options.pages:
            raise ConfigError(f"--{flag} is given with --no-pages, which show it: leave one of them out")
    for flag, value in (("model", options.model), ("policy", options.policy)):
        if value == "" or (value is None and not _is_pages_only(options)):
            raise ConfigError(f"--{flag} is missing; see polymode serve --help")
    for flag, number, high in (("batch", options.batch, 256), ("queue", options.queue, 100_000)):
        if not 1 <= number <= high:
            raise ConfigError(f"--{flag} {number} is not allowed: give a whole number from 1 to {high:,}")
    if not 0 <= options.wait_ms <= 10_000:
        raise ConfigError(f"--wait-ms {options.wait_ms} is not allowed: give a number from 0 to 10,000")
    if (options.base_url is None) == (options.backend == "openai"):
        state = "missing" if options.base_url is None else "given without --backend openai"
        raise ConfigError(f"--base-url is {state}: --backend openai needs the server's address, no other back-end does")
    for flag, given in (("api-key-env", options.api_key_env), ("backend-options", options.backend_options)):
        if given and options.backend != "openai":
            raise ConfigError(f"--{flag} is given without --backend openai: leave it out, or name that back-end")


def _settings(options: Serve) -> Any:
    from polymode import runs
    from polymode.tasks import open_task
    from polymode.web.answer_service import ServingConfig

    assert options.policy is not None and options.model is not None
    policy = runs.read_policy(options.policy)
    style = options.style
    if style == "task":
        data = options.data if options.proposals is None else None
        style = open_task(options.task, data=data).prompt_style
    return ServingConfig(
        model_id=options.name or model_id_of(options.model),
        policy=policy,
        k=options.k if options.k is not None else policy.k or 3,
        style=style,
        exclusive=options.exclusive,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        seconds=options.seconds,
    )


def model_id_of(model: str) -> str:
    """A name as it is; of a folder its last two parts, which say enough and no more about this machine."""
    path = Path(model)
    return "/".join(path.resolve().parts[-2:]).lstrip("/") if path.is_dir() else model


def _generator(options: Serve) -> Any:
    assert options.model is not None
    if options.backend == "openai":
        from polymode.generate.openai_http import OpenAIGenerator

        assert options.base_url is not None
        return OpenAIGenerator(
            options.base_url,
            options.model,
            api_key_env=options.api_key_env,
            timeout=BACK_END_SHARE * options.seconds,
            request_options=named_values(options.backend_options, "backend-options"),
        )
    from polymode.generate.transformers import TransformersGenerator

    return TransformersGenerator(options.model, batch=options.batch, show_progress=False)
