"""Keys of programs without a syntax tree: of those that are too deep by their tokens, of the rest by their text."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections import Counter
from collections.abc import Collection, Iterator

from .values import digest


def text_key(program: str) -> str:
    """``text:`` and a digest of the text with single spaces."""
    return "text:" + digest(" ".join(program.split()))


def token_key(program: str, keep: Collection[str] = ()) -> str:
    """``tokens:`` and a digest of the tokens, names numbered.

    Left out: comments, layout, brackets that only group, double signs, and lines that visibly do nothing.
    """
    try:
        lines = list(_lines(program))
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError, MemoryError):
        return text_key(program)
    uses = Counter(word for line in lines for word in line)
    names = {name: name for name in keep}
    words: list[str] = []
    for line in lines:
        is_unread = line[1:2] == ["="] and uses[line[0]] == 1 and line[0] not in names
        if not _DOING.isdisjoint(line[2:] if is_unread else line) or any(map(keyword.iskeyword, line)):
            words += [names.setdefault(word, f"_{len(names)}") if _is_name(word) else word for word in line]
    return "tokens:" + digest(" ".join(words))


_DOING = frozenset(["(", "=", ":=", "+=", "-=", "*=", "/=", "//=", "%=", "@=", "&=", "|=", "^=", ">>=", "<<=", "**="])
"""Tokens without one of which a line does nothing."""


_LAYOUT = frozenset({"NEWLINE", "INDENT", "DEDENT"})


def _lines(program: str) -> Iterator[list[str]]:
    """The tokens of each logical line with a change of indentation before and the line end after it."""
    words: list[str] = []
    groups: list[bool] = []  # whether each open bracket only groups
    for token in tokenize.generate_tokens(io.StringIO(program).readline):
        word = token.string
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
            continue
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            yield ["pass", tokenize.tok_name[token.type]]
        elif token.type == tokenize.NEWLINE or word == ";":
            yield [*words, "NEWLINE"]
            words = []
        else:
            if word == "(":
                before = words[-1] if words else ""
                is_call = before in (")", "]") or (before[-1:].isalnum() and not keyword.iskeyword(before))
                groups.append(not is_call)
            if (word == "(" and groups[-1]) or (word == ")" and groups and groups.pop()):
                continue
            if word in ("+", "-", "~", "not") and words and words[-1] == word:
                words.pop()  # two signs are none
            else:
                words.append(word)


def _is_name(word: str) -> bool:
    return word.isidentifier() and word not in _LAYOUT and not keyword.iskeyword(word)
