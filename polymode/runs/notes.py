"""note.json: what somebody wrote about a run, in the run's folder (layer L3)."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from polymode.errors import RecordError
from polymode.runs.files import read_json, write_document

NOTE = "note.json"


@dataclass(frozen=True, slots=True)
class Note:
    """What stands in the file; an empty one where there is none."""

    text: str = ""
    by: str = ""
    """Who wrote it last."""
    at: str = ""
    """When, in ISO 8601."""

    @property
    def mark(self) -> str:
        """Tells this note from what somebody else makes of it meanwhile."""
        content = "\0".join((self.text, self.by, self.at)).encode("utf-8", "surrogatepass")
        return hashlib.sha256(content).hexdigest()[:16]


def read_note(path: Path, label: str | None = None) -> Note:
    """The note in a file.

    Args:
        path: the file.
        label: what errors call it; its path when None.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: it is damaged or of a newer schema.
        OSError: it cannot be read.
    """
    content = read_json(path, label)
    fields = {name: content.get(name, "") for name in ("text", "by", "at")}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise RecordError(f"{label or path}: {name} = {value!r:.80} is not allowed: give a text")
    return Note(**fields)


def write_note(folder: Path, note: Note) -> None:
    """Write the note of a run, whole or not at all; raises WriteError."""
    write_document(folder / NOTE, asdict(note))
