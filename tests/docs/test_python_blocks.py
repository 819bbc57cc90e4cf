"""Python blocks of the documents run as they stand and print what their comments say."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from .documents import blocks, documents

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page.relative_to(ROOT).as_posix() for page in documents(ROOT) if "```python" in page.read_text(encoding="utf-8")
]
MAX_NOT_RUN = 3


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_and_print_what_their_comments_say(
    page: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}  # the blocks of a page share their names, in order
    for block in blocks((root / page).read_text(encoding="utf-8")):
        if block.language != "python" or block.reason is not None:
            continue
        lines = [line for line in block.body.splitlines() if line.startswith("print(")]
        expected = [line.split("  # ", 1)[1] for line in lines if "  # " in line]
        assert len(expected) == len(lines), f"{page}, line {block.line}: a print without the output in a comment"
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(compile(block.body, f"{page}, line {block.line}", "exec"), names)
        assert shown.getvalue().splitlines() == expected, f"{page}, line {block.line}"


def test_few_blocks_are_not_run(root: Path) -> None:
    reasons = [
        block.reason
        for page in documents(root)
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language == "python" and block.reason is not None
    ]
    assert len(reasons) <= MAX_NOT_RUN
    assert all(any(word in reason for word in ("GPU", "network", "hours")) for reason in reasons)


def test_every_block_names_its_language(root: Path) -> None:
    known = {"", "sh", "bash", "python", "yaml", "json", "jsonl", "toml", "text"}
    for page in documents(root):
        for block in blocks(page.read_text(encoding="utf-8")):
            assert block.language in known, f"{page.name}, line {block.line}"


def test_the_readmes_first_example_has_ten_lines_and_needs_no_torch(root: Path, tmp_path: Path) -> None:
    first = next(
        block.body for block in blocks((root / "README.md").read_text(encoding="utf-8")) if block.language == "python"
    )
    assert len([line for line in first.splitlines() if line.strip()]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", f"{first}\nimport sys\nassert 'torch' not in sys.modules"], cwd=tmp_path, check=False
    )
    assert done.returncode == 0
