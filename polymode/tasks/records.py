"""Your own questions and references, from a table file or a Hugging Face data set.

One record per row. The shortest useful file, ``questions.jsonl``::

    {"question": "Name a noble gas.", "references": ["neon", ["argon", "Ar"], {"text": "xenon", "aliases": ["Xe"]}]}

References are a list, each a string, a list of aliases (the first is canonical) or an object with ``text``, ``aliases``
and ``weight``. In CSV and TSV the cell holds that list as JSON, or names separated by ``|``. Shares of a crowd may also
stand as an object of answers to numbers, or of clusters (`record_shares`). Weights given to all references and summing
to 1 become the reference distribution, and with ``target="distribution"`` what confidences are scored against. An empty
list says that the question has no right answer: whatever is answered is wrong, and honest confidences are 0. A
reference that is missing (null, NaN, an empty cell) is an error.

A list that a file holds as text (``"['neon', 'argon']"``) is read as the list. Where it may as well be the answer
itself (``"[0, 1]"``, an interval), the option ``list_texts`` must say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from polymode.distributions import SUM_TOLERANCE, TARGETS, check_target, weights_distribution
from polymode.errors import ConfigError, DataNotFoundError, RecordError, one_of
from polymode.prompts import Style
from polymode.references import check_references, is_missing, list_in_text, reference_from
from polymode.tasks import SPLITS, Split, check_request, shuffled
from polymode.tasks.held_out import text_hash
from polymode.tasks.record import ListTexts, Record
from polymode.tasks.record_files import SPLIT_NAMES, format_of, load_hub, read_records, split_files
from polymode.tasks.record_shares import votes_of, with_shares, with_votes, without_weight
from polymode.types import Example, Reference, Target
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.choice import VERIFIERS
from polymode.verifiers.text import TextVerifier

_RISK, _META = "risk", "meta"


class Records:
    """Questions and references of your own.

    Args:
        data: a data file (see `record_files.FORMATS`), a folder of files named by split, a mapping of split to file,
            or the name ``owner/name`` of a Hugging Face data set.
        question_field: column or key of the question; dots select fields of nested objects (``item.question``). A text
            with braces puts several together: ``{premise} Does it follow that {hypothesis}?``.
        references_field: column or key of the references.
        aliases_field: further aliases, one list per reference.
        weights_field: weights, one per reference.
        weights: ``probabilities`` in [0, 1], or ``counts`` of votes, which are divided by their sum; votes for wordings
            that the verifier calls the same add up, and an answer without a vote is no reference.
        target: what confidences are scored against, ``verdict`` or ``distribution``: every record then needs weights
            that sum to 1.
        id_field: unique identity of each record; by default its file and number.
        risk_field: column or key of the question's class of risk, any name; by default ``risk``, where it is one.
        meta_field: column or key of an object with further fields that tell questions apart; by default ``meta``.
        split_field: column that says ``train``, ``validation`` (``dev``, ``val``, ...) or ``test``.
        strings: the meaning of a flat list of strings: ``references`` that are all right and differ, or ``aliases`` of
            the one right answer.
        list_texts: ``detect`` reads a text as a list when it can be nothing else, ``parse`` reads every text of the
            references field as a list, ``keep`` none.
        exclusive: at most one answer can be right, so honest confidences sum to at most 1.
        style: how questions are asked, see `prompts.build_prompt`.
        ask: what several answers are asked for with, for example ``Give {k} names, the most common first.``; {k} stands
            for their number, and empty means the usual sentence.
        validation: share held out of train when there is no validation split, in [0, 1).
        test: likewise for test.
        split_seed: changes which questions are held out; the choice depends on the question's text alone.
        hub_config: configuration of the Hugging Face data set.
        verifier: what answers will be judged by, or its name, so that references it can tell apart are not refused;
            by default equality of normalised text.

    Examples are read and checked once, when the first split is asked for. A question that occurs in several splits
    is used only in the last of train, validation, test.

    Raises:
        ConfigError: an option out of its range.
        DataNotFoundError: no such file, folder or data set.
    """

    name = "records"

    def __init__(
        self,
        data: str | Path | Mapping[Split, str | Path],
        *,
        question_field: str = "question",
        references_field: str = "references",
        aliases_field: str | None = None,
        weights_field: str | None = None,
        weights: Literal["probabilities", "counts"] = "probabilities",
        target: Target = "verdict",
        id_field: str | None = None,
        risk_field: str | None = None,
        meta_field: str | None = None,
        split_field: str | None = None,
        strings: Literal["references", "aliases"] = "references",
        list_texts: ListTexts = "detect",
        exclusive: bool = False,
        style: Style = "full",
        ask: str = "",
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
        hub_config: str | None = None,
        verifier: Verifier | QuestionVerifier | str | None = None,
    ) -> None:
        one_of("strings", strings, ("references", "aliases"))
        one_of("weights", weights, ("probabilities", "counts"))
        one_of("target", target, TARGETS)
        one_of("list_texts", list_texts, get_args(ListTexts))
        one_of("style", style, get_args(Style))
        if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
            raise ConfigError(f"validation = {validation!r} and test = {test!r} must be shares from 0 that sum below 1")
        self.prompt_style: Style = style
        self.ask = ask
        self.exclusive, self.strings = exclusive, strings
        self.list_texts: ListTexts = list_texts
        self._question_field, self._references_field = question_field, references_field
        self._aliases_field, self._weights_field = aliases_field, weights_field
        self._has_counts = weights == "counts"
        self.target: Target = target
        self._id_field, self._split_field = id_field, split_field
        self._risk_field, self._meta_field = risk_field, meta_field
        self._shares: dict[Split, float] = {"test": test, "validation": validation}
        self._split_seed = split_seed
        if isinstance(verifier, str):
            VERIFIERS.load(verifier)
            self._verifier = TextVerifier() if verifier == "text" else None
        else:
            self._verifier = TextVerifier() if verifier is None else verifier
        self._parts = _parts(data, hub_config)

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` records of a split shuffled by ``seed``, at most all of them.

        Raises:
            ConfigError: unknown split or negative n.
            DataNotFoundError: the split holds no record.
            RecordError: a record cannot be used; the message says where, which field and why.
        """
        check_request(split, n)
        if not self._examples[split]:
            raise DataNotFoundError(
                f"records: the {split} split is empty; add {split} records, or raise the share held out for it"
            )
        return shuffled(self._examples[split], split, n, seed)

    @cached_property
    def _examples(self) -> dict[Split, list[Example]]:
        places: dict[str, str] = {}
        rows: list[tuple[Example, Split | None]] = []
        for part, records in self._parts.items():
            for record in records:
                example = self._example(record, part)
                if example.id in places:
                    raise RecordError(
                        f"{record.where}: id {example.id!r} is also that of {places[example.id]}; ids must differ"
                    )
                places[example.id] = record.where
                rows.append((example, self._stated_split(record) if self._split_field else part))
        stated_splits = {split for _, split in rows}
        lacking: list[Split] = [split for split in ("test", "validation") if split not in stated_splits]
        placed: list[tuple[Example, Split]] = [
            (example, self._hold_out(example.question, lacking) if split in (None, "train") else split)
            for example, split in rows
        ]
        last: dict[str, int] = {}
        for example, split in placed:
            last[example.question] = max(last.get(example.question, 0), SPLITS.index(split))
        return {
            split: [example for example, own in placed if own == split == SPLITS[last[example.question]]]
            for split in SPLITS
        }

    def _hold_out(self, question: str, lacking: Sequence[Split]) -> Split:
        place, share = text_hash(f"{self._split_seed} {question}") / 2**64, 0.0
        for split in lacking:
            share += self._shares[split]
            if place < share:
                return split
        return "train"

    def _stated_split(self, record: Record) -> Split:
        value = record.get(self._split_field or "")
        split = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
        if split is None:
            raise RecordError(
                f"{record.where}, field {self._split_field!r}: {value!r} is not a split; use train, validation or test"
            )
        return split

    def _example(self, record: Record, part: Split | None) -> Example:
        question, references = record.text(self._question_field), self._references(record)
        total = math.fsum(ref.weight or 0.0 for ref in references)
        if total > 1 + SUM_TOLERANCE:
            raise RecordError(
                f"{record.where}: weights sum to {total:.4g}; they are probabilities: divide them by their sum, or say "
                "weights = 'counts' where they count votes"
            )
        example = Example(
            f"{part or 'record'}-{record.number}" if self._id_field is None else record.identity(self._id_field),
            question,
            references,
            distribution=weights_distribution(references),
            exclusive=self.exclusive,
            ask=self.ask,
            meta=self._meta(record),
            target=self.target,
        )
        try:
            check_target(example)
        except RecordError as exc:
            raise RecordError(f"{record.where}: {exc}") from None
        return example

    def _meta(self, record: Record) -> dict[str, Any]:
        """What tells the question apart: its class of risk and further fields.

        Files of other people may mean anything by ``risk`` and ``meta``, so only a field that an option names must be
        what is needed.
        """
        meta = record.fields.get(_META) if self._meta_field is None else record.get(self._meta_field)
        risk = record.fields.get(_RISK) if self._risk_field is None else record.get(self._risk_field)
        if not isinstance(meta, Mapping):
            if self._meta_field is not None and not is_missing(meta):
                raise RecordError(
                    f"{record.where}, field {self._meta_field!r}: {meta!r:.80} is not allowed: give an object"
                )
            meta = {}
        risk = str(risk) if isinstance(risk, int) and not isinstance(risk, bool) else risk
        if not isinstance(risk, str) or not risk.strip() or not risk.isprintable():
            if self._risk_field is not None and not is_missing(risk):
                raise RecordError(
                    f"{record.where}, field {self._risk_field!r}: {risk!r:.80} is not allowed: give the name of a class"
                )
            return dict(meta)
        return {**meta, "risk": risk}

    def _references(self, record: Record) -> tuple[Reference, ...]:
        where = f"{record.where}, field {self._references_field!r}"
        values = record.items(self._references_field, self.list_texts)
        if self.strings == "aliases" and values and all(isinstance(value, str) for value in values):
            values = [values]
        try:
            values = with_shares(values)
            if self.list_texts == "keep":
                values = [_as_object(value) for value in values]
            counts = votes_of(values) if self._has_counts else []
            if counts or self._weights_field is not None:  # which comes before numbers beside the answers
                values = [without_weight(value) for value in values]
            references = [reference_from(value) for value in values]
            if self._aliases_field is not None:
                for i, names in enumerate(record.per_reference(self._aliases_field, len(references))):
                    references[i] = _with_aliases(references[i], names)
            if self._weights_field is not None:
                weights = [
                    None if is_missing(weight) else _number(weight)
                    for weight in record.per_reference(self._weights_field, len(references))
                ]
                if self._has_counts:
                    counts = weights
                else:
                    references = [
                        reference_from(replace(ref, weight=weight))
                        for ref, weight in zip(references, weights, strict=True)
                    ]
            if self._has_counts:
                references = with_votes(references, counts, self._verifier)
            check_references(references, self._verifier)
        except RecordError as exc:
            problem = str(exc).removeprefix("references: ")
            raise RecordError(problem if problem.startswith(record.where) else f"{where}: {problem}") from None
        return tuple(references)


def _parts(
    data: str | Path | Mapping[Split, str | Path], hub_config: str | None
) -> Mapping[Split, Iterable[Record]] | Mapping[None, Iterable[Record]]:
    """Rows by the split their file belongs to; None when files do not say."""
    if isinstance(data, Mapping):
        for split in data:
            one_of("split", split, SPLITS)
        return {split: read_records(Path(path)) for split, path in data.items()}
    path = Path(data).expanduser()
    if path.is_dir():
        return {split: read_records(file) for split, file in split_files(path).items()}
    if not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(data)) and not format_of(path):
        return load_hub(str(data), hub_config)
    return {None: read_records(path)}


def _as_object(value: Any) -> Any:
    """A text, or a list of aliases, in the form that says it is text whatever it looks like."""
    if isinstance(value, str):
        return {"text": value}
    is_names = isinstance(value, list) and value and all(isinstance(name, str) for name in value)
    return {"text": value[0], "aliases": value[1:]} if is_names else value


def _with_aliases(reference: Reference, names: Any) -> Reference:
    """The reference with further names: one, a list of them, or the text of a list."""
    if isinstance(names, str):
        names = list_in_text(names) or [names]
    names = [] if is_missing(names) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RecordError(f"aliases of {reference.text!r}: {names!r} must be a list of texts")
    return replace(reference, aliases=(*reference.aliases, *(name for name in names if name.strip())))


def _number(value: Any) -> Any:
    """A number written as text, as a number; anything else as it is, for `reference_from` to judge."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
