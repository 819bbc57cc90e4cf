"""Few-shot examples from files, and how a model was prompted, remembered in its folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.chat import Chat
from polymode.errors import ConfigError, DataNotFoundError, RecordError

ROWS = ({"question": "Q1", "completion": "A1"}, {"question": "Q2", "completion": "A\nB"})


def test_a_list_a_jsonl_and_a_yaml_file_say_the_same(tmp_path: Path) -> None:
    jsonl, yaml = tmp_path / "shots.jsonl", tmp_path / "shots.yaml"
    jsonl.write_text("".join(json.dumps({**row, "note": "x"}) + "\n\n" for row in ROWS), encoding="utf-8")
    yaml.write_text(
        "- {question: Q1, completion: A1}\n- question: Q2\n  completion: |-\n    A\n    B\n", encoding="utf-8"
    )
    assert runs.read_shots(list(ROWS)) == runs.read_shots(jsonl) == runs.read_shots(str(yaml)) == ROWS


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("no.jsonl", DataNotFoundError, "shots = '.*no.jsonl' is no file"),
        ("{}\n", RecordError, "line 1: question = None is not allowed"),
        ('{"question": "Q", "completion": " "}\n', RecordError, "line 1: completion = ' ' is not allowed"),
        ('{"question": "Q", "completion": "A"}\nQ\n', RecordError, "line 2"),
        ("", RecordError, "shots.jsonl holds no example: write one with question and completion, or leave shots out"),
        ("\n\n", RecordError, "holds no example"),
        ([["Q", "A"]], ConfigError, "shots, number 1: .* give an object with question and completion"),
        (3, ConfigError, "shots = 3 is not allowed"),
    ],
)
def test_what_is_no_example_is_named(tmp_path: Path, source: Any, error: type[Exception], message: str) -> None:
    if isinstance(source, str):
        path = tmp_path / "no.jsonl" if source == "no.jsonl" else tmp_path / "shots.jsonl"
        if source != "no.jsonl":
            path.write_text(source, encoding="utf-8")
        source = path
    with pytest.raises(error, match=message):
        runs.read_shots(source)


def test_a_folder_remembers_how_its_model_was_prompted(tmp_path: Path) -> None:
    chat = Chat({"enable_thinking": False}, "Sys", (("Q", "A"),), ("\n\n",))
    assert runs.read_chat(tmp_path) is None
    runs.write_chat(tmp_path, chat)
    assert runs.read_chat(tmp_path) == chat


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"chat_template": 3}', "chat_template = 3 is not allowed: give an object"),
        ('{"system": ["a"]}', "system = .* give a text"),
        ('{"shots": ["a"]}', "shots: 'a' is not allowed: give an object with the texts prompt and completion"),
        ('{"shots": [{"prompt": "Q"}]}', "shots: .* is not allowed"),
        ('{"shots": [{"prompt": "Q", "completion": 3}]}', "shots: .* is not allowed"),
        ('{"shots": {"prompt": "Q", "completion": "A"}}', "shots = .* give a list of objects"),
        ('{"stop": "abc"}', "stop = 'abc' is not allowed: give a list of texts"),
        ('{"stop": [3]}', "stop = 3 is not allowed: give texts"),
        ('{"stop": [""]}', "stop = '' is not allowed"),
        ('{"chat_template": {"tokenize": true}}', "chat_template: 'tokenize' cannot be changed"),
        ("[]", "a JSON object is needed"),
    ],
)
def test_a_damaged_memory_is_told_with_its_file(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "polymode_chat.json").write_text(content)
    with pytest.raises(RecordError, match=f"polymode_chat.json.*{message}"):
        runs.read_chat(tmp_path)
