"""What speaks for an answer, in the question's own words (layer L2).

A model says it in one of two ways: behind the answer in the format (``<why1>``, see `polymode.parsing`), or, as the
lab's models do, in its reasoning, in clauses ``finding : answer``. Whatever it says there, only what the question holds
is shown: `QuestionWords` looks each part up word by word and gives back the question's own text, so a rationale can
hold nothing that is not in the question. Other reasoning gives None, never a guess.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, islice

from polymode.policy.deciding import Same
from polymode.types import AnswerSet
from polymode.verifiers.text import TextVerifier

MAX_CHARS = 200
"""Longest rationale; whole parts are left out beyond it."""
MAX_PARTS = 32
"""Parts that are looked up in the question."""
NEGATIONS = frozenset(
    ["no", "not", "cannot", "without", "never", "nor", "neither", "non", "deny", "denies", "denied", "denying", "lacks"]
)
"""Words behind which a finding is the opposite of what it says, so that it is not shown without them; as is any word in
n't."""
NEGATING_PAIRS = frozenset([("negative", "for"), ("free", "of"), ("absence", "of"), ("lack", "of")])
"""The same of two words."""
NEGATION_WORDS = 8
"""How many words further a negation reaches."""
_PARTS = re.compile("[;\uff1b\n]")
_SMALLER_PARTS = re.compile(r"[,\uff0c\u3001](?!\d)")
_LIMITS = frozenset(",\uff0c\u3001:()[]|/\u2014")
"""Characters over which no negation reaches."""
_SAME = TextVerifier().same


def supported(
    answers: AnswerSet, question: str, completions: Sequence[str], sets: Sequence[AnswerSet], same: Same
) -> AnswerSet:
    """The answers, each with the rationale that one of its completions gives for it, as far as the question holds it.

    Args:
        answers: the (pooled) answers that are decided on.
        question: its text.
        completions: texts of the completions, P(answers) from all of which were pooled.
        sets: what each of them was parsed to.
        same: equality of answers.
    """
    if not answers.answers:
        return answers
    words = QuestionWords(question)

    def rationale(text: str) -> str | None:
        for completion, own in zip(completions, sets, strict=True):
            for one in own.answers:
                if one.rationale is not None and same(one.text, text) and (quotes := words.shared(one.rationale)):
                    return quotes
            if quotes := words.shared("\n".join(findings(completion, text))):
                return quotes
        return None

    return replace(answers, answers=tuple(replace(one, rationale=rationale(one.text)) for one in answers.answers))


def findings(completion: str, answer: str) -> Iterator[str]:
    """What the reasoning says for an answer in clauses ``finding : answer``, as the lab's models write them.

    A clause ends with ``;`` or at the end of a line and contains one colon; the text after it must equal the answer
    after normalising.
    """
    thought = completion.rpartition("</think>")[0].rpartition("<think>")[2]
    for clause in re.split(r"[;\n]", thought):
        finding, colon, named = clause.partition(":")
        if colon and ":" not in named and _SAME(named, answer):
            yield finding


class QuestionWords:
    """The words of a question, to find what is quoted from it."""

    def __init__(self, question: str) -> None:
        self._question = question
        self._words = list(words_of(question))
        self._text = _between_nulls(word for word, _, _ in self._words)
        self._starts = list(accumulate((len(word) + 1 for word, _, _ in self._words), initial=0))

    def shared(self, rationale: str) -> str | None:
        """The parts of ``rationale`` that the question holds, as they stand there; None where there is none.

        Parts are separated by semicolons or line breaks; one that is not there as a whole is taken apart at its commas.
        """
        quotes: dict[str, str] = {}
        for part in islice(_PARTS.split(rationale), MAX_PARTS):
            whole = self.quote(part)
            own = [whole] if whole else map(self.quote, islice(_SMALLER_PARTS.split(part), MAX_PARTS))
            for quote in filter(None, own):
                if len(", ".join([*quotes.values(), quote])) <= MAX_CHARS:
                    quotes.setdefault(quote.casefold(), quote)
        return ", ".join(quotes.values()) or None

    def quote(self, phrase: str) -> str | None:
        """The question's own text for a phrase that it holds, word by word; else None.

        Case, white space, Unicode form and commas do not matter; parts of words, of compounds with a hyphen and of
        numbers are no words, and a phrase does not reach over the end of a sentence. A phrase behind a negation is
        found only together with it.
        """
        if len(phrase) > 4 * MAX_CHARS:
            return None
        words = [word for word, _, _ in words_of(phrase)]
        while words and words[-1] == _END:
            words.pop()
        while words and words[0] == _END:
            words.pop(0)
        if not words:
            return None
        text = _between_nulls(words)
        place = self._text.find(text)
        while place >= 0:
            first = bisect_right(self._starts, place) - 1
            if not self._is_negated(first):
                last = first + len(words) - 1
                quote = _printable(self._question[self._words[first][1] : self._words[last][2]])
                return quote if len(quote) <= MAX_CHARS else None
            place = self._text.find(text, place + 1)
        return None

    def _is_negated(self, number: int) -> bool:
        """Whether a negation stands before a word, with no comma or end of a sentence in between."""
        for before in range(number - 1, -1, -1):
            word, _, end = self._words[before]
            is_apart = not _LIMITS.isdisjoint(self._question[end : self._words[before + 1][1]])
            if word == _END or is_apart or number - before > NEGATION_WORDS:
                return False
            following = self._words[before + 1][0]
            if word in NEGATIONS or word.endswith("n't") or (word, following) in NEGATING_PAIRS:
                return True
        return False


def _between_nulls(words: Iterable[str]) -> str:
    return "".join(["\0", *(f"{word}\0" for word in words)])


_END = "."
"""Stands for the end of a sentence among the words."""
_ENDS = frozenset(".;!?\u3002\uff0e\uff1b\uff01\uff1f\u0964\u061f")
_JOINERS = frozenset("'\u2019\u2018\u02bc-\u2010\u2011\u2013\u2212_\u00b7")
"""Make one word of two: don't, non-smoker."""
_IN_NUMBERS = frozenset(".,:/\u2044")
"""Make one number of two digits: 38.5, 120/80."""
_SIGNS = frozenset("-\u2212+")
_ONE_FORM = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc", "'") | dict.fromkeys("\u2010\u2011\u2013\u2212", "-"))
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts without spaces between words: each character is a word."""


def words_of(text: str) -> Iterator[tuple[str, int, int]]:
    """Each word in the form in which words are compared, and where it stands; `_END` for the end of a sentence."""
    kind_of = {char: _kind(char) for char in set(text)}
    kinds = [kind_of[char] for char in text]
    at, end = 0, len(text)
    while at < end:
        start, kind = at, kinds[at]
        at += 1
        if kind == "end":
            yield _END, start, at
        elif kind == "one":
            at = _behind(kinds, at, ("mark",))
            yield _form(text[start:at]), start, at
        elif kind in ("letter", "digit") or (text[start] in _SIGNS and at < end and kinds[at] == "digit"):
            while True:
                at = _behind(kinds, at, ("letter", "digit", "mark"))
                following = kinds[at + 1] if at + 1 < end else ""
                is_joined = at < end and text[at] in _JOINERS and following in ("letter", "digit")
                is_number = at < end and text[at] in _IN_NUMBERS and kinds[at - 1] == following == "digit"
                if not is_joined and not is_number:
                    break
                at += 1
            yield _form(text[start:at]), start, at


def _behind(kinds: Sequence[str], at: int, members: tuple[str, ...]) -> int:
    while at < len(kinds) and kinds[at] in members:
        at += 1
    return at


def _kind(char: str) -> str:
    category = unicodedata.category(char)
    if char in _ENDS:
        return "end"
    if category[0] == "M" or category == "Cf":
        return "mark"
    if category[0] == "N":
        return "digit"
    if category[0] == "L":
        return "one" if unicodedata.name(char, "").startswith(_UNSPACED) else "letter"
    return ""


def _form(word: str) -> str:
    """A word without case, in one of its Unicode forms, without characters that are not seen."""
    visible = "".join(char for char in word if unicodedata.category(char) != "Cf").translate(_ONE_FORM)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def _printable(text: str) -> str:
    """A piece of the question in one line, without what steers a terminal or turns the direction of writing."""
    joiners = "\u200c\u200d"
    chars = (c if c.isprintable() or c in joiners else "" if unicodedata.category(c) == "Cf" else " " for c in text)
    return " ".join("".join(chars).split())
