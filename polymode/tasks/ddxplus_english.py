"""DDXPlus evidence codes and whole patients as English, through ``release_evidences.json``.

An entry of that file (English release)::

    "E_55": {"name": "E_55", "code_question": "E_53", "question_en": "Do you feel pain somewhere?",
             "is_antecedent": false, "data_type": "M", "default_value": "V_123",
             "possible-values": ["V_123", "V_14", ...],
             "value_meaning": {"V_123": {"fr": "nulle part", "en": "nowhere"}, ...}}

Codes are whatever the file says, so the French release (``douleurxx_endroitducorps``) reads as well: its entries carry
``question_en`` and English value meanings too. Two styles, named as in ``prompts``: ``full`` writes statements and
every value; ``brief`` writes short labels, leaves out values that mean "nothing to report", names both sides of the
body at once and rounds age to the bands of the DDXPlus paper (arXiv 2205.09148).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polymode.errors import RecordError
from polymode.tasks.data_files import read_json_file
from polymode.tasks.ddxplus_phrases import short_labels, statement_of

VALUE_MARK = "_@_"
"""Stands between an evidence's code and its value: ``E_54_@_V_161``."""

AGE_BANDS: tuple[tuple[int, str], ...] = (
    (0, "under 1"),
    (4, "1 to 4"),
    (14, "5 to 14"),
    (29, "15 to 29"),
    (44, "30 to 44"),
    (59, "45 to 59"),
    (74, "60 to 74"),
    (1000, "75 or more"),
)
"""Oldest age in years of each band, and its text."""

_SIDE = re.compile(r"\((R|L)\)$")
_SIDES = {"R": "right", "L": "left"}
_SMALL_WORDS = frozenset(("of", "the", "a", "aspect", "face"))
_NO, _YES = frozenset(("N", "NA", "nowhere")), "Y"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One question of the interview."""

    code: str
    parent: str
    """Code of the question that this one details; its own code when it stands alone."""
    is_antecedent: bool
    """Belongs to the history, not to the present complaint."""
    statement: str
    """English statement; for a question with values, what the values say: ``location of the pain``."""
    label: str
    """Short name, unique among all evidences."""
    default: str
    """The value that means "nothing to report"; empty for yes-or-no questions, which are listed only when true."""
    values: Mapping[str, str]
    """English of each allowed value; empty for yes-or-no questions."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One evidence of one patient: the question and, where it has values, the value."""

    evidence: Evidence
    value: str = ""

    @property
    def is_default(self) -> bool:
        """Whether it says that there is nothing to report."""
        return bool(self.value) and self.value == self.evidence.default

    @property
    def is_number(self) -> bool:
        """Whether the value is a grade from 0 to 10."""
        return self.value.isdigit()

    @property
    def label(self) -> str:
        """Short English, unique among findings: ``fever``, ``pain at right temple``, ``rash large``."""
        if not self.value:
            return self.evidence.label
        english = self.evidence.values[self.value]
        return self.evidence.label if english == _YES else f"{self.evidence.label} {_short_value(english)}"


def read_evidences(path: Path) -> dict[str, Evidence]:
    """Evidences by code, in the order of the file.

    Raises:
        RecordError: not an object of entries with the official fields.
    """
    raw = read_json_file(path)
    if not isinstance(raw, dict) or not raw:
        raise RecordError(f"{path}: an object with one entry per evidence is needed, got {type(raw).__name__}")
    for code, entry in raw.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("question_en"), str):
            raise RecordError(f"{path}, entry {code!r}: the field 'question_en' is missing; use the official file")
    labels = short_labels([entry["question_en"] for entry in raw.values()])
    out = {}
    for (code, entry), label in zip(raw.items(), labels, strict=True):
        meanings = entry.get("value_meaning") or {}
        allowed = [str(value) for value in entry.get("possible-values") or ()]
        try:
            values = {v: str(meanings[v]["en"]) if v in meanings else v for v in dict.fromkeys((*allowed, *meanings))}
        except (KeyError, TypeError):
            raise RecordError(f"{path}, entry {code!r}: 'value_meaning' lacks English; use the official file") from None
        out[code] = Evidence(
            code=code,
            parent=str(entry.get("code_question") or code),
            is_antecedent=bool(entry.get("is_antecedent")),
            statement=statement_of(entry["question_en"]),
            label=label,
            default=str(entry.get("default_value", "")) if values else "",
            values=values,
        )
    return out


def finding_of(token: str, evidences: Mapping[str, Evidence]) -> Finding:
    """The finding a token such as ``E_91`` or ``E_54_@_V_161`` stands for; raises ValueError naming what is unknown."""
    code, mark, value = token.partition(VALUE_MARK)
    evidence = evidences.get(code)
    if evidence is None:
        raise ValueError(f"evidence {code!r} is not in release_evidences.json")
    if bool(mark) != bool(evidence.values):
        raise ValueError(f"evidence {token!r} {'needs a' if evidence.values else 'takes no'} value")
    if mark and value not in evidence.values:
        raise ValueError(f"value {value!r} of evidence {code!r} is not in release_evidences.json")
    return Finding(evidence, value)


def in_order(tokens: Iterable[str], evidences: Mapping[str, Evidence]) -> list[Finding]:
    """Findings in the order of the file, details behind their question, repeats removed: a set always reads the same.

    Raises:
        ValueError: a token that the file does not know.
    """
    place = {code: i for i, code in enumerate(evidences)}

    def key(finding: Finding) -> tuple[int, bool, int, int]:
        evidence = finding.evidence
        is_detail = evidence.parent != evidence.code and evidence.parent in place
        group = place[evidence.parent] if is_detail else place[evidence.code]
        value = list(evidence.values).index(finding.value) if finding.value else 0
        return group, is_detail, place[evidence.code], value

    return sorted((finding_of(token, evidences) for token in dict.fromkeys(tokens)), key=key)


def describe(age: int, sex: str, initial: Finding, findings: Sequence[Finding]) -> str:
    """A patient in full: person, reason for consulting, symptoms, history."""
    person = f"{age}-year-old {_person(age, sex)}" if age else f"{_person(age, sex)} under one year old"
    rest = [f for f in findings if f != initial]
    lines = [f"Patient: {person}.", f"Reason for consulting: {'; '.join(_full([initial]))}."]
    for title, is_antecedent in (("Symptoms", False), ("History", True)):
        statements = _full([f for f in rest if f.evidence.is_antecedent is is_antecedent])
        if statements:
            lines.append(f"{title}: {'; '.join(statements)}.")
    return "\n".join(lines)


def describe_briefly(age: int, sex: str, initial: Finding, findings: Sequence[Finding]) -> str:
    """A patient in one short line of labels: ``A woman aged 30 to 44 has runny nose; fever, cough; history asthma``."""
    band = next(text for oldest, text in AGE_BANDS if age <= oldest)
    rest = [f for f in findings if f != initial and not f.is_default]
    details = [f for f in rest if f.evidence.parent == initial.evidence.code]
    text = f"A {_person(age, sex)} aged {band} has {', '.join(_brief([initial, *details]))}"
    rest = [f for f in rest if f not in details]
    for title, is_antecedent in (("", False), ("history ", True)):
        labels = _brief([f for f in rest if f.evidence.is_antecedent is is_antecedent])
        text += f"; {title}{', '.join(labels)}" if labels else ""
    return text


def _person(age: int, sex: str) -> str:
    return {("F", True): "girl", ("M", True): "boy", ("F", False): "woman", ("M", False): "man"}[sex, age < 15]


def _full(findings: Sequence[Finding]) -> list[str]:
    """One statement per question; the values of one question stand together."""
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.evidence.code, []).append(finding)
    statements = []
    for group in by_code.values():
        evidence = group[0].evidence
        words = {"N": "no", "Y": "yes", "NA": "not applicable"}
        values = [evidence.values[f.value] for f in group if f.value]
        english = ", ".join(words.get(v) or _SIDE.sub(lambda m: f" ({_SIDES[m[1]]})", v) for v in values)
        statements.append(f"{evidence.statement}: {english}" if values else evidence.statement)
    return statements


def _brief(findings: Sequence[Finding]) -> list[str]:
    """One phrase per question that stands alone, with its details behind it: ``pain like sharp at right knee``."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.evidence.parent, []).append(finding)
    labels = []
    for group in groups.values():
        values: dict[str, list[str]] = {}
        for finding in group:
            english = finding.evidence.values.get(finding.value, "")
            words = [] if english in ("", _YES) else [_short_value(english)]
            values.setdefault(finding.evidence.label, []).extend(words)
        head = next((f.evidence.label for f in group if f.evidence.code == f.evidence.parent), "")
        phrases = []
        for label, words in values.items():
            short = label.removeprefix(head + " ") if head and label != head else label
            phrases.append(" ".join(filter(None, (short, " and ".join(_both_sides(words))))))
        labels.append(" ".join(phrases))
    return labels


def _short_value(english: str) -> str:
    """``dorsal aspect of the hand(R)`` -> ``right dorsal hand``."""
    if english in _NO:
        return {"N": "no", "NA": "none"}.get(english, english)
    side = _SIDE.search(english)
    text = re.sub(r"[()]", " ", english[: side.start()] if side else english)
    words = [word for word in text.split() if word not in _SMALL_WORDS] or text.split()
    return " ".join([_SIDES[side[1]], *words] if side else words).lower()


def _both_sides(words: Sequence[str]) -> list[str]:
    """``[right knee, left knee]`` -> ``[both knee]``; the place of the first one is kept."""
    present, out = set(words), []
    for word in words:
        side, _, rest = word.partition(" ")
        other = {"right": "left", "left": "right"}.get(side, "")
        if other and f"{other} {rest}" in present:
            word = f"both {rest}"
        if word not in out:
            out.append(word)
    return out
