"""note.json: written whole, read back, and refused where it is damaged."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode import runs
from polymode.errors import RecordError, RunIncompleteError


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    note = runs.Note("Learning rate too high?\nAgain with 1e-4.", "Ann", "2026-11-27T10:00:00+00:00")
    runs.write_note(tmp_path, note)
    assert runs.read_note(tmp_path / runs.NOTE) == note
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


@given(st.text(), st.text())
def test_different_notes_have_different_marks(one: str, other: str) -> None:
    assert (runs.Note(one).mark == runs.Note(other).mark) == (one == other)
    assert runs.Note(one, "Ann").mark != runs.Note(one, "Ben").mark


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "mine/note.json: not valid JSON"),
        ('{"text": 3}', "mine/note.json: text = 3 is not allowed: give a text"),
        ('{"text": "a", "by": null}', "by = None is not allowed"),
        ('{"schema": 99}', "schema 99 is newer"),
    ],
)
def test_a_damaged_note_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / runs.NOTE).write_text(content)
    with pytest.raises(RecordError, match=said):
        runs.read_note(tmp_path / runs.NOTE, "mine/note.json")


def test_no_note_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(RunIncompleteError):
        runs.read_note(tmp_path / runs.NOTE)
