"""Parts: what was finished outlives a kill, and is never mixed with work of other settings."""

from pathlib import Path

import pytest

from polymode import runs
from polymode.errors import RecordError
from polymode.runs import CompletionsPart, JudgedCompletion, JudgedPart
from polymode.types import Completion, Example, Reference

EXAMPLES = [Example("a", "Which gas?", (Reference("neon"),)), Example("b", "And \ud83d?", (Reference("argon"),))]
MADE = [
    Completion(EXAMPLES[0], "<answer>neon \ud83d</answer>", 1, False, n_tokens=3),
    Completion(EXAMPLES[1], "<answer>", 1, False, sample=1, n_tokens=None, is_finished=False),
]
JUDGED = [
    JudgedCompletion(id="a\ud83d", k=1, status="clean", answers=("neon \ud83d",), verdicts=("correct",)),
    JudgedCompletion(id="b", k=1, status="malformed", answers=(), verdicts=(), reason="no \ud83d"),
]


@pytest.fixture
def part(tmp_path: Path) -> CompletionsPart:
    return CompletionsPart(tmp_path / "run" / runs.COMPLETIONS)


def test_what_was_added_comes_back(part: CompletionsPart) -> None:
    assert part.completions(EXAMPLES) == []
    for one in MADE:
        part.add_completions([one])
    assert part.completions(EXAMPLES) == MADE
    assert runs.read_completions(part.path)[0].text == MADE[0].text  # a file of completions by itself
    part.remove()
    part.remove()
    assert part.completions(EXAMPLES) == []


@pytest.mark.parametrize("half", [b'{"id": "b", "compl', b"{", b'{"id": "b"}', "é".encode()[:1]])
def test_half_a_line_at_the_end_is_cut_off_and_the_next_one_is_whole(part: CompletionsPart, half: bytes) -> None:
    part.add_completions(MADE[:1])
    with part.path.open("ab") as handle:
        handle.write(half)
    assert part.completions(EXAMPLES) == MADE[:1]
    part.add_completions(MADE[1:])
    assert part.completions(EXAMPLES) == MADE


def test_a_part_that_is_half_a_line_is_empty(part: CompletionsPart) -> None:
    part.path.parent.mkdir()
    part.path.write_bytes(b"{" + b"x" * 200_000)  # more than is read at once
    assert part.completions(EXAMPLES) == []
    assert part.path.read_bytes() == b""


def test_damage_and_other_questions_are_named(part: CompletionsPart) -> None:
    part.add_completions(MADE)
    with pytest.raises(
        RecordError, match="line 2: question 'b' is not that of the task any more: its data have changed"
    ):
        part.completions([EXAMPLES[0], Example("b", "Another?", (Reference("argon"),))])
    part.path.write_text("[]\n" + part.path.read_text())
    with pytest.raises(RecordError, match="completions.jsonl.part, line 1: a JSON object is needed"):
        part.completions(EXAMPLES)


SETTINGS = {"completions": "abc", "verifier": {"name": "text", "options": {}}, "k": None}


def test_verdicts_come_back_only_with_the_settings_they_were_made_with(tmp_path: Path) -> None:
    part = JudgedPart(tmp_path / runs.JUDGED)
    assert list(part.places(SETTINGS)) == []
    part.begin(SETTINGS)
    assert list(part.places(SETTINGS)) == []
    start = part.append(b"".join(map(runs.judged_line, JUDGED)))
    places = list(part.places(SETTINGS))
    assert [(id_, sample) for id_, sample, _ in places] == [(one.id, one.sample) for one in JUDGED]
    assert places[0][2] == start
    stored = runs.judged_at(part.path, None, [offset for *_, offset in places])
    assert [(one.id, one.answers, one.reason) for one in stored] == [
        (one.id, one.answers, one.reason) for one in JUDGED
    ]
    with pytest.raises(RecordError, match="k = 2 differs from None, with which .*judged.jsonl.part was judged: resume"):
        list(part.places({**SETTINGS, "k": 2}))
    part.begin({**SETTINGS, "k": 2})
    assert list(part.places({**SETTINGS, "k": 2})) == []


@pytest.mark.parametrize("damage", [b"[]\n", b"{\n", b"\xff\n", b'{"id": "a"}\n', b'{"id": "a", "sample": "x"}\n'])
def test_a_damaged_line_of_verdicts_is_named_and_left_out(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    part = JudgedPart(tmp_path / runs.JUDGED)
    part.begin(SETTINGS)
    part.append(damage)
    part.append(runs.judged_line(JUDGED[1]))
    assert [id_ for id_, *_ in part.places(SETTINGS)] == ["b"]
    [message] = caplog.messages
    assert "judged.jsonl.part, line 2 is damaged" in message and "judged again" in message


def test_lines_are_put_in_order_whatever_order_they_were_finished_in(tmp_path: Path) -> None:
    part = JudgedPart(tmp_path / runs.JUDGED)
    part.begin(SETTINGS)
    places = [part.append(runs.judged_line(one)) for one in reversed(JUDGED)]
    part.finish(reversed(places))
    assert part.target.read_bytes() == b"".join(map(runs.judged_line, JUDGED))
