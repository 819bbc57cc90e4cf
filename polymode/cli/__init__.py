"""The command line: one verb per module, each verb one frozen dataclass of options (layer L5).

Exit codes: 0 done, 2 something the user wrote is wrong (one line says what and how to fix it), 1 anything else that
polymode itself reports, 130 stopped by the user.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from polymode.cli.flags import HelpShown
from polymode.cli.options import VERBS
from polymode.cli.verbs import RUN
from polymode.errors import ConfigError, PolymodeError
from polymode.plugins import importable
from polymode.sandbox.bubblewrap import UNSAFE_LOCAL

__all__ = ["VERBS", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    unsafe = os.environ.get(UNSAFE_LOCAL)
    try:
        if not args or args[0] in ("-h", "--help"):
            print(_help(), flush=True)
            return 0
        if args[0] == "--version":
            print(_version())
            return 0
        if args[0] not in RUN:
            raise ConfigError(f"{args[0]!r} is not a command: use one of {', '.join(VERBS)}")
        with importable(Path.cwd()):  # for module:Name
            return RUN[args[0]](args[1:])
    except HelpShown:
        return 0
    except PolymodeError as exc:
        print(f"error: {' '.join(str(exc).split())}", file=sys.stderr)
        return exc.exit_code
    except BrokenPipeError:  # the reader went away, as in `polymode tasks | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("stopped; finished work is kept, --resume goes on", file=sys.stderr)
        return 130
    finally:  # what one command line allowed, the caller's next one does not
        if unsafe is None:
            os.environ.pop(UNSAFE_LOCAL, None)
        else:
            os.environ[UNSAFE_LOCAL] = unsafe


def _help() -> str:
    lines = [
        "usage: polymode COMMAND [OPTIONS]",
        "",
        "Train, evaluate and use models that answer with a calibrated set.",
        "",
    ]
    lines += [f"  {verb:<10} {text}" for verb, text in VERBS.items()]
    return "\n".join([*lines, "", "polymode COMMAND --help explains a command. Try: polymode reproduce quick"])


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("polymode")
    except metadata.PackageNotFoundError:
        return "not installed (run from its source folder)"
