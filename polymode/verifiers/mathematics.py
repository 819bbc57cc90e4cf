r"""Which short texts are mathematics, and how they are written for a LaTeX reader (layer L1).

A reader of LaTeX finds an expression in almost anything: ``flu`` is f·l·u, ``act`` equals ``cat``, ``type 2`` is 2. So
a text counts as mathematics only as a whole, and the rest is left to the equality of texts. What people type is turned
into LaTeX where a reader would misread it: ``3 1/2`` (three and a half, not 3·1/2), ``1e-3``, ``10^-3``, ``sqrt 2``,
``50%``, ``π``, ``3×10⁵``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import accumulate, pairwise

from polymode.verifiers.formulae import is_no_mathematics
from polymode.verifiers.units import with_units

MAX_CHARS = 1000
"""Longer texts are compared as text."""
MAX_DEPTH = 40
MAX_PARENTHESES = 8
"""Texts with deeper brackets, or deeper parentheses, are compared as text; a reader's time grows quickly with both."""

_COMMANDS = {"×": "times", "·": "cdot", "⋅": "cdot", "∙": "cdot", "∞": "infty", "≤": "le", "≥": "ge", "≠": "ne"}
_COMMANDS |= {"±": "pm", "∪": "cup", "∩": "cap", "∅": "emptyset", "∈": "in", "≈": "approx"}
_COMMANDS |= {
    chr(code): unicodedata.name(chr(code)).split()[-1].lower() for code in (*range(945, 962), *range(963, 970))
}
_SIGNS = str.maketrans({sign: rf"\{command} " for sign, command in _COMMANDS.items()} | {"÷": "/", "∛": r"\sqrt[3]"})
"""What stands for one sign in LaTeX."""
_TYPED = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-")
    | dict.fromkeys("\u00a0\u2009\u202f", " ")
    | {"\u2044": "/", "\u2215": "/", "\u2236": ":", "…": "...", "º": "°"}
    | {letter: rf"\mathbb{{{plain}}}" for letter, plain in zip("ℝℚℤℕℂ", "RQZNC", strict=True)}
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿˣⁱ", "0123456789+-()nxi")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿˣⁱ]+")
_SUBSCRIPT = re.compile("[₀-₉]+")
_FRACTION = re.compile("[¼-¾⅐-⅞↉]")
_DASH = re.compile("(?<=\\d)\\s*[\u2013\u2014]\\s*(?=\\d)")  # of a range, also between spaces

_TEXT_COMMAND = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mbox|mathrm|mathbf|mathit|ce)\s*\{([^{}]*)\}")
_ANSWER = re.compile(r"(?:\*\*)?(?:the\s+)?(?:final\s+)?answer\s*(?:is\s*:?|[:=])(?:\*\*)?\s*|=\s*", re.IGNORECASE)
# Delimiters around the whole text; the inside holds none of them, so `$1$ and $2$` is not taken for one expression.
_WRAPPED = re.compile(
    r"(?:\$\$([^$]*)\$\$|\$([^$]*)\$|\\\(((?:(?!\\[()]).)*)\\\)|\\\[((?:(?!\\[\[\]]).)*)\\\]|\\f?box(?:ed)?\{([^{}]*"
    r"(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}[^{}]*)*)\}|\*\*((?:(?!\*\*).)*)\*\*|__((?:(?!__).)*)__|\*([^*]*)\*|_([^_]*)_"
    r"|```(?:\w*\n)?([^`]*)```|`([^`]*)`)",
    re.DOTALL,
)
_PHRASES = (
    (re.compile(r"(?:there\s+(?:is|are)\s+)?no\s+(?:real\s+)?solutions?|\\varnothing", re.IGNORECASE), r"\emptyset"),
    (re.compile(r"(?:all|any)\s+reals?(?:\s+numbers?)?", re.IGNORECASE), r"\mathbb{R}"),
)
_CURRENCY = re.compile(r"\\?\$\s*(?=-?[\d.])")

_LOG = re.compile(r"(?<![A-Za-z\\])log_?(\d+)(?=\s*\(|\s)")  # `log2(8)`, `log_10 100`
_INFINITY = re.compile(r"(?<![\\A-Za-z])(?:infinity|infty|inf|oo)(?![A-Za-z])")
_NAMED = re.compile(
    r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|pi"
    r"|alpha|beta|gamma|delta|epsilon|theta|lambda|sigma|phi|omega)(?![A-Za-z])"
)
_ATOM = r"(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z]))"
_OPENING = re.compile(r"(?P<root>\\?sqrt|√)\s*\(|(?P<cube>cbrt|\\sqrt\[3\])\s*\(|\^\s*\(")


def _repeating(match: re.Match[str]) -> str:
    r"""``0.1\overline{6}`` as a fraction: (16 - 1) / 90."""
    whole, fixed, period = match.groups()
    digits = f"{whole}{fixed}"
    below = 10 ** len(fixed) * (10 ** len(period) - 1)
    return rf"\frac{{{int(digits + period) - int(digits or '0')}}}{{{below}}}"


def _tower(match: re.Match[str]) -> str:
    """``2^3^4`` as a power of a power, from the right."""
    exponents = [part.strip() for part in match[0].split("^")[1:]]
    return "".join(f"^{{{exponent}" for exponent in exponents) + "}" * len(exponents)


_TYPING = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\left(?![A-Za-z])|\\right(?![A-Za-z])|\\displaystyle(?![A-Za-z])", ""),
        (r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{?(\d+)\}?", _repeating),
        (r"(?<![\d.])(\d+)\.(\d*)\((\d+)\)", _repeating),
        (r"(?<![\d.])(\d+)\.(\d*?)(\d)\3+\s*(?:\.\.\.|\\l?dots)", _repeating),
        (r"\*\*", "^"),
        (r"^\{(?!\d{1,3}(?:,\d{3})+\})([^{}]*,[^{}]*)\}$", r"\\{\1\\}"),  # a typed set
        (r"(?:√|(?<![A-Za-z\\])sqrt)\s*\{", r"\\sqrt{"),
        (rf"(?:√|(?<![A-Za-z\\])sqrt)\s*{_ATOM}", r"\\sqrt{\1}"),
        (rf"\\sqrt\[3\]\s*{_ATOM}", r"\\sqrt[3]{\1}"),
        (r"\\log\s*_\s*(\d)", r"\\log_{\1} "),
        (r"(?<![\w.])(\d+\.?\d*)[eE]([+-]?\d+)(?![\w.])", r"\1\\times 10^{\2}"),
        (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\times "),
        (rf"(?:\^\s*[+-]?\s*{_ATOM})+", _tower),
        (r"\+/?-(?=\s*[\d\\A-Za-z(])", r"\\pm "),
        (r"(?<=[\d})])i(?![A-Za-z])", " i"),  # by itself it is the imaginary unit
        (r"<=", r"\\le "),
        (r">=", r"\\ge "),
        (r"!=", r"\\ne "),
        (r"(?<!\d)\.(?=\d)", "0."),
        (r"(?<![\d./^{])(\d+)\s+(\d+)\s*/\s*(\d+)(?!\d)", r"\1\\frac{\2}{\3}"),
        (r"([\d.,]*\d)\s*(?:\\?%|per\s?cent(?:age)?\b)", lambda m: rf"\frac{{{m[1].replace(',', '')}}}{{100}}"),
        (r"(?<![\d.,])\d{1,3}(?:(?:\\[,;! ]|\s)\d{3})+(?!\d)", lambda m: _FILLING.sub("", m[0])),
    )
)
"""What people type, and what means the same in LaTeX."""
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:\{?,\}?\d{3})+(?![\d,])")
_FILLING = re.compile(r"\\[,;! ]|\s")

_COMMAND = re.compile(r"\\(?:begin|end)\{[a-z]*\*?\}|\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_MARK = re.compile(r"[\d\\^=<>+*/_]|\|.+\||(?<![^\W_])[^\W\d_]!")
_LETTERS = re.compile(r"(?=.*-|\(?[^\W\d_]\)?$|.*\s)(?:[-()\s]|(?<![^\W\d_])[^\W\d_](?![^\W\d_]))+")
"""`x`, `(A)`, `a - b`, `x y`."""
_PRODUCT = re.compile(r"[a-z]{2,3}")
_APART = re.compile(r"\d\s+\d")
_DOUBLED = re.compile(r"//|\*\*|[+*/^]\s*$|->")


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
    latex = unmarked(text)
    if is_no_mathematics(latex):
        return None
    latex = _CURRENCY.sub("", latex, count=1) if latex.count("$") == 1 else latex
    if "," in latex and not re.search(r"[(\[{]", latex.replace("{,}", ",")):
        latex = _THOUSANDS.sub(lambda number: re.sub("[{},]", "", number[0]), latex)
    latex = with_units(latex).translate(_SIGNS)
    latex = _INFINITY.sub(r"\\infty ", _LOG.sub(r"\\log_{\1} ", latex))
    latex = _bracketed(_NAMED.sub(r"\\\1 ", latex))
    for pattern, replacement in _TYPING:
        latex = pattern.sub(replacement, latex)
    latex = latex.strip()
    return latex if _is_mathematics(latex) else None


def as_product(text: str) -> str | None:
    """Two or three letters as a product, which they are only beside mathematics: ``yx`` beside ``x y``."""
    return " ".join(text.strip()) if _PRODUCT.fullmatch(text.strip()) else None


@lru_cache(maxsize=1 << 16)
def unmarked(text: str) -> str:
    r"""The text without markup: Markdown and LaTeX around the whole, ``\text{...}``, "Answer:", a full stop at the end.

    Characters that are typed in several ways have one form: digits, dashes, spaces, powers, fractions.

    >>> unmarked(r"**$\text{Evelyn}$**."), unmarked("3×10⁵"), unmarked("Answer: `73`")
    ('Evelyn', '3×10^{5}', '73')
    """
    if len(text) > MAX_CHARS:
        return text
    if not text.isascii():
        text = _DASH.sub("-", text).translate(_TYPED)
        text = _SUPERSCRIPT.sub(lambda match: f"^{{{match[0].translate(_SUPERSCRIPTS)}}}", text)
        text = _SUBSCRIPT.sub(lambda match: f"_{{{unicodedata.normalize('NFKC', match[0])}}}", text)
        text = _FRACTION.sub(lambda match: r"\frac{{{}}}{{{}}}".format(*_terms(match[0])), text)
        text = unicodedata.normalize("NFKC", text).translate(_TYPED)
    text = _TEXT_COMMAND.sub(_content, text)
    for _ in range(4):  # as in `**Answer:** $\boxed{5}$.`
        text = _ANSWER.sub("", text.strip(), count=1) if _ANSWER.match(text.strip()) else text.strip()
        text = re.sub(r"(?<!\.)\s*[.,;]$", "", text)
        match = _WRAPPED.fullmatch(text)
        if match is None:
            break
        text = next(inside for inside in match.groups() if inside is not None).strip()
    for phrase, latex in _PHRASES:
        text = latex if phrase.fullmatch(text) else text
    return text


def _terms(fraction: str) -> list[str]:
    return [term or "10" for term in unicodedata.normalize("NFKC", fraction).split("\u2044")]


def _content(command: re.Match[str]) -> str:
    r"""What is in ``\text{...}``; ``\text{or}`` stays apart from its neighbours, ``\text{Na}`` does not."""
    return f" {command[1]} " if re.search(r"[A-Za-z]{3}|\b(?:or|and)\b", command[1]) else command[1]


def _bracketed(text: str) -> str:
    r"""``sqrt(...)`` and ``^(...)`` with braces, whatever brackets are inside."""
    start = 0
    while (opening := _OPENING.search(text, start)) is not None:
        depth, end = 1, opening.end()
        while end < len(text) and depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        if depth:
            break
        command = r"\sqrt{" if opening["root"] else r"\sqrt[3]{" if opening["cube"] else "^{"
        text = f"{text[: opening.start()]}{command}{text[opening.end() : end - 1]}}}{text[end:]}"
        start = opening.start() + len(command)
    return text


def is_sequence(latex: str) -> bool:
    """Whether it is a list or a tuple, in which the order counts: ``1, 2``, ``(1, 2)``, not ``x = 1, x = 2``."""
    return len(terms(latex)) > 1 and not re.search(r"=|\\pm|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])|\\lor|\\land", latex)


def terms(latex: str) -> list[str]:
    """The parts between commas outside all brackets, without the round brackets around the whole."""
    if re.fullmatch(r"\s*-?\d{1,3}(?:,\d{3})+(?:\.\d+)?\s*", latex):
        return [latex]
    latex = latex.strip()
    depths = list(accumulate((char in "([{") - (char in ")]}") for char in latex))
    if latex[:1] == "(" and latex[-1:] == ")" and min(depths[:-1], default=0) > 0:
        latex, depths = latex[1:-1], [depth - 1 for depth in depths[1:-1]]
    cuts = [-1, *(i for i, char in enumerate(latex) if char == "," and depths[i] == 0), len(latex)]
    return [latex[first + 1 : last].strip() for first, last in pairwise(cuts)]


def _is_mathematics(latex: str) -> bool:
    if not latex or "$" in latex or "\\(" in latex or not (_MARK.search(latex) or _LETTERS.fullmatch(latex)):
        return False
    rest = re.sub(r"(?<=[\s\d}])(?:or|and)\s", " ", _COMMAND.sub(" ", latex))
    if _WORD.search(rest) or _APART.search(latex) or _DOUBLED.search(latex):
        return False
    return _depth(latex, "([{", ")]}") <= MAX_DEPTH and _depth(latex, "(", ")") <= MAX_PARENTHESES


def _depth(latex: str, opening: str, closing: str) -> int:
    return max(accumulate((char in opening) - (char in closing) for char in latex))
