"""`polymode serve`: answers and decisions over HTTP."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter
from cyclopts.validators import Number

from polymode.cli.flags import Whole
from polymode.cli.options import DecisionOptions
from polymode.errors import ConfigError, MissingExtraError
from polymode.policy.claims import unlike
from polymode.prompts import QUESTION, build_prompt

if TYPE_CHECKING:
    from polymode.web.answer_service import ServingConfig
    from polymode.web.keys import Keys
    from polymode.web.live.answers import LiveAnswers
    from polymode.web.reviews import ReviewQueue

Scope = Literal["ask", "review", "operate"]
"""As in polymode/web/keys.py."""


@dataclass(frozen=True)
class Serve(DecisionOptions):
    r"""Answer questions over HTTP: ranked answers with confidences, a decision and its reason, for many clients.

    Web pages are at /. The API has POST /v1/answer-sets, /v1/chat/completions (OpenAI-compatible), /v1/systemone, and
    GET /v1/models, /health, /ready, /metrics and /openapi.json. A guarantee of the policy is claimed where model,
    prompt, sampling settings and question are like those that it was calibrated on; else replies say why not.

    Examples:
        polymode serve --model runs/mine/model --policy runs/mine/validation/policy.json
        # in front of another server that runs the model
        polymode serve --model MODEL --style full --policy policy.json \
            --backend openai --base-url http://localhost:8001/v1
        # create an API key, then serve other machines
        polymode serve --new-key anna --scopes ask review --keys keys.txt
        polymode serve --model runs/mine/model --policy policy.json --host 0.0.0.0 --keys keys.txt
    """

    _: KW_ONLY
    model: str | None = None
    """Hugging Face model name or folder; with --backend openai the model's name at that server. Without --model and
    --policy only the web pages of --reviews, --runs or --proposals are served."""
    host: str = "127.0.0.1"
    """Address to listen on. The default is reachable from this machine only; any other needs API keys."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    keys: Path | None = None
    """File with the hashes of API keys; the environment variable POLYMODE_API_KEYS can hold more."""
    new_key: str | None = None
    """Create an API key with this name, add its hash to --keys, print the key and exit."""
    scopes: tuple[Scope, ...] = ("ask",)
    """What the new key allows: ask (put questions), review (the review queue and withheld candidates), operate (metrics
    and runs)."""
    public_url: str | None = None
    """Address by which browsers reach the server through a proxy, for example https://answers.example.org. With https
    the cookie of the web pages is only ever sent over TLS."""
    base_path: str = ""
    """Path under which a proxy shows the server, for example /answers; the proxy may take it off or pass it on."""
    allow_origins: tuple[str, ...] = ()
    """Other sites whose scripts may call the API from a browser, for example https://app.example.org; * for all."""
    allow_without_keys: bool = False
    """Allow other machines to connect although there are no API keys."""
    reviews: str | None = None
    """Review queue for escalated questions: an SQLite file, or postgresql://USER:PASSWORD@HOST/NAME."""
    review_share: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0
    """Random share of all different questions that goes to the review queue whatever was decided, for example 0.02: it
    shows whether confidences and guarantees still hold."""
    store_days: Annotated[float | None, Parameter(validator=Number(gte=0, lt=float("inf")))] = None
    """Days that questions and answers are stored in the database of --reviews; 0 stores nothing. By default 90 with
    --review-share, else 0."""
    second_review: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0
    """Random share of the resolved reviews that another reviewer judges again without seeing the first, for example
    0.1: it shows how far reviewers agree."""
    notify_url: str | None = None
    """Address that is told of each new escalation by a signed POST: https://, or http:// on this machine. The secret of
    the signature is in --notify-secret, or in the environment variable POLYMODE_NOTIFY_SECRET."""
    notify_secret: Path | None = None
    """File with the secret of --notify-url, at least 24 bytes."""
    notify_command: str | None = None
    """Command that is run for each new escalation, with a text on its standard input, for example "mail -s Escalated
    desk@example.org"; no shell reads it."""
    notify_question: bool = False
    """Tell the question's text too."""
    pages: bool = True
    """Serve web pages to ask questions, review, browse runs and relabel."""
    runs: Path | None = None
    """Folder of runs to browse and compare on the web pages."""
    proposals: Path | None = None
    """Proposals of polymode relabel to decide on in the web pages; --data names the records that they belong to."""
    relabelled: Path | None = None
    """File that the web pages may write the new version of --data to (.jsonl)."""
    data_fields: Mapping[str, Any] = field(default_factory=dict)
    """Field names in the records of --proposals: question, references, id, strings, equality."""
    base_url: str | None = None
    """With --backend openai: that server's address including the version, for example http://localhost:8001/v1."""
    api_key_env: str | None = None
    """With --backend openai: environment variable that holds the API key of that server."""
    name: str | None = None
    """Model name shown to clients; by default --model, or the last two parts of a folder."""
    seed: Whole = 0
    """Another seed gives other answers; under any of them the same question always gets the same answer."""
    batch: Annotated[int, Parameter(validator=Number(gte=1, lte=256))] = 16
    """Largest number of completions that the model writes at the same time; 1 rules out that a neighbour's length
    changes an answer by rounding."""
    wait_ms: Annotated[float, Parameter(validator=Number(gte=0, lte=10_000))] = 10.0
    """Milliseconds that a question waits for others to share its batch (transformers)."""
    queue: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 64
    """Largest number of waiting questions; more are refused with status 429."""
    seconds: float = 60.0
    """Time limit for a question; after it the status is 504."""

    @property
    def days(self) -> float:
        """How long answers are stored."""
        return self.store_days if self.store_days is not None else 90.0 if self.review_share else 0.0


BACK_END_SHARE = 0.9
"""Share of a request's time limit that the server behind may use, so that a client learns which of the two was slow."""


def run_serve(options: Serve) -> int:
    """Load the model, then listen and answer until stopped."""
    if options.new_key is not None:
        return _make_key(options)
    try:
        from polymode.generate.room import check_room
        from polymode.web.app import create_app, create_pages_app
        from polymode.web.server import check_address, serve
    except ImportError as exc:
        raise MissingExtraError(exc.name or "fastapi", "serve", "serving") from None
    from polymode.web.gate import LOCAL_HOSTS
    from polymode.web.keys import check_binding, is_local, read_keys

    server = {"base_url": options.base_url, "api_key_env": options.api_key_env}
    server = {name: value for name, value in server.items() if value is not None}
    options = replace(options, backend_options={**server, **options.backend_options})
    _check(options)
    origins = tuple(_origin(origin) for origin in options.allow_origins)
    options = replace(options, base_path=_base_path(options.base_path), allow_origins=origins)
    keys = read_keys(options.keys)
    check_binding(options.host, keys, allow_without_keys=options.allow_without_keys)
    settings = None if _is_pages_only(options) else _settings(options)
    check_address(options.host, options.port)
    public_host = _public_host(options)
    hosts = None if keys or not is_local(options.host) else {*LOCAL_HOSTS, options.host, *public_host}
    senders = _senders(options)
    with _review_queue(options, senders) as escalations:
        pages = _pages(options, escalations)
        if settings is None:
            app = create_pages_app(pages, keys=keys, hosts=hosts, base_path=options.base_path)
        else:
            generator = options.open_generator(
                options.model or "", batch=options.batch, show_progress=False, timeout=BACK_END_SHARE * options.seconds
            )
            form = build_prompt(
                QUESTION,
                settings.k,
                confidence=True,
                exclusive=settings.exclusive,
                style=settings.style,
                ask=settings.ask,
            )
            served = options.conditions(options.model or "", settings.k, [form], settings.style, pool=settings.pool)
            settings = replace(settings, conditions=served)
            shortest = build_prompt("?", settings.k, confidence=True, style=settings.style)
            how: dict[str, Any] = {"k": settings.k, "style": settings.style, "max_tokens": settings.max_tokens}
            check_room(generator, [shortest], confidence=True, **how)
            is_concurrent = getattr(generator, "is_concurrent", False)
            app = create_app(
                settings,
                generator,
                keys=keys,
                escalations=escalations,
                hosts=hosts,
                size=1 if is_concurrent else options.batch,
                wait=options.wait_ms / 1000,
                room=options.queue,
                workers=options.batch if is_concurrent else 1,
                pages=pages,
                base_path=options.base_path,
                allow_origins=options.allow_origins,
                live=_live(options, settings, escalations),
            )
        with _notifier(options, senders, escalations):
            serve(app, host=options.host, port=options.port, ready=lambda url: _announce(url, settings, keys, options))
    print("stopped")
    return 0


def _make_key(options: Serve) -> int:
    from polymode.web.keys import new_key

    if options.keys is None:
        raise ConfigError("--keys FILE is missing: name the file for the new key's hash")
    key = new_key(options.keys, options.new_key or "", options.scopes)
    print(f"{key}\nThis key is not shown again; {options.keys} has its hash under the name {options.new_key}")
    return 0


def _is_pages_only(options: Serve) -> bool:
    """Whether there are pages to serve and no model is named."""
    has_content = any(value is not None for value in (options.reviews, options.runs, options.proposals))
    return options.pages and has_content and options.model is None and options.policy is None


def _check(options: Serve) -> None:
    for flag in ("runs", "proposals"):
        if getattr(options, flag) is not None and not options.pages:
            raise ConfigError(
                f"--{flag} is given with --no-pages, but is shown on the web pages: remove one of the two"
            )
    if options.review_share and not options.days:
        raise ConfigError("--review-share does not go with --store-days 0: the share is drawn from stored answers")
    if options.days and options.reviews is None:
        raise ConfigError("--store-days and --review-share need --reviews, whose database holds the answers")
    if options.days and _is_pages_only(options):
        raise ConfigError("--store-days and --review-share need --model and --policy: without them nothing is answered")
    if options.second_review and options.reviews is None:
        raise ConfigError("--second-review is given without --reviews: name the review queue, or leave it out")
    for flag in ("model", "policy"):
        if getattr(options, flag) in (None, "") and not _is_pages_only(options):
            raise ConfigError(f"--{flag} is missing; see polymode serve --help")
    if options.model is not None:
        options.check_backend(options.model)


def _settings(options: Serve) -> ServingConfig:
    from polymode import runs
    from polymode.web.answer_service import ServingConfig

    assert options.policy is not None and options.model is not None  # _check
    policy = runs.read_policy(options.policy)
    of_task = options if options.proposals is None else replace(options, data=None)  # --data is of the proposals
    return ServingConfig(
        model_id=options.name or model_id_of(options.model),
        policy=policy,
        k=options.k if options.k is not None else policy.k or 3,
        style=of_task.prompt_style(),
        exclusive=options.exclusive,
        ask=of_task.ask(),
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        pool=options.pool_for(policy),
        seed=options.seed,
        meaning=of_task.meaning_of_confidences(),
        input_check=options.input_check,
        seconds=options.seconds,
    )


def model_id_of(model: str) -> str:
    """A model name unchanged; for a folder its last two parts, which reveal no more about this machine."""
    path = Path(model)
    return "/".join(path.resolve().parts[-2:]).lstrip("/") if path.is_dir() else model


def _senders(options: Serve) -> dict[str, Any]:
    """Whom new escalations are told, by channel."""
    from polymode.web.reviews.senders import Command, Webhook, read_secret

    senders: dict[str, Any] = {}
    if options.notify_url is not None:
        senders["webhook"] = Webhook(options.notify_url, read_secret(options.notify_secret))
    if options.notify_command is not None:
        senders["command"] = Command.of(options.notify_command)
    if senders and options.reviews is None:
        raise ConfigError("--notify-url and --notify-command need --reviews, whose database holds what is to be told")
    if not senders and (options.notify_secret is not None or options.notify_question):
        raise ConfigError("--notify-secret and --notify-question need --notify-url or --notify-command")
    return senders


def _notifier(
    options: Serve, senders: Mapping[str, Any], reviews: ReviewQueue | None
) -> AbstractContextManager[object]:
    if not senders or reviews is None:
        return nullcontext()
    from polymode.web.reviews.notices import Notifier

    base = options.public_url.rstrip("/") + options.base_path if options.public_url else ""
    return Notifier(reviews.store, senders, base=base, with_question=options.notify_question)


def _review_queue(options: Serve, notify: Collection[str]) -> AbstractContextManager[ReviewQueue | None]:
    if options.reviews is None:
        return nullcontext()
    from polymode.web.reviews import ReviewQueue

    return ReviewQueue(options.reviews, second_review=options.second_review, notify=notify)


def _live(options: Serve, settings: ServingConfig, escalations: ReviewQueue | None) -> LiveAnswers | None:
    """Where answers are stored; None where they are not."""
    if not options.days:
        return None
    from polymode.web.live.answers import LiveAnswers, deployment_id

    assert escalations is not None  # _check
    deployment = deployment_id(settings.model_id, settings.policy.to_json(), settings.conditions)
    return LiveAnswers(escalations.store, deployment, share=options.review_share, days=options.days)


def _public_host(options: Serve) -> set[str]:
    """Host name of --public-url, as one more name of the server."""
    if options.public_url is None:
        return set()
    try:
        url = urlsplit(options.public_url)
        name, _ = url.hostname, url.port
    except ValueError:
        name, url = None, urlsplit("")
    has_more = url.path not in ("", "/") or url.query or url.fragment or url.username is not None
    if url.scheme not in ("http", "https") or not name or has_more:
        raise ConfigError(
            f"--public-url = {options.public_url!r} is not allowed: give http:// or https:// and a host name, with a "
            "port if it is not the usual one, and nothing else; a path is given by --base-path"
        )
    return {name}


def _base_path(path: str) -> str:
    """The path without a slash at its end; empty for the root."""
    path = path.rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path) or {".", ".."} & set(path.split("/")):
        raise ConfigError(
            f"--base-path = {path!r} is not allowed: give a path that begins with /, of letters, digits and . _ ~ - "
            "between slashes, for example /answers"
        )
    return path


def _origin(origin: str) -> str:
    """An origin as browsers write it."""
    if not re.fullmatch(r"\*|https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?", origin.lower()):
        raise ConfigError(
            f"--allow-origins = {origin!r} is not allowed: give http:// or https:// and a host name, with a port if it "
            "is not the usual one and nothing behind it, or * for all"
        )
    return origin.lower()


def _pages(options: Serve, reviews: ReviewQueue | None) -> Any:
    """What the pages show; None without pages."""
    if not options.pages:
        return None
    from polymode.web.pages.site import open_pages

    names = ("runs", "proposals", "data", "relabelled", "data_fields")
    public_url = options.public_url or ""
    return open_pages(reviews, public_url=public_url, **{name: getattr(options, name) for name in names})


def _announce(url: str, settings: ServingConfig | None, keys: Keys, options: Serve) -> None:
    has_keys = f"API keys: {len(keys)}" if keys else "API keys: none, so anyone who can reach the server can use it"
    if only_ask := ", ".join(keys.without_scopes()):
        has_keys += f"\nnote: these keys may only ask: {only_ask}"
    if settings is None:
        print(f"pages at {url}, without a model\n{has_keys}", flush=True)
        return
    policy = settings.policy
    sets = f"k = {settings.k}" + (f", {settings.pool} completions pooled" if settings.pool > 1 else "")
    print(f"serving {settings.model_id} at {url}, {sets}, policy {policy.digest()}\n{has_keys}")
    if options.reviews is None:
        print("note: without --reviews only the client learns of an escalated question")
    if not policy.shows_anything:
        print("note: the policy has no threshold, so every question is escalated")
    if policy.promises and (reason := unlike(policy, settings.conditions)):
        print(f"note: no guarantee is claimed: {reason}")
    if options.days:
        share = f", {options.review_share:.4g} of different questions go to review" if options.review_share else ""
        print(f"answers are stored for {options.days:g} days{share}")
    sys.stdout.flush()
