"""The note on a run: shown with its form, and written into the run's folder (layer L6)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from polymode import runs
from polymode.errors import PolymodeError, WriteError
from polymode.web.browsing.run_folders import RunFolders
from polymode.web.problems import Problem, problem_of_error

LONGEST = 10_000
"""Characters of a note."""
_WRITING = threading.Lock()
"""Held from reading the old note until the new one is there."""


@dataclass(frozen=True, slots=True)
class NoteForm:
    """What the form shows."""

    note: runs.Note
    typed: str
    """Text in the field: the note, or what somebody typed that could not be written."""
    problem: str = ""
    longest: int = LONGEST


def note_form(folders: RunFolders, name: str) -> NoteForm:
    """The form with the note as it is; a damaged file is said in it."""
    try:
        note = note_of(folders, name)
    except (PolymodeError, OSError) as exc:
        return NoteForm(runs.Note(), "", problem_of_error(exc).line())
    return NoteForm(note, note.text)


def note_of(folders: RunFolders, name: str) -> runs.Note:
    """The note on a run, empty where there is none; raises as `runs.read_note`."""
    path = folders.file(name, runs.NOTE)
    return runs.Note() if path is None else runs.read_note(path, f"{name}/{runs.NOTE}")


def write_note(folders: RunFolders, name: str, text: str, mark: str, by: str) -> NoteForm | None:
    """Write a note; the form with what was typed where that is not possible, None where it is written.

    Args:
        folders: where runs are.
        name: the run.
        text: what was typed.
        mark: that of the note which the person saw (`runs.Note.mark`).
        by: who writes.

    Raises:
        DataNotFoundError: there is no such run.
        RecordError: the file that is there is damaged.
        Problem: the folder cannot be written.
    """
    folder = folders.folder(name)
    with _WRITING:
        note = note_of(folders, name)
        if len(text) > LONGEST:
            problem = f"the note has {len(text):,} characters, at most {LONGEST:,} are allowed: shorten it"
            return NoteForm(note, text, problem)
        if mark != note.mark:
            who = f" by {note.by}" if note.by else ""
            problem = (
                f"the note was changed{who} meanwhile: what you typed is still in the field, the new note above it"
            )
            return NoteForm(note, text, problem)
        try:
            runs.write_note(folder, runs.Note(text.strip(), by, datetime.now(UTC).isoformat(timespec="seconds")))
        except WriteError:
            title = "the note cannot be written into the folder of the run"
            fix = "let the server write there, or free space, then send it again"
            raise Problem(503, title, fix=fix) from None
    return None
