"""Links lead somewhere, and files and modules that the documents name exist."""

import re
from collections.abc import Iterator
from pathlib import Path

from .documents import anchors, documents, inline_code, without_blocks

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"^(?:polymode|recipes|bench|examples|tests|scripts|docs)/[\w./-]+$|^[\w./-]+/[\w-]+\.py$")
MODULE = re.compile(r"^polymode(?:\.\w+)+$")
FOLDERS = ("polymode", "recipes", "bench", "examples")


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Target and anchor of each link that stays in the repository."""
    for target in LINK.findall(without_blocks(page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def test_links_and_anchors_resolve(root: Path) -> None:
    n = 0
    for page in documents(root):
        for path, anchor in links(page):
            n += 1
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {path}"
            if anchor:
                assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page.name}: {path}#{anchor}"
    assert n > 50


def test_pages_of_the_site_link_to_pages_of_the_site(root: Path) -> None:
    for page in (root / "docs").rglob("*.md"):
        for path, _ in links(page):
            assert (page.parent / path).resolve().is_relative_to(root / "docs"), f"{page.name}: {path}"


def test_files_that_the_documents_name_exist(root: Path) -> None:
    n = 0
    for page in documents(root):
        if page.name in ("CHANGELOG.md", "LOG.md"):  # a log speaks of what was there then
            continue
        for code in inline_code(page.read_text(encoding="utf-8")):
            for word in code.split():
                if PATH.match(word):
                    n += 1
                    assert (root / word).exists() or (root / "polymode" / word).exists(), f"{page.name}: {word}"
    assert n > 20


def exists(name: str, root: Path) -> bool:
    """Whether a dotted name is a module, or a name that the module's source holds; nothing is imported for it."""
    module = root
    for i, part in enumerate(parts := name.split(".")):
        if (module / part).is_dir():
            module = module / part
        elif (file := module / f"{part}.py").exists():
            return i + 1 == len(parts) or bool(re.search(rf"\b{parts[i + 1]}\b", file.read_text(encoding="utf-8")))
        else:
            return bool(re.search(rf"\b{part}\b", (module / "__init__.py").read_text(encoding="utf-8")))
    return True


def test_modules_and_functions_that_the_documents_name_exist(root: Path) -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (root / "polymode").rglob("*.py"))
    groups = {f"polymode.{kind}s" for kind in re.findall(r'\bRegistry\(\s*"(\w+)"', sources)}  # of entry points
    n = 0
    for page in documents(root):
        for code in inline_code(page.read_text(encoding="utf-8")):
            name = re.split(r"[(\s]", code)[0]
            if MODULE.match(name) and name not in groups and page.name not in ("CHANGELOG.md", "LOG.md"):
                n += 1
                assert exists(name, root), f"{page.name}: {name}"
    assert n > 10
    assert exists("polymode.parsing.parse_answers", root) and not exists("polymode.parsing.parse_question", root)


def test_documents_that_code_and_recipes_name_exist(root: Path) -> None:
    n = 0
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".py", ".yaml", ".j2"):
                continue
            for name, anchor in re.findall(r"(docs/[\w/]+\.md)(#[\w-]+)?", path.read_text(encoding="utf-8")):
                n += 1
                target = root / name
                assert target.exists(), f"{path.name}: {name}"
                assert not anchor or anchor[1:] in anchors(target.read_text(encoding="utf-8")), f"{path.name}: {anchor}"
    assert n > 10
