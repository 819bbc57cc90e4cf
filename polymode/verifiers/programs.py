"""Equality of programs on one question: right is what passes its tests, new is what differs in more than names.

A question's single reference holds its tests, as JSON text of `polymode.sandbox.ProgramTests`; right programs are
without number. Two programs are the same answer when their syntax trees have the same normal form
(`polymode.sandbox.inside.normal`), or, with ``distinct="behaviour"``, when they give the same values on the inputs of
the tests, of which a test may accept several. What a program does on further inputs, or after more calls, never makes
it another answer, as there is no end of ways to differ where nothing is asked; it is only counted
(`ProgramVerifier.count_distinct`). A program that does not load or is not done in time is compared by its syntax tree.

Of an answer in prose, the program is its fenced block (`program_text`). Everything is done in the sandbox, also
parsing: hostile text can crash a parser.

Nothing that a program does leaves it unjudged, with one exception that is stated and not hidden: where a test would let
a method of the program's own decide, such as the ``__eq__`` of an object that it returned, the answer is UNSCORED with
that reason. Plain Python would believe the method, so WRONG would be as arbitrary as CORRECT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from polymode.errors import ConfigError, RecordError, VerifierFault
from polymode.sandbox import Limits, Outcome, ProgramTests, Result, Sandbox
from polymode.types import Example, Reference

Distinct = Literal["ast", "behaviour"]

TestedProgram = tuple[str, str]
"""The tests, as the reference holds them, and a program without its fence."""

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^`]*)")
_QUOTES = re.compile(r"""(\"{3}|'{3})|#.*|"(?:\\.|[^"\\])*+"?|'(?:\\.|[^'\\])*+'?""")
"""Triple quotes; comments and strings of one line, with their end or without, in which they open nothing."""
_PYTHON = ("", "py", "py3", "python", "python3", "python-repl", "ipython", "ipython3")
"""What follows the opening fence of a program."""


@dataclass(frozen=True, slots=True)
class DistinctCounts:
    """How many different right programs a set of answers holds."""

    right: int
    """Answers that pass the tests, repeats counted."""
    by_ast: int
    """Right programs that differ in their normal form."""
    by_behaviour: int | None
    """Right programs that differ in what they do, further inputs included; None when the tests have none, because what
    passes the same asserts would count as the same. A measurement: no credit is given for it."""
    unscored: int
    """Answers that could not be judged."""


class ProgramVerifier:
    """Judges programs by running them; a `polymode.verifiers.QuestionVerifier`.

    Args:
        sandbox: where programs run; by default one of its own on all cores.
        distinct: what makes two programs the same answer: ``ast`` or ``behaviour``.
        workers: programs that run at once, for a sandbox of its own.
        limits: what each may use, for a sandbox of its own.
        packages: what they may import besides the standard library, for a sandbox of its own; as text, names with
            commas between them: ``numpy,sympy``.
        unsafe_local: run without isolation, for a sandbox of its own; None: as the environment says.

    Raises:
        ConfigError: an option is not known, or there is no sandbox here; says what is missing.
    """

    def __init__(
        self,
        sandbox: Sandbox | None = None,
        /,
        *,
        distinct: Distinct = "ast",
        workers: int | None = None,
        limits: Limits | None = None,
        packages: str | Sequence[str] = (),
        unsafe_local: bool | None = None,
    ) -> None:
        if distinct not in ("ast", "behaviour"):
            raise ConfigError(f"distinct = {distinct!r} is not known: use 'ast' or 'behaviour'")
        self.distinct: Distinct = distinct
        names = [name.strip() for name in packages.split(",")] if isinstance(packages, str) else list(packages)
        names = [name for name in names if name]
        if sandbox is not None and names:
            raise ConfigError("packages: the sandbox that is passed decides about them; pass one or the other")
        self.sandbox = sandbox or Sandbox(workers, limits=limits, packages=names, unsafe_local=unsafe_local)
        self.options = {"distinct": distinct}
        if self.sandbox.packages:  # it changes which programs are right
            self.options["packages"] = ",".join(self.sandbox.packages)
        self.results: Mapping[TestedProgram, Result] = {}
        """What `prepare` found out; anything else is run when it is asked about."""

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> Self:
        """This verifier with the results of all programs of a batch, which run on all cores, each once."""
        jobs: dict[TestedProgram, ProgramTests] = {}
        for example, answers in items:
            with suppress(RecordError):  # raised again by `at`, where it makes the answers UNSCORED
                tests = tests_of(example)
                reference = example.references[0].text
                jobs |= {(reference, program_text(answer, tests.entry)): tests for answer in answers}
        prepared = copy(self)
        results = self.sandbox.run([(program, tests) for (_, program), tests in jobs.items()])
        prepared.results = dict(zip(jobs, results, strict=True))
        return prepared

    def at(self, example: Example) -> ProgramEquality:
        """The equality on one question; its methods raise VerifierFault when the tests cannot be used."""
        return ProgramEquality(self.sandbox, example, self.distinct, self.results)

    def count_distinct(self, example: Example, answers: Sequence[str]) -> DistinctCounts:
        """Both counts of different right programs, whatever `distinct` takes credit for.

        Raises:
            RecordError: the question's reference holds no tests.
        """
        tests = tests_of(example)
        jobs = [(example.references[0].text, program_text(answer, tests.entry)) for answer in answers]
        missing = [job for job in dict.fromkeys(jobs) if job not in self.results]
        fresh = dict(zip(missing, self.sandbox.run([(program, tests) for _, program in missing]), strict=True))
        results = [fresh[job] if job in fresh else self.results[job] for job in jobs]
        right = [result for result in results if result.outcome is Outcome.PASS]
        return DistinctCounts(
            right=len(right),
            by_ast=len({result.key for result in right}),
            by_behaviour=len({result.behaviour for result in right}) if tests.inputs else None,
            unscored=sum(result.outcome is Outcome.FAULT for result in results),
        )


@dataclass(frozen=True, slots=True)
class ProgramEquality:
    """Equality of programs on one question. Open: right programs are without number."""

    sandbox: Sandbox
    example: Example
    distinct: Distinct = "ast"
    results: Mapping[TestedProgram, Result] = field(default_factory=dict)
    """Results that are there already; the sandbox runs the rest."""
    open: ClassVar[bool] = True
    """Every right program that is no repeat counts."""

    def result(self, text: str, reference: Reference | None = None) -> Result:
        """What the sandbox said of a program, on the question's tests by default; raises VerifierFault for a fault."""
        try:
            name = (reference or _only_reference(self.example)).text
            tests = ProgramTests.from_json(name)
            program = program_text(text, tests.entry)
            result = self.results.get((name, program))
            if result is None:
                [result] = self.sandbox.run([(program, tests)])
        except RecordError as exc:
            raise VerifierFault(str(exc)) from None
        if result.outcome is Outcome.FAULT:
            raise VerifierFault(result.reason)
        return result

    def matches(self, answer: str, reference: Reference) -> bool:
        """Whether the program passes the tests in the reference."""
        return self.result(answer, reference).outcome is Outcome.PASS

    def reason(self, answer: str) -> str:
        """Why the program is not right, in one line, such as ``assert f(2) == 4: not with 5``; empty when it is."""
        return self.result(answer).reason

    def key(self, text: str) -> str:
        """Normal form of a program, or what it gives on the inputs of the tests; never what it does on further ones."""
        result = self.result(text)
        is_compared = self.distinct == "behaviour" and result.values and result.outcome is not Outcome.TIMEOUT
        return f"does:{result.values}" if is_compared else result.key

    def same(self, a: str, b: str) -> bool:
        """Whether the keys are equal."""
        return a == b or self.key(a) == self.key(b)


def tests_of(example: Example) -> ProgramTests:
    """The tests that the question's reference holds.

    Raises:
        RecordError: there is not exactly one reference, or it holds no tests.
    """
    return ProgramTests.from_json(_only_reference(example).text)


def _only_reference(example: Example) -> Reference:
    if len(example.references) != 1:
        raise RecordError(
            f"question {example.id!r}: {len(example.references)} references; a program's question has one, its tests"
        )
    return example.references[0]


def program_text(answer: str, entry: str = "") -> str:
    """The program in an answer: its fenced block, whatever stands around it; without a block the whole answer.

    Of several blocks it is the last that defines the function asked for, else the last that is marked as Python or not
    at all, else the last. A fence within a triple-quoted string is part of the string.

    Args:
        answer: the answer's text.
        entry: name of the function asked for; empty: any function.
    """
    if "```" not in answer and "~~~" not in answer:
        return answer
    blocks = _blocks(answer.split("\n"))
    if not blocks:
        return answer
    name = re.escape(entry) if entry else r"\w+"
    definition = re.compile(rf"^[ \t]*(?:(?:async +)?def|class) +{name}\b|^{name} *(?::[^=\n]*)?=(?!=)", re.MULTILINE)
    programs = [text for language, text in blocks if language in _PYTHON] or [text for _, text in blocks]
    defining = [text for text in programs if definition.search(text)]
    return (defining or programs)[-1]


def _blocks(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Language and text of each fenced block; a last one may be without its end."""
    blocks: list[tuple[str, str]] = []
    fence, indent, language, content = "", "", "", list[str]()
    quote = ""  # of the string that the line begins in
    for line in lines:
        mark = None if quote else _FENCE.fullmatch(line.rstrip())
        if mark and not fence:
            indent, fence, language = mark[1], mark[2], _language(mark[3])
        elif mark and mark[2][0] == fence[0] and len(mark[2]) >= len(fence):  # no line of Python, whatever follows it
            blocks.append((language, "\n".join(content)))
            fence, content = "", []
            if mark[3].strip().lower() in _PYTHON[1:]:  # the last block was without its end
                indent, fence, language = mark[1], mark[2], _language(mark[3])
        else:
            if fence:
                content.append(line.removeprefix(indent))
            quote = _quote_after(line, quote)
    if fence and content:
        blocks.append((language, "\n".join(content)))
    return blocks


def _language(info: str) -> str:
    """The first word of what follows a fence: of ``python title="a.py"``, ``{python}`` and ``Python3.11``, python."""
    word = re.match(r"[\s{.]*([A-Za-z0-9-]*)", info)
    return word[1].lower() if word else ""


def _quote_after(line: str, quote: str) -> str:
    """The triple quote that a line leaves open, when it begins in ``quote`` or, empty, in none."""
    position = 0
    while True:
        if quote:
            end = line.find(quote, position)
            if end < 0:
                return quote
            position, quote = end + 3, ""
        mark = _QUOTES.search(line, position)
        if mark is None:
            return ""
        position, quote = mark.end(), mark[1] or ""
