r"""Units as people write them after a number, as one symbol each (layer L1).

To a reader of LaTeX ``5 cm`` is 5·c·m, which equals ``5 mc``, and ``5 MW`` equals ``5 mW`` because letters lose their
case. Here each unit of several letters becomes a word, ``5\text{centimeter}``, which stays a factor: powers, quotients
and products of units are compared as such, and units are not converted: ``100 cm`` is not ``1 m``. Units of one letter
(``5 m``) stay letters, which cannot be told from variables. A degree is π/180, so ``sin(30°)`` is 1/2.
"""

from __future__ import annotations

import re

_PREFIXES = {"k": "kilo", "c": "centi", "d": "deci", "m": "milli", "µ": "micro", "μ": "micro", "n": "nano"}
_PREFIXES |= {"M": "mega", "G": "giga", "T": "tera"}
_LETTERS = {"m": "meter metre", "g": "gram gramme", "s": "second sec", "L": "liter litre", "l": "", "W": "watt"}
_LETTERS |= {"J": "joule", "N": "newton", "V": "volt", "A": "ampere amp", "B": "byte", "b": "bit"}
_WORDS = {"hertz": "Hz", "pascal": "Pa", "mole": "mol", "electronvolt": "eV", "calorie": "cal", "ohm": "Ω"}
"""Units that take prefixes; the first word of each is its symbol."""
_OTHERS = {
    "inch": "in inches", "foot": "ft feet", "yard": "yd yards", "mile": "mi miles", "pound": "lb lbs pounds",
    "ounce": "oz ounces", "minute": "min mins minutes", "h": "hr hrs hour hours", "day": "days", "week": "weeks",
    "month": "months", "year": "yr yrs years", "acre": "acres", "gallon": "gal gallons", "hectare": "ha hectares",
    "ton": "tons tonne tonnes", "cent": "cents", "euro": "euros EUR", "rpm": "", "celsius": "", "fahrenheit": "",
    "kelvin": "kelvins", "bar": "", "atm": "", "coulomb": "coulombs", "tesla": "", "farad": "", "weber": "",
}  # fmt: skip


def _names() -> dict[str, str]:
    """Every name of a unit, and its symbol in LaTeX."""
    names: dict[str, str] = {}
    for word, forms in _OTHERS.items():
        names |= dict.fromkeys([word, *forms.split()], word if len(word) == 1 else rf"\text{{{word}}}")
    for abbreviation, forms in (*_LETTERS.items(), *((short, word) for word, short in _WORDS.items())):
        words = forms.split() or ["liter"]
        own = abbreviation if len(abbreviation) == 1 and abbreviation != "Ω" else rf"\text{{{words[0]}}}"
        plurals = [form for word in forms.split() for form in (word, f"{word}s")]
        names |= dict.fromkeys([abbreviation, *plurals], own)
        for prefix, long in _PREFIXES.items():
            symbol = rf"\text{{{long}{words[0]}}}"
            names |= dict.fromkeys([f"{prefix}{abbreviation}", *(f"{long}{word}" for word in plurals)], symbol)
    del names["h"]  # of one letter, hence a letter whether it is written or not
    return {name: symbol for name, symbol in names.items() if len(name) > 1 or name == "Ω"} | {
        "mph": r"\text{mile}/h",
        "kph": r"\text{kilometer}/h",
        "kWh": r"\text{kilowatt}h",
        "rad": "",  # a ratio of two lengths
        "radian": "",
        "radians": "",
        "dollar": "",  # as `$5` is 5
        "dollars": "",
        "USD": "",
    }


SYMBOLS = _names()
_NAME = "|".join(sorted(map(re.escape, SYMBOLS), key=len, reverse=True))
_POWER = r"\^\{?-?\d\}?"
_UNIT = rf"(?:(?:square|sq\.?|cubic)\s+)?(?:(?:{_NAME})(?![A-Za-z])|[A-Za-zΩ](?![A-Za-z]))(?:{_POWER})?"
_TIMES = r"(?:\s*(?:[*/·]|\\cdot|\bper\b)\s*|\s+)"
_TAIL = re.compile(rf"(?<=[\d)}}\]])\s*(?:\\[,;! ]\s*|~)?({_UNIT}(?:{_TIMES}{_UNIT})*)\s*$")
_ONE = re.compile(rf"(?:(square|sq\.?|cubic)\s+)?(?<![A-Za-z\\])({_NAME}|[A-Za-z])(?![A-Za-z])")
_DEGREE = r"(?:°|\^\s*\{?\\circ\}?|\\degree|\bdeg(?:rees?)?\b)"
_TEMPERATURE = re.compile(rf"\s*{_DEGREE}\s*(?:([CF])|(?i:(celsius|centigrade|fahrenheit)))(?![A-Za-z])")
_ANGLE = re.compile(rf"(\d+(?:\.\d+)?)\s*{_DEGREE}")
_OTHER_ANGLE = re.compile(rf"\s*{_DEGREE}")


def with_units(text: str) -> str:
    r"""The text with the units at its end as symbols, and degrees as π/180.

    >>> with_units("5 km/h"), with_units("3 square feet"), with_units("30°")
    ('5 \\text{kilometer}/h', '3 \\text{foot}^{2}', '(30\\cdot\\frac{\\pi}{180})')
    """
    text = _TEMPERATURE.sub(lambda m: r"\text{fahrenheit}" if (m[1] or m[2])[0] in "Ff" else r"\text{celsius}", text)
    tail = _TAIL.search(text)
    if tail is not None and any(match[2] in SYMBOLS for match in _ONE.finditer(tail[1])):
        units = _ONE.sub(_symbol, re.sub(r"\bper\b", "/", tail[1]))
        text = f"{text[: tail.start()]} {units}".rstrip()
    return _OTHER_ANGLE.sub(r"\\cdot\\frac{\\pi}{180}", _ANGLE.sub(r"(\1\\cdot\\frac{\\pi}{180})", text))


def _symbol(match: re.Match[str]) -> str:
    power = {None: "", "cubic": "^{3}"}.get(match[1], "^{2}")
    return SYMBOLS.get(match[2], match[2]) + power
