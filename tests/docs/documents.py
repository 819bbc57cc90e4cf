"""The documents as the tests read them: blocks of code, commands, links, prose."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?(?P<rail>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=rail)$",
    re.DOTALL | re.MULTILINE,
)
SHELL = {"", "sh", "bash"}
COMMAND = re.compile(r"(?:^|\s-m |/)polymode (?P<rest>.*)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    body: str
    line: int
    reason: str | None
    """Why the block is not run, from a comment `<!-- not run: ... -->` on the line above it."""


@dataclass(frozen=True)
class Command:
    """One `polymode ...` line."""

    where: str
    words: tuple[str, ...]


def documents(root: Path) -> list[Path]:
    """Every Markdown file that a user or contributor reads."""
    return [root / "README.md", root / "CONTRIBUTING.md", root / "CHANGELOG.md", *sorted((root / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text."""
    return [
        Block(match["info"].strip(), match["body"], text.count("\n", 0, match.start()) + 1, match["reason"])
        for match in FENCE.finditer(text)
    ]


def without_blocks(text: str) -> str:
    """A Markdown text with its fenced blocks emptied, lines kept."""
    return FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)


def inline_code(text: str) -> Iterator[str]:
    """Each `...` of the prose, line breaks as spaces."""
    for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", without_blocks(text)):
        yield " ".join(match[1].split())


def shell_commands(text: str, where: str) -> Iterator[Command]:
    """The `polymode ...` commands of shell lines, continuation lines joined, comments left out."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if found := COMMAND.search(line.strip()):
            yield Command(where, tuple(shlex.split(found["rest"], comments=True)))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub and the site make from the headings of a page."""
    titles = re.findall(r"^#{1,6} (.+)$", without_blocks(text), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "") for title in titles)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in plain}
