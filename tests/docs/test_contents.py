"""What the documents promise to list, they list completely; how they are laid out."""

import inspect
import json
import re
from pathlib import Path

import pytest
import yaml

import polymode
from polymode import errors
from polymode.cli import main
from polymode.training.recipe import recipe_from

from ..test_layers import LAYERS
from .documents import blocks, documents, without_blocks

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 120
WIDEST_ROW = 140
WIDE_TABLES = ("LOG.md", "results.md")  # figures with their intervals, many columns


def test_markdown_is_wrapped(root: Path) -> None:
    for page in documents(root):
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith(("|", "{")):  # a row of a table, a record of a JSONL file
                if page.name not in WIDE_TABLES:
                    assert len(line) <= WIDEST_ROW, f"{page.name}, line {number}: {len(line)} characters"
            else:
                assert len(line) <= WIDTH, f"{page.name}, line {number}: {len(line)} characters"


def test_the_readme_gives_the_two_commands_then_python_then_the_command_line(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    places = [text.index(part) for part in ("./scripts/demo", "./scripts/test", "import polymode", "polymode train ")]
    assert places == sorted(places)
    assert (root / "scripts" / "demo").exists() and (root / "scripts" / "test").exists()


def test_no_document_names_an_index_of_packages(root: Path) -> None:
    for page in documents(root):  # packages come from the user's own configuration
        text = page.read_text(encoding="utf-8")
        assert "download.pytorch" not in text and "index-url" not in text, page.name


def test_the_readmes_completions_file_works_when_copied(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    (lines,) = [block.body for block in blocks(text) if block.language == "jsonl"]
    assert len(lines.splitlines()) == 3
    monkeypatch.chdir(tmp_path)
    Path("answers.jsonl").write_text(lines, encoding="utf-8")
    assert "polymode evaluate answers.jsonl\n" in text
    assert main(["evaluate", "answers.jsonl"]) == 0
    assert capsys.readouterr().out.startswith("3 sets of 2, 2 questions, 3 completions\n")
    metrics = json.loads(Path("metrics.json").read_text())["metrics"]
    # Question a: 2 and 1 references found, mean 1.5; question b: 1.
    assert metrics["coverage"]["value"] == pytest.approx(1.25)


@pytest.mark.parametrize("page", [page for page in documents(ROOT) if "```yaml" in page.read_text(encoding="utf-8")])
def test_recipes_in_the_documents_are_valid(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "python" and (file := re.match(r"# ([\w/]+\.py)\n", block.body)):
            (tmp_path / file[1]).parent.mkdir(parents=True, exist_ok=True)  # a module that a recipe of the page names
            (tmp_path / file[1]).write_text(block.body, encoding="utf-8")
        elif block.language == "yaml":
            recipe = recipe_from(yaml.safe_load(block.body))
            assert recipe.completions_per_step % (recipe.device_batch or 1) == 0


def test_every_error_is_explained(root: Path) -> None:
    text = (root / "docs" / "errors.md").read_text(encoding="utf-8")
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, errors.PolymodeError):
            assert f"`{name}`" in text, name


def test_the_design_names_every_module(root: Path) -> None:
    text = (root / "docs" / "design.md").read_text(encoding="utf-8")
    layout = text.split("polymode/\n", 1)[1].split("```", 1)[0]
    for path in (root / "polymode").iterdir():
        if path.name[0] not in "._" and (path.is_file() or any(path.rglob("*.py"))):
            assert f"  {path.name}{'/' if path.is_dir() else ''} " in layout, path.name
    for name in re.findall(r"^  ([a-z_]+(?:\.py|/)) ", layout, re.MULTILINE):
        assert (root / "polymode" / name).exists(), name


def test_the_design_gives_every_module_its_layer(root: Path) -> None:
    text = (root / "docs" / "design.md").read_text(encoding="utf-8")
    layout = text.split("polymode/\n", 1)[1].split("```", 1)[0]
    drawn = dict(re.findall(r"^  ([a-z_]+)(?:\.py|/) .* L(\d)$", layout, re.MULTILINE))
    assert drawn == {name: str(layer) for layer, names in LAYERS.items() for name in names if name != "__main__"}


def test_the_table_of_layers_is_what_the_layer_test_enforces(root: Path) -> None:
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.MULTILINE)
    listed: dict[int, list[str]] = {}
    for layer, names in rows:
        listed[int(layer)] = sorted([*listed.get(int(layer), ()), *re.findall(r"`(\w+)`", names)])
    assert listed == {layer: sorted(names) for layer, names in LAYERS.items()}


def test_every_public_name_is_in_the_reference(root: Path) -> None:
    pages = [without_blocks(page.read_text(encoding="utf-8")) for page in (root / "docs" / "reference").glob("*.md")]
    objects = {name for page in pages for name in re.findall(r"^::: polymode\.(\w+)$", page, re.MULTILINE)}
    in_errors = {name for name, thing in vars(errors).items() if inspect.isclass(thing)}
    modules = {"errors", "metrics", "plugins"}
    assert modules <= objects
    assert set(polymode.__all__) - in_errors == objects - modules
