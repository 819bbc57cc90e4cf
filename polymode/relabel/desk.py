"""Deciding about proposals one at a time, by several people at once (layer L4).

Each decision is one version of the whole proposals file, so the file is always one that `polymode relabel --accept`
takes. Processes that use a desk wait for each other; an editor that has the file open does not.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, ReviewConflictError
from polymode.relabel.accepting import Accepted, accept, check_out, is_same_file
from polymode.relabel.data import DataFields
from polymode.relabel.proposal import Proposal, read_proposals
from polymode.relabel.proposing import key_of

MAX_ANSWER = 20_000
"""Characters of the longest answer that is taken."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A proposal in its place."""

    number: int
    """Place in the file, from 1."""
    version: str
    """Changes whenever anything of the proposal does."""
    proposal: Proposal


class Desk:
    """Proposals of one file, the data they were made for, and the new version that is to be written.

    Args:
        path: proposals file.
        data: the original, which is never changed.
        out: the new version (.jsonl); None when none can be written here.
        named: where question and references stand.
        equality: which answers are one and the same, as in `Criteria`.

    Raises:
        ConfigError: two of the files are one, or the new version has another ending.
        DataNotFoundError, RecordError: proposals or data cannot be read.
    """

    def __init__(
        self,
        path: Path,
        data: Path,
        out: Path | None = None,
        *,
        named: DataFields | None = None,
        equality: str = "text",
    ) -> None:
        self._path, self._data, self.out = path, data, out
        self._named, self._equality = named or DataFields(), equality
        self._key = key_of(equality)
        self._lock = threading.Lock()
        if not data.is_file():
            raise DataNotFoundError(f"data {data} does not exist: name the file that the proposals were made for")
        for name, file in (("data", data), ("relabelled", out)):
            if file is not None and is_same_file(file, path):
                raise ConfigError(f"{name} = {str(file)!r} is the proposals file: name another")
        if out is not None:
            check_out("relabelled", out, data)
        read_proposals(path)

    def proposals(self) -> list[Listed]:
        """All proposals in the order of the file; raises DataNotFoundError, RecordError."""
        return [Listed(number, _version(one), one) for number, one in enumerate(read_proposals(self._path), 1)]

    def decide(
        self,
        number: int,
        version: str,
        by: str,
        *,
        accepted: bool | None,
        answer: str | None = None,
        alias_of: str | None = None,
    ) -> None:
        """Write what a person decided; only who decided may decide anew.

        Args:
            number: place of the proposal.
            version: what `Listed.version` was when the person saw it.
            by: the person.
            accepted: None takes the decision back.
            answer: a corrected answer; None leaves it.
            alias_of: the reference that it only words differently.

        Raises:
            ReviewConflictError: somebody else decided, or the proposal is no longer what was seen.
            ConfigError: the decision is not allowed.
            DataNotFoundError: no such proposal.
            WriteError, RecordError: the file cannot be written, or read.
        """
        if not by.strip():
            raise ConfigError("by is empty: say who decides")
        with self._alone():
            proposals = list(read_proposals(self._path))
            if not 1 <= number <= len(proposals):
                raise DataNotFoundError(f"there is no proposal {number}: the file has {len(proposals)}")
            before = proposals[number - 1]
            if before.accepted is not None and before.accepted_by != by:
                who = before.accepted_by or "somebody, in the file"
                what = "accepted" if before.accepted else "refused"
                raise ReviewConflictError(f"{who} {what} this proposal already: ask them, nothing was changed")
            if _version(before) != version:
                raise ReviewConflictError("the proposal has changed since it was shown: look at it again")
            proposals[number - 1] = self._decided(before, by, accepted, answer, alias_of)
            runs.write_jsonl(self._path, proposals)

    def write(self, by: str) -> Accepted:
        """Write the new version of the data with what is accepted; raises as `polymode.relabel.accept`."""
        if self.out is None:
            raise ConfigError("relabelled is missing: start the server with --relabelled FILE to write a new version")
        with self._alone():
            proposals = read_proposals(self._path)
            return accept(proposals, self._data, self.out, by=by, named=self._named, equality=self._equality)

    def _decided(
        self, proposal: Proposal, by: str, accepted: bool | None, answer: str | None, alias_of: str | None
    ) -> Proposal:
        text = proposal.answer if answer is None else answer.strip()
        if not accepted:
            return replace(proposal, accepted=accepted, alias_of=None, accepted_by="" if accepted is None else by)
        if not text or len(text) > MAX_ANSWER:
            raise ConfigError(f"answer has {len(text):,} characters: write 1 to {MAX_ANSWER:,}")
        if alias_of is not None and alias_of not in proposal.references:
            raise ConfigError(f"alias_of = {alias_of!r} is no reference of the question: choose one of them")
        if self._key(text) in {self._key(reference) for reference in proposal.references}:
            raise ConfigError(f"answer {text!r} is a reference already: refuse the proposal")
        return replace(proposal, accepted=True, answer=text, alias_of=alias_of, accepted_by=by)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While this lasts no other desk, of this process or another, writes."""
        with self._lock, runs.alone(self._path, waits=True):
            yield


def _version(proposal: Proposal) -> str:
    return hashlib.sha256(json.dumps(asdict(proposal), sort_keys=True).encode()).hexdigest()[:32]
