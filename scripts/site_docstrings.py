"""Docstrings as Markdown for the documentation site: doctests, literal blocks and tables become code blocks."""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)
TABLE = re.compile(r"^( *)=+ =+\n(?:\1.*\n)*?\1=+ =+$", re.MULTILINE)
LITERAL = re.compile(r"^( *)::\n\n|::$", re.MULTILINE)


def as_markdown(docstring: str) -> str:
    """A docstring with everything that Markdown would run together set apart."""
    fenced = DOCTEST.sub(lambda match: _fence(match, "pycon"), docstring)
    fenced = TABLE.sub(lambda match: _fence(match, "text"), fenced)
    return LITERAL.sub(lambda match: "" if match[0].endswith("\n") else ":", fenced)


def _fence(match: re.Match[str], language: str) -> str:
    return f"{match[1]}```{language}\n{match[0]}\n{match[1]}```"


class SiteDocstrings(griffe.Extension):
    """Applies `as_markdown` to every docstring that mkdocstrings collects."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
