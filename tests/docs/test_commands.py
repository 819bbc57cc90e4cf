"""Every `polymode ...` line of documents, recipes, docstrings and --help is one that the real command line accepts."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from polymode.cli import VERBS, main, parse
from polymode.errors import ConfigError

from .documents import SHELL, Command, blocks, documents, inline_code, shell_commands


def check(command: Command, root: Path) -> None:
    """Parse a command as the command line does; nothing is run. Recipes of ours that it names must exist."""
    verb, *words = command.words
    assert all((root / word).exists() for word in words if word.startswith("recipes/")), command
    try:
        parse(verb, *words)
    except ConfigError as exc:
        raise AssertionError(f"{command.where}: polymode {' '.join(command.words)}\n{exc}") from exc


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
                    lines = re.sub(r"\\\n\s*", " ", ast.get_docstring(node) or "").splitlines()
                    text = "\n".join(line for line in lines if line.startswith("    polymode "))
                    yield from shell_commands(text, path.relative_to(root).as_posix())


def test_commands_of_documents_recipes_and_docstrings_are_accepted(root: Path) -> None:
    groups = [document_commands(root), comment_commands(root), list(docstring_commands(root))]
    assert len(groups[0]) > 30 and len(groups[1]) >= 10
    for command in [command for group in groups for command in group]:
        check(command, root)


@pytest.mark.parametrize("verb", list(VERBS))
def test_the_examples_of_help_are_accepted(verb: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([verb, "--help"])
    _, _, examples = capsys.readouterr().out.partition("\nExamples:\n")
    for command in shell_commands(examples, "--help"):
        assert command.words[0] == verb
        check(command, root)


@pytest.mark.parametrize("words", ["evaluate FILE --verifer judge", "serve --batch many", "evalute FILE"])
def test_the_check_finds_a_wrong_flag_value_or_verb(words: str, root: Path) -> None:
    with pytest.raises(AssertionError, match=f"here: polymode {words}"):
        check(Command("here", tuple(words.split())), root)


def test_commands_in_the_prose_name_verbs_and_flags_that_exist(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags: dict[str, set[str]] = {}
    for verb in VERBS:
        main([verb, "--help"])
        flags[verb] = {"--help", *re.findall(r"--[a-z][\w-]*", capsys.readouterr().out)}
    n = 0
    for page in documents(root):
        for code in inline_code(page.read_text(encoding="utf-8")):
            words = code.split()
            if words[0] != "polymode" or len(words) == 1 or page.name == "CHANGELOG.md":
                continue
            n += 1
            assert words[1] in VERBS or words[1] in ("...", "COMMAND", "--help", "--version"), f"{page.name}: {code}"
            used = {word.split("=")[0] for word in words[2:] if re.match(r"--[a-z]", word)}
            assert used <= flags.get(words[1], used), f"{page.name}: {code}"
    assert n > 20
