"""How a model is prompted, remembered in its folder, and files of few-shot examples (layer L3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from polymode.chat import Chat, chat_from
from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.runs.files import SCHEMA, read_json, write_json
from polymode.runs.lines import parse_object, raw_lines

CHAT = "polymode_chat.json"
"""Beside a model that polymode trained: what its prompts were made with."""
_NAMES = ("question", "completion")


def write_chat(model: Path, chat: Chat) -> None:
    """Remember in the folder of a model how it was prompted in training."""
    write_json(model / CHAT, {"schema": SCHEMA, **chat.to_json()})


def read_chat(model: Path) -> Chat | None:
    """What the folder of a model remembers; None where it remembers nothing.

    Raises:
        RecordError: the file is damaged, or a value in it is of the wrong kind.
    """
    path = model / CHAT
    if not path.is_file():
        return None
    try:
        return chat_from(read_json(path))
    except ConfigError as exc:
        raise RecordError(f"{path}: {exc}; or copy the file from the run that made the model again") from None


def read_shots(source: object) -> tuple[dict[str, str], ...]:
    """Few-shot examples from a JSONL or YAML file or from a list, each with a question and a completion.

    Raises:
        DataNotFoundError: no such file.
        RecordError: a line of the file is no such example; names it. The file holds none.
        ConfigError: the same in a list.
    """
    if not isinstance(source, (str, Path)):
        return tuple(_checked(row, f"shots, number {number}", ConfigError) for number, row in _numbered(source))
    path = Path(source)
    if not path.is_file():
        raise DataNotFoundError(f"shots = {str(source)!r} is no file: give a JSONL or YAML file, or a list in a recipe")
    if path.suffix in (".yaml", ".yml"):
        try:
            rows = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as exc:
            raise RecordError(f"{path} is not valid YAML: {str(exc).splitlines()[0]}") from None
        return _some([_checked(row, f"{path}, number {number}", RecordError) for number, row in _numbered(rows)], path)
    out = []
    for number, _, content in raw_lines(path):
        where = f"{path}, line {number}"
        out.append(_checked(parse_object(content, where, "one JSON object a line is needed"), where, RecordError))
    return _some(out, path)


def _some(rows: list[dict[str, str]], path: Path) -> tuple[dict[str, str], ...]:
    if not rows:
        raise RecordError(f"{path} holds no example: write one with question and completion, or leave shots out")
    return tuple(rows)


def _numbered(rows: object) -> list[tuple[int, Any]]:
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise ConfigError(f"shots = {rows!r:.60} is not allowed: give a list of objects with question and completion")
    return list(enumerate(rows, 1))


def _checked(row: Any, where: str, error: type[Exception]) -> dict[str, str]:
    if not isinstance(row, Mapping):
        raise error(f"{where}: {row!r:.60} is not allowed: give an object with question and completion")
    for name in _NAMES:
        value = row.get(name)
        if not isinstance(value, str) or not value.strip():
            raise error(f"{where}: {name} = {value!r:.60} is not allowed: give a text that is not empty")
    return {name: row[name] for name in _NAMES}
