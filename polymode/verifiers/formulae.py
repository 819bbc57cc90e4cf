r"""Texts with digits that are no mathematics: dates, ranges, times, versions, formulae of chemistry (layer L1).

A reader of LaTeX computes with all of them: ``2024-05-01`` is 2018, ``H2O`` equals ``HO2``, ``12:30`` is 2/5. They are
compared as texts. Two kinds have a form of their own, in which two spellings of one thing are equal:

- a formula of chemistry keeps its case (``CO`` is not ``Co``) and loses its markup (``H_2O`` is ``H2O``);
- a ratio is in lowest terms (``6:8`` is ``3:4``, not ``4:3``, and never a number), unless it may be a time (``6:15``).
"""

from __future__ import annotations

import re
from math import gcd

_ELEMENTS = (
    "He Li Be Ne Na Mg Al Si Cl Ar Ca Sc Ti Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Zr Nb Mo Tc Ru Rh Pd Ag Cd In "
    "Sn Sb Te Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac "
    "Th Pa Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og H B C N O F P S K V Y I W U"
)
_ELEMENT = rf"(?:{'|'.join(_ELEMENTS.split())})"
_GROUP = rf"(?:{_ELEMENT}\d*|[(\[](?:{_ELEMENT}\d*)+[)\]]\d*)"
_FORMULA = re.compile(rf"\d*(?:{_GROUP})+(?:[.·*]\d*(?:{_GROUP})+)?(?:\d*[+-])?")
_MARKUP = re.compile(r"\\(?:text|mathrm|ce)\b|\\[,;! ]|[{}_^]")
_YES_OR_NO = frozenset({"no", "yes"})

_NUMBER = r"\d+(?:[.,]\d+)*"
_NO_MATHEMATICS = re.compile(
    rf"[+~]?{_NUMBER}(?:-{_NUMBER})+(?:\s*[%°]|\s+[A-Za-z].*)?"  # 2024-05-01, 10-20, 555-1234, 10-20 km
    r"|\d{1,4}/\d{1,4}/\d{1,4}(?:[\s,].*)?"  # 5/1/2024
    r"|(?:\+?\d{1,3}[\s-]*)?\(\d{2,5}\)[\s-]*\d{2,5}(?:[\s.-]\d{2,5})+"  # (555) 123-4567
    r"|.*\d\s*:\s*\d.*"  # 12:30, 3:4
    r"|.*(?<![\d.])\d+\.\d+\.\d.*"  # 1.2.3
    r"|.*\d\s*(?:'|\").*"  # 5'11"
    r"|[\d.]+\s*\^?\{?\\?(?:°|circ)\}?\s*[NSEW]\b.*",  # 40° N
    re.DOTALL,
)
_NAME = re.compile(r"(?<![\\A-Za-z])[A-Za-z]+\d")  # B12, H2O, v2, x2
_RATIO = re.compile(r"\d{1,99}(?:\s*:\s*\d{1,99})+")
_TIME = re.compile(r"(?:[01]?\d|2[0-4])(?::[0-5]\d){1,2}")


def is_no_mathematics(text: str) -> bool:
    """Whether ``text`` is of one of the kinds named above, or a name with a number."""
    if _NO_MATHEMATICS.fullmatch(text) or own_form(text) is not None:
        return True
    rest = re.sub(r"\\[A-Za-z]+|(?<![A-Za-z])(?:sqrt|log)(?=\d)|(?<=\d)[eE]\d+(?![\w.])", " ", text)
    return _NAME.search(rest) is not None


def own_form(text: str) -> str | None:
    """The form in which a formula of chemistry or a ratio is compared; None for any other text.

    >>> own_form("H_2O"), own_form("Co"), own_form("6:8"), own_form("6:15"), own_form("C")
    ('H2O', 'Co', '3:4', None, None)
    """
    if _RATIO.fullmatch(text) and not _TIME.fullmatch(text):
        terms = [int(term) for term in text.split(":")]
        divisor = gcd(*terms) or 1
        return ":".join(str(term // divisor) for term in terms)
    formula = _MARKUP.sub("", text)
    if "\\" in text or "_" in text:
        formula = formula.replace(" ", "")
    # A single letter is a variable or a choice, and `NO` may be shouted.
    if len(formula) < 2 or formula.lower() in _YES_OR_NO or not _FORMULA.fullmatch(formula):
        return None
    return formula if re.search("[A-Za-z].*[A-Za-z0-9]", formula) else None
