r"""Which short texts are mathematics, and how they are written for a LaTeX reader (layer L1).

A reader of LaTeX finds an expression in almost anything: ``flu`` is f·l·u, ``act`` equals ``cat``, ``type 2`` is 2. So
a text counts as mathematics only as a whole, and the rest is left to the equality of texts. What people type is turned
into LaTeX where a reader would misread it: ``3 1/2`` (three and a half, not 3·1/2), ``1e-3``, ``2**3``, ``50%``, ``π``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

MAX_CHARS = 1000
"""Longer texts are compared as text."""
MAX_DEPTH = 40
"""Texts with deeper brackets are compared as text; a reader's time grows quickly with the depth."""

_COMMANDS = {"×": "times", "·": "cdot", "π": "pi", "∞": "infty", "≤": "le", "≥": "ge", "≠": "ne"}
_COMMANDS |= {"±": "pm", "∪": "cup", "∩": "cap", "∅": "emptyset"}
_SIGNS = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u00a0": " ", "\u2009": " ", "÷": "/", "\u2044": "/"}
    | {"°": r"^\circ ", "²": "^2", "³": "^3"}
    | {sign: rf"\{command} " for sign, command in _COMMANDS.items()}
    | {sign: rf"\frac{{{above}}}{{{below}}}" for sign, above, below in ("½12", "⅓13", "⅔23", "¼14", "¾34")}
)
"""What stands for one sign in LaTeX."""
_ROOT = re.compile(r"√\s*(?:(\d+|[A-Za-z])|\(([^()√]*)\))")
# Delimiters around the whole text; the inside holds none of them, so `$1$ and $2$` is not taken for one expression.
_WRAPPED = re.compile(
    r"(?:\$\$([^$]*)\$\$|\$([^$]*)\$|\\\(((?:(?!\\[()]).)*)\\\)|\\\[((?:(?!\\[\[\]]).)*)\\\]|\\boxed\{([^{}]*"
    r"(?:\{[^{}]*\}[^{}]*)*)\})",
    re.DOTALL,
)
_CURRENCY = re.compile(r"\\?\$\s*(?=-?[\d.])")
_NAMED = re.compile(
    r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|pi|infty)(?![A-Za-z])"
)
_SQRT = re.compile(r"(?<![\\A-Za-z])sqrt(?:\s*\(([^()]*)\)|\{([^{}]*)\})")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+\.?\d*)[eE]([+-]?\d+)(?![\w.])")
_MIXED = re.compile(r"(?<![\d./^])(\d+)\s+(\d+)\s*/\s*(\d+)(?!\d)")
_PERCENT = re.compile(r"^([+-]?[\d.,]+)\s*\\?%$")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:\\[,;! ]|\s)\d{3})+(?![\d])")
_FILLING = re.compile(r"\\[,;! ]|\s")

_COMMAND = re.compile(r"\\(?:begin|end)\{[a-z]*\*?\}|\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_MARK = re.compile(r"[\d\\^=<>+*/_]")
_LETTERS = re.compile(r"(?=.*-|\(?[^\W\d_]\)?$)(?:[-()\s]|(?<![^\W\d_])[^\W\d_])+")  # `x`, `(A)`, `-x`, `a - b`
_APART = re.compile(r"\d\s+\d")
_DOUBLED = re.compile(r"//|\*\*|[+*/^]\s*$")


@lru_cache(maxsize=1 << 16)
def as_latex(text: str) -> str | None:
    r"""The text as LaTeX without delimiters, or None when it is no mathematics as a whole.

    None too for two letters without an operator (``no`` is not n·o), for words of three letters or more outside
    commands, for numbers that merely stand side by side, and beyond the named limits.

    >>> as_latex("$3 1/2$"), as_latex("50%"), as_latex("type 2 diabetes")
    ('3\\frac{1}{2}', '\\frac{50}{100}', None)
    """
    if len(text) > MAX_CHARS:
        return None
    latex = _unwrapped(text.translate(_SIGNS).strip())
    latex = _CURRENCY.sub("", latex, count=1) if latex.count("$") == 1 else latex
    latex = _ROOT.sub(lambda root: rf"\sqrt{{{root[1] or root[2]}}}", latex)
    latex = _SQRT.sub(lambda root: rf"\sqrt{{{root[1] if root[1] is not None else root[2]}}}", latex)
    latex = _NAMED.sub(r"\\\1 ", latex)
    latex = _SCIENTIFIC.sub(r"\1\\times 10^{\2}", latex).replace("**", "^")
    latex = _MIXED.sub(r"\1\\frac{\2}{\3}", latex)
    latex = _PERCENT.sub(r"\\frac{\1}{100}", latex)
    latex = _GROUPED.sub(lambda number: _FILLING.sub("", number[0]), latex).strip()
    return latex if _is_mathematics(latex) else None


def _unwrapped(text: str) -> str:
    """Without a full stop at the end and without delimiters around the whole."""
    for _ in range(3):  # as in `$\boxed{5}$.`
        text = text.rstrip(".").rstrip() if not text.endswith("..") else text
        match = _WRAPPED.fullmatch(text)
        if match is None:
            break
        text = next(inside for inside in match.groups() if inside is not None).strip()
    return text


def _is_mathematics(latex: str) -> bool:
    if not latex or "$" in latex or "\\(" in latex or not (_MARK.search(latex) or _LETTERS.fullmatch(latex)):
        return False
    rest = _COMMAND.sub(" ", latex)
    if _WORD.search(rest) or _APART.search(latex) or _DOUBLED.search(latex):
        return False
    steps = ((char in "([{") - (char in ")]}") for char in latex)
    return max(accumulate(steps)) <= MAX_DEPTH
