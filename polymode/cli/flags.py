"""From flags to options: tyro reads them; its help gets examples and its errors become one line."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import tyro

from polymode.cli.options import EXAMPLES
from polymode.errors import ConfigError


class HelpShown(Exception):
    """The user asked for help and got it."""


def parse_flags(kind: type[Any], verb: str, args: Sequence[str], default: Any = None) -> Any:
    """Options of a verb from flags.

    By itself tyro prints several lines and leaves the process; here its help gets examples and its errors become one
    line like every other error of polymode.

    Raises:
        ConfigError: a flag or value that is not allowed.
        HelpShown: --help was among the flags.
    """
    extra = {} if default is None else {"default": default}
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            return tyro.cli(
                kind, prog=f"polymode {verb}", args=list(args), config=(tyro.conf.OmitArgPrefixes,), **extra
            )
    except SystemExit as exc:
        if exc.code in (0, None):
            print(_readable_help(out.getvalue(), verb))
            raise HelpShown from None
        problem = _one_line(err.getvalue() or out.getvalue())
    raise ConfigError(f"{problem}; see polymode {verb} --help")


def _readable_help(text: str, verb: str) -> str:
    """The help with ``{None}|PATH`` written as ``PATH``, and examples below."""

    def plain(match: re.Match[str]) -> str:
        return match[1] if "usage:" in text[: match.end()].splitlines()[-1] else match[1].ljust(len(match[0]))

    lines = re.sub(r"\{None\}\|(\w+\]?)", plain, text).rstrip().splitlines()
    text = "\n".join(textwrap.fill(line, 100) if line[:1].strip() else line.rstrip() for line in lines)
    if verb == "train":
        text = text.replace("usage: polymode train", "usage: polymode train [RECIPE.yaml]", 1)
    examples = EXAMPLES.get(verb, ())
    return "\n".join([text, *(["", "examples:"] if examples else []), *(f"  {line}" for line in examples)])


_WORDINGS = {
    r"invalid literal for int\(\) with base 10: (.*)": r"\1 is not a whole number",
    r"could not convert string to float: (.*)": r"\1 is not a number",
    r"^invalid choice (.*) for argument '(.*)'\. Expected one of \((.*)\)$": r"\2: \1 is not known, use one of \3",
    r"^Missing value for argument '(.*)'\. Expected .*$": r"\1 needs a value",
}


def _one_line(text: str) -> str:
    """What tyro's error says in several lines, as one clause that names the flag and the value."""
    rows = [line.strip() for line in text.strip().splitlines()[1:]]  # the first is a title that says less
    joined = " ".join(row if row.strip("-") else "\0" for row in rows)
    parts = [part.strip() for part in joined.split("\0") if part.strip()] or ["options cannot be read"]
    message = re.sub(r"^Error parsing (?:recipe|polymode \w+): ", "", parts[0]).rstrip(". ")
    message = message.removeprefix("Error parsing ")
    missing = re.findall(r"(--[\w-]+ [A-Z]+|[A-Z]+) (.*?)\.? \(required\)", message)
    if message.startswith("Missing from") and missing:
        return "; ".join(f"{flag} is missing: {meaning}" for flag, meaning in missing)
    for pattern, wording in _WORDINGS.items():
        message = re.sub(pattern, wording, message)
    meant = re.findall(r"--[a-z][\w-]*", parts[1]) if len(parts) > 1 and "Perhaps you meant" in parts[1] else []
    message = message[:1].lower() + message[1:]
    return f"{message}; did you mean {' or '.join(dict.fromkeys(meant[:2]))}?" if meant else message
