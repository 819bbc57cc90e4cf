"""The examples and the documents' code run as they stand, and say what they say."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from polymode.cli import VERBS, main


def run_python(*args: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def fenced(path: Path, language: str) -> list[str]:
    """Code blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


# --- examples/ -------------------------------------------------------------------------------------------------------


def test_score_one_completion(root: Path) -> None:
    script = root / "examples" / "score_one_completion.py"
    # coverage 2 (influenza, covid); Brier ((.7 - 1)^2 + (.5 - 1)^2 + (.1 - 0)^2) / 3 = (.09 + .25 + .01) / 3 = .1167
    assert run_python(script) == (
        "status clean, total 2.8833\n"
        "  coverage +2.0000\n"
        "  brier    -0.1167\n"
        "  format   +1.0000\n"
        "  the Flu    q = 0.7  correct\n"
        "  COVID-19   q = 0.5  correct\n"
        "  influenza  q = 0.1  correct, but found already\n"
    )
    assert len(script.read_text().splitlines()) <= 20
    assert "torch" not in imported(script)


def test_the_minimal_loop_finds_the_likely_answers_and_learns_their_probabilities(root: Path) -> None:
    script = root / "examples" / "minimal_loop.py"
    assert len(script.read_text().splitlines()) < 150
    shown = run_python(script, "--steps", "200")
    steps = re.findall(r"step +(\d+)  coverage (\S+)  brier (\S+)", shown)
    assert [int(step) for step, _, _ in steps] == [50, 100, 150, 200]
    best = re.search(r"best possible  coverage (\S+)  brier (\S+)", shown)
    assert best is not None
    assert float(steps[-1][1]) > 0.9 * float(best[1])
    assert float(steps[-1][2]) < 0.65 * float(steps[0][2])
    stated = re.findall(r"(\w+) +says (\S+), true (\S+)", shown)
    assert {"flu", "covid", "asthma", "reflux", "gout"} <= {name for name, _, _ in stated}
    assert all(abs(float(said) - float(truth)) < 0.12 for _, said, truth in stated)


def test_own_task(root: Path, tmp_path: Path) -> None:
    # Test numbers 10, 20 .. 190. First text: 10 and 5 always right, 10/2 repeats 5. Second: 1 always, 4 for the 9
    # multiples of 20, 7 for 70 and 140. Coverage (19 x 2 + 19 + 9 + 2) / 38; a third of the first text is repeated.
    script = root / "examples" / "own_task.py"
    shown = run_python(script, tmp_path)
    assert shown.startswith("38 sets of 3, 19 questions, 38 completions\n")
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["coverage"]["value"] == pytest.approx(68 / 38)
    assert metrics["uniqueness"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert "torch" not in imported(script)


def imported(script: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


# --- README.md and docs/ ---------------------------------------------------------------------------------------------


def test_the_readme_gives_the_two_commands_then_python_then_the_command_line(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    places = [text.index(part) for part in ("./scripts/demo", "./scripts/test", "import polymode", "polymode train ")]
    assert places == sorted(places)
    assert (root / "scripts" / "demo").exists() and (root / "scripts" / "test").exists()
    assert "download.pytorch" not in text and "index-url" not in text  # packages come from the user's own configuration


@pytest.mark.parametrize("document", ["README.md", "docs/quickstart.md", "docs/concepts.md", "docs/decide.md"])
def test_python_blocks_run_and_print_what_their_comments_say(document: str, root: Path, tmp_path: Path) -> None:
    blocks = fenced(root / document, "python")
    assert blocks
    for block in blocks:
        expected = [line.split("  # ", 1)[1] for line in block.splitlines() if line.startswith("print(")]
        shown = run_python("-c", block, folder=tmp_path).splitlines()
        assert shown == expected


def test_the_readmes_python_example_has_ten_lines(root: Path) -> None:
    first = fenced(root / "README.md", "python")[0]
    assert len([line for line in first.splitlines() if line.strip()]) <= 10


def test_the_readmes_completions_file_works_when_copied(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (lines,) = fenced(root / "README.md", "jsonl")
    assert len(lines.splitlines()) == 3
    monkeypatch.chdir(tmp_path)
    Path("answers.jsonl").write_text(lines, encoding="utf-8")
    assert "polymode evaluate answers.jsonl\n" in (root / "README.md").read_text(encoding="utf-8")
    assert main(["evaluate", "answers.jsonl"]) == 0
    assert capsys.readouterr().out.startswith("3 sets of 2, 2 questions, 3 completions\n")
    metrics = json.loads(Path("metrics.json").read_text())["metrics"]
    # Question a: 2 and 1 references found, mean 1.5; question b: 1.
    assert metrics["coverage"]["value"] == pytest.approx(1.25)


def commands(root: Path) -> list[tuple[str, list[str]]]:
    """Every `polymode ...` line of the documents' shell blocks."""
    found = []
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        for block in fenced(path, "(?:sh|bash|console)?"):
            for line in block.splitlines():
                if line.startswith("polymode "):
                    found.append((path.name, shlex.split(line, comments=True)[1:]))
    return found


def test_every_documented_command_exists_with_its_flags(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(root)
    assert len(found) >= 6
    for document, (verb, *args) in found:
        assert verb in VERBS, f"{document}: polymode {verb}"
        main([verb, "--help"])
        known = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
        used = {arg.split("=")[0] for arg in args if arg.startswith("--")}
        assert used <= known, f"{document}: polymode {verb} has no {used - known}"


def test_every_link_between_documents_leads_somewhere(root: Path) -> None:
    for path in [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://")):
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_design_names_every_module(root: Path) -> None:
    text = (root / "docs" / "design.md").read_text(encoding="utf-8")
    layout = text.split("polymode/\n", 1)[1].split("```", 1)[0]
    for path in (root / "polymode").iterdir():
        if path.name[0] not in "._":
            assert f"  {path.name}{'/' if path.is_dir() else ''} " in layout, path.name
    for name in re.findall(r"^  ([a-z_]+(?:\.py|/)) ", layout, re.MULTILINE):
        assert (root / "polymode" / name).exists(), name


def test_the_documents_recipes_are_valid(root: Path) -> None:
    import yaml

    from polymode.training.recipe import recipe_from

    blocks = [block for path in (root / "docs").glob("*.md") for block in fenced(path, "yaml")]
    assert blocks
    for block in blocks:
        values = yaml.safe_load(block)
        recipe = recipe_from(values)
        assert recipe.completions_per_step % (recipe.device_batch or 1) == 0
