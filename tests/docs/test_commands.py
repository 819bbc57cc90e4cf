"""Every `polymode ...` line of documents, recipes, docstrings and --help is one that the real command line accepts."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import polymode.cli
from polymode.cli import VERBS, main

from .documents import SHELL, Command, blocks, documents, inline_code, shell_commands

RECIPE = re.compile(r"^(RECIPE|recipe)\.yaml$")


class Accepted(Exception):
    """The command line was parsed; nothing is run."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Each verb stops as soon as its options are parsed."""
    monkeypatch.chdir(root)
    for info in pkgutil.iter_modules(polymode.cli.__path__):
        module = importlib.import_module(f"polymode.cli.{info.name}")
        if info.name != "flags" and hasattr(module, "parse_flags"):
            monkeypatch.setattr(module, "parse_flags", _then_stop(module.parse_flags))


def _then_stop(parse: Any) -> Any:
    def parsed(*args: Any, **options: Any) -> None:
        parse(*args, **options)
        raise Accepted

    return parsed


def check(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Parse a command as the user would; a recipe that stands for the reader's own is one of ours."""
    words = ["recipes/clinic.yaml" if RECIPE.match(word) else word for word in command.words]
    try:
        main(words)
    except Accepted:
        return
    raise AssertionError(f"{command.where}: polymode {' '.join(words)}\n{capsys.readouterr().err}")


def document_commands(root: Path) -> list[Command]:
    """Commands in the shell blocks of the documents."""
    return [
        command
        for page in documents(root)
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language in SHELL
        for command in shell_commands(block.body, page.name)
    ]


def comment_commands(root: Path) -> list[Command]:
    """Commands in the comments of recipes: lines of their own, indented."""
    return [
        command
        for path in sorted((root / "recipes").glob("*.yaml"))
        for command in shell_commands(
            "\n".join(line[1:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#   ")),
            path.name,
        )
    ]


def docstring_commands(root: Path) -> Iterator[Command]:
    """Commands that stand on an indented line of their own in a docstring."""
    for folder in ("polymode", "bench", "examples"):
        for path in sorted((root / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    lines = (ast.get_docstring(node) or "").splitlines()
                    text = "\n".join(line for line in lines if line.startswith("    polymode "))
                    yield from shell_commands(text, path.relative_to(root).as_posix())


@pytest.mark.usefixtures("parse_only")
def test_commands_of_documents_recipes_and_docstrings_are_accepted(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [document_commands(root), comment_commands(root), list(docstring_commands(root))]
    assert len(groups[0]) > 30 and len(groups[1]) >= 10
    for command in [command for group in groups for command in group]:
        check(command, capsys)


@pytest.mark.usefixtures("parse_only")
@pytest.mark.parametrize("verb", list(VERBS))
def test_the_examples_of_help_are_accepted(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([verb, "--help"])
    text = capsys.readouterr().out
    _, _, examples = text.partition("examples:")
    for line in examples.splitlines():
        if line.strip():  # the command, then two spaces or more, then what it does
            for command in shell_commands(re.split(r"\s{2,}", line.strip())[0], "--help"):
                assert command.words[0] == verb
                check(command, capsys)


@pytest.mark.usefixtures("parse_only")
def test_the_check_finds_a_wrong_flag_and_a_wrong_value(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("evaluate", "FILE", "--verifer", "judge"), ("serve", "--batch", "many"), ("evalute", "FILE")):
        with pytest.raises(AssertionError, match="here: polymode eval|here: polymode serve"):
            check(Command("here", words), capsys)


def test_commands_in_the_prose_name_verbs_and_flags_that_exist(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags: dict[str, set[str]] = {}
    for verb in VERBS:
        main([verb, "--help"])
        flags[verb] = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    n = 0
    for page in documents(root):
        for code in inline_code(page.read_text(encoding="utf-8")):
            words = code.split()
            if words[0] != "polymode" or len(words) == 1 or page.name == "CHANGELOG.md":
                continue
            n += 1
            assert words[1] in VERBS or words[1] in ("COMMAND", "--help", "--version"), f"{page.name}: {code}"
            used = {word.split("=")[0] for word in words[2:] if re.match(r"--[a-z]", word)}
            assert used <= flags.get(words[1], used), f"{page.name}: {code}"
    assert n > 20
