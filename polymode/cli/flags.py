"""From flags to a record of options: cyclopts reads them by the fields of the verb's dataclass."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, fields
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, TypeVar

import yaml
from cyclopts import App, CycloptsError, Parameter, Token, convert
from cyclopts.exceptions import CoercionError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError
from cyclopts.help import DefaultFormatter, PanelSpec
from cyclopts.validators import Number

from polymode.errors import ConfigError

Options = TypeVar("Options")

FLAGS_OF = "flags_of"
"""Metadata key of a field that collects the flags given for the fields of another dataclass, the key's value."""
WIDTH = 98
"""Widest help."""

Count = Annotated[int, Parameter(validator=Number(gte=1))]
"""A whole number from 1."""
SomeCount = Annotated[int | None, Parameter(validator=Number(gte=1))]
"""The same, or nothing: of ``Count | None`` cyclopts would not see the validator."""
Whole = Annotated[int, Parameter(validator=Number(gte=0))]
"""A whole number from 0."""
Temperature = Annotated[float, Parameter(validator=Number(gte=0, lt=float("inf")))]
"""A finite number from 0."""


def parse_flags(kind: type[Options], verb: str, args: Sequence[str]) -> Options:
    """Options of a verb from its command line.

    Fields before ``KW_ONLY`` are positional. A mapping is given as ``NAME=VALUE`` pairs. A field with the metadata
    `FLAGS_OF` gets a dict of what was given for the fields of that class, without its defaults. A class may have a
    static method ``explain_unknown(name)`` for flags that it does not have.

    Raises:
        ConfigError: a flag is unknown, missing or has a value that is not allowed.
    """
    try:
        _, bound, _ = _app(kind, verb).parse_args(list(args), exit_on_error=False, print_error=False)
    except CycloptsError as exc:
        raise ConfigError(f"{_problem(kind, exc)} (see polymode {verb} --help)") from None
    arguments = dict(bound.arguments)
    for owner, field in _flags(kind):
        if field.name in arguments and _is_mapping(_hints(owner)[field.name]):
            arguments[field.name] = named_values(arguments[field.name], field.name.replace("_", "-"))
    own: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if FLAGS_OF in field.metadata:
            names = {inner.name for inner in fields(field.metadata[FLAGS_OF])}
            own[field.name] = {name: value for name, value in arguments.items() if name in names}
        elif field.name in arguments:
            own[field.name] = arguments[field.name]
    return kind(**own)


def named_values(texts: Sequence[str], flag: str) -> dict[str, Any]:
    """``NAME=VALUE`` texts as keyword arguments; values are read as YAML: numbers, true, false, lists, text.

    Raises:
        ConfigError: a text of another form; names the flag that it belongs to.
    """
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and all(part.isidentifier() for part in name.replace(":", ".").split("."))):
            raise ConfigError(f"--{flag} {text!r} is not allowed: write NAME=VALUE, for example threshold=0.1")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            values[name] = value
        if isinstance(values[name], str) and value[:1] in "+-.0123456789":  # YAML 1.1 reads 1e-5 as text
            with suppress(ValueError):
                values[name] = float(value)
    return values


def help_text(kind: type[Any], verb: str) -> str:
    """Usage, description, every flag with its default, and example command lines."""
    from rich.console import Console

    console = Console(width=min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))
    with console.capture() as capture:
        _app(kind, verb).help_print(console=console)
    optional = [p for p in parameters(kind) if p.kind is p.POSITIONAL_ONLY and p.default is not p.empty]
    names = " ".join(f"[{p.name.upper()}{'...' if isinstance(p.default, tuple) else ''}]" for p in optional)
    text = "\n".join(line.rstrip() for line in capture.get().splitlines()).replace("[ARGS]", names, 1)
    return f"{text}\nExamples:\n{examples(kind)}".removesuffix("\nExamples:\n").rstrip()


def examples(kind: type[Any]) -> str:
    """Example command lines of a verb, from the docstring of its options."""
    return textwrap.indent(textwrap.dedent((kind.__doc__ or "").partition("\n    Examples:\n")[2]).rstrip(), "  ")


def _app(kind: type[Any], verb: str) -> App:
    from rich.box import Box

    def command(*args: Any, **flags: Any) -> None:
        """Stand in for the verb; its signature is all that cyclopts needs."""

    command.__signature__ = inspect.Signature(list(parameters(kind)))  # type: ignore[attr-defined]
    app = App(
        name=f"polymode {verb}",
        help=inspect.cleandoc(kind.__doc__ or "").partition("\nExamples:\n")[0],
        help_flags=(),
        group_parameters="Options",
        version_flags=(),
        help_format="markdown",
        help_formatter=DefaultFormatter(panel_spec=PanelSpec(box=Box("    \n" * 8), padding=0)),
        default_parameter=Parameter(consume_multiple=True, negative_iterable=()),
    )
    app.default(command)
    return app


def _flags(kind: type[Any]) -> Iterator[tuple[type[Any], Field[Any]]]:
    """Each field that is a flag, with the class that it is a flag of; a class's own come before inherited ones."""
    rank = {name: -i for i, owner in enumerate(reversed(kind.__mro__)) for name in inspect.get_annotations(owner)}
    for field in sorted(fields(kind), key=lambda field: rank[field.name]):
        if FLAGS_OF in field.metadata:
            yield from _flags(field.metadata[FLAGS_OF])
        else:
            yield kind, field


def parameters(kind: type[Any]) -> Iterator[inspect.Parameter]:
    """The flags of a class of options as parameters that cyclopts understands."""
    for owner, field in _flags(kind):
        hint, annotated = _hints(owner)[field.name], _hints(owner, include_extras=True)[field.name]
        own = [item for item in getattr(annotated, "__metadata__", ()) if isinstance(item, Parameter)]
        details: dict[str, Any] = {"help": _texts(owner).get(field.name)}
        if owner is not kind:
            details["group"] = f"{owner.__name__} options"
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if int in (hint, *typing.get_args(hint)):
            details["converter"] = _whole_numbers
        if _is_mapping(hint):
            hint, details["metavar"], default = tuple[str, ...], "NAME=VALUE...", ()
        details["show_default"] = default is not False and default not in (MISSING, None, "", (), {})
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY if field.kw_only or owner is not kind else inspect.Parameter.POSITIONAL_ONLY,
            default=inspect.Parameter.empty if default is MISSING else default,
            annotation=Annotated[(hint, *own, Parameter(**details))],
        )


def _whole_numbers(hint: Any, tokens: Sequence[Token]) -> Any:
    """The value of a flag that takes whole numbers; cyclopts alone rounds 1.5 to 2."""
    for token in tokens:
        with suppress(ValueError):
            if not float(token.value).is_integer():
                raise CoercionError(token=token, target_type=int)
    return convert(hint, tokens)


@cache
def _hints(kind: type[Any], include_extras: bool = False) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=include_extras)


def _is_mapping(hint: Any) -> bool:
    return any(typing.get_origin(part) in (Mapping, dict) for part in (hint, *typing.get_args(hint)))


@cache
def _texts(kind: type[Any]) -> dict[str, str]:
    """The string below each field of a dataclass and of those that it extends."""
    texts = {}
    for owner in reversed(kind.__mro__[:-1]):
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        for field, text in pairwise(tree.body):  # type: ignore[attr-defined]
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                texts[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return texts


def _problem(kind: type[Any], exc: CycloptsError) -> str:
    """What is wrong, as one clause that names the flag and the value."""
    argument = exc.argument
    if isinstance(exc, UnknownOptionError) and hasattr(kind, "explain_unknown"):
        return kind.explain_unknown((exc.token.keyword or exc.token.value).lstrip("-").replace("-", "_"))
    if isinstance(exc, MissingArgumentError) and argument is not None and exc.keyword is None:
        return f"{argument.name} is missing: {(argument.parameter.help or '').rstrip('.')}"
    if isinstance(exc, UnusedCliTokensError):
        return f"unexpected argument {(exc.unused_tokens or [''])[0]!r}"
    text = str(exc).rstrip(".")
    return text[:1].lower() + text[1:]
