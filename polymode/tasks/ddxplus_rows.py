"""DDXPlus patient files and conditions: from official CSV rows to checked, compact records.

A row (English release)::

    AGE,DIFFERENTIAL_DIAGNOSIS,SEX,PATHOLOGY,EVIDENCES,INITIAL_EVIDENCE
    82,"[['Bronchitis', 0.445], ['URTI', 0.331], ['Allergic sinusitis', 0.224]]",F,Allergic sinusitis,
    "['E_86', 'E_181', 'E_201', 'E_204_@_V_10', 'E_226']",E_181

Conditions are named in English whatever the language of the row, through ``release_conditions.json``.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode.errors import RecordError
from polymode.tasks.data_files import read_json_file
from polymode.tasks.ddxplus_english import AGE_BANDS, Evidence, finding_of
from polymode.tasks.ddxplus_names import ALIASES
from polymode.tasks.held_out import text_hash
from polymode.tasks.record import Record

COLUMNS = ("AGE", "DIFFERENTIAL_DIAGNOSIS", "SEX", "PATHOLOGY", "EVIDENCES", "INITIAL_EVIDENCE")


@dataclass(frozen=True, slots=True)
class Row:
    """One patient."""

    number: int
    """Line of the file without the header, from 1."""
    age: int
    sex: str
    """``M`` or ``F``."""
    pathology: str
    """English name of the simulated condition."""
    initial: str
    """Token of the evidence the patient opens with."""
    tokens: tuple[str, ...]
    """Evidence tokens as in the file."""
    differential: tuple[tuple[str, float], ...]
    """English name and probability, descending, positive, summing to 1."""


def read_conditions(path: Path) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Two mappings: further names of each condition by its English name, and English names by every name of the file.

    English names are those of the release, spelling included (also "Larygospasm"), in the order of the file. Further
    names are the French one and those in common use (`polymode.tasks.ddxplus_names`).

    Raises:
        RecordError: not an object of entries, or one name for two conditions.
    """
    raw = read_json_file(path)
    if not isinstance(raw, dict) or not raw or not all(isinstance(entry, dict) for entry in raw.values()):
        raise RecordError(f"{path}: an object with one entry per condition is needed; use the official file")
    aliases: dict[str, tuple[str, ...]] = {}
    english: dict[str, str] = {}
    for key, entry in raw.items():
        name = str(entry.get("cond-name-eng") or entry.get("condition_name") or key)
        french = str(entry.get("cond-name-fr") or name)
        for spelled in {name, french, key, str(entry.get("condition_name") or key)}:
            if english.setdefault(spelled, name) != name:
                raise RecordError(f"{path}, entry {key!r}: {spelled!r} names two conditions; use the official file")
        others = {alias.casefold(): alias for alias in (french, *ALIASES.get(name, ()))}
        others.pop(name.casefold(), None)
        aliases[name] = tuple(others.values())
    return aliases, english


def read_rows(records: Iterable[Record], evidences: Mapping[str, Evidence], names: Mapping[str, str]) -> Iterator[Row]:
    """Patients from records with the official column names.

    Raises:
        RecordError: a column is missing, or a row that cannot be used, with its number, field and value.
    """
    tokens: dict[str, str] = {}  # those that were checked, each text once in memory
    for record in records:
        where, fields = record.where, record.fields
        for column in COLUMNS:
            if fields.get(column) is None:
                raise RecordError(f"{where}: the column {column!r} is missing; use the official files")
        listed = _list(fields["EVIDENCES"], f"{where}, field EVIDENCES")
        initial = fields["INITIAL_EVIDENCE"]
        for token in (*listed, initial):
            if token not in tokens:
                try:
                    finding_of(str(token), evidences)
                except ValueError as exc:
                    raise RecordError(
                        f"{where}, field EVIDENCES: {exc}; use the dictionaries of this release"
                    ) from None
                tokens[token] = token
        if initial not in listed:
            raise RecordError(f"{where}: INITIAL_EVIDENCE {initial!r} is not in EVIDENCES; add it or remove the row")
        if fields["SEX"] not in ("M", "F"):
            raise RecordError(f"{where}, field SEX: {fields['SEX']!r} must be 'M' or 'F'")
        yield Row(
            number=record.number,
            age=_age(fields["AGE"], where),
            sex=fields["SEX"],
            pathology=_name(fields["PATHOLOGY"], names, f"{where}, field PATHOLOGY"),
            initial=tokens[initial],
            tokens=tuple(tokens[token] for token in listed),
            differential=_differential(
                fields["DIFFERENTIAL_DIAGNOSIS"], names, f"{where}, field DIFFERENTIAL_DIAGNOSIS"
            ),
        )


def presentation(row: Row, evidences: Mapping[str, Evidence]) -> int:
    """Hash of the contents of a brief question: age band, sex, first complaint and findings worth reporting.

    Two rows with the same value ask the same question in at least one style, so they must not be in two splits.
    """
    band = next(i for i, (oldest, _) in enumerate(AGE_BANDS) if row.age <= oldest)
    findings = sorted(token for token in set(row.tokens) if not finding_of(token, evidences).is_default)
    text = "|".join((str(band), row.sex, row.initial, *findings))
    return text_hash(text)


def _age(value: Any, where: str) -> int:
    try:
        age = int(value)
    except (TypeError, ValueError):
        age = -1
    if not 0 <= age <= 150:
        raise RecordError(f"{where}, field AGE: {value!r} must be a whole number of years from 0 to 150")
    return age


def _name(value: Any, names: Mapping[str, str], where: str) -> str:
    name = names.get(value) if isinstance(value, str) else None
    if name is None:
        raise RecordError(f"{where}: {value!r} is not in release_conditions.json; use the dictionaries of this release")
    return name


def _list(value: Any, where: str) -> list[Any]:
    """A Python list literal; most are also JSON once the quotes are changed, which reads several times faster."""
    if isinstance(value, str):
        try:
            value = json.loads(value.replace("'", '"'))
        except json.JSONDecodeError:
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                raise RecordError(f"{where}: {value[:80]!r} is not a list literal; use the official files") from None
    if not isinstance(value, list) or not value:
        raise RecordError(f"{where}: a non-empty list is needed, got {value!r}")
    return value


def _differential(value: Any, names: Mapping[str, str], where: str) -> tuple[tuple[str, float], ...]:
    """Names with positive probabilities, descending, renormalised to sum exactly to 1."""
    total: dict[str, float] = {}
    for entry in _list(value, where):
        if not isinstance(entry, (list, tuple)) or len(entry) != 2:
            raise RecordError(f"{where}: {entry!r} must be a pair [pathology, probability]")
        name, p = _name(entry[0], names, where), entry[1]
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not math.isfinite(p) or p < 0:
            raise RecordError(f"{where}: probability {p!r} of {name!r} must be a number from 0 to 1")
        total[name] = total.get(name, 0.0) + p
    mass = sum(total.values())
    if mass <= 0:
        raise RecordError(f"{where}: all probabilities are 0; remove the row")
    return tuple(sorted(((name, p / mass) for name, p in total.items() if p > 0), key=lambda pair: -pair[1]))
