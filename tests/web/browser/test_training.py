"""A training that goes on, in a real browser: its curves grow by themselves, or when the page is loaded again."""

from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.web.pages.site import open_pages

from ..run_folders import write_training
from .conftest import Opens, Started

LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark-phone": {"viewport": {"width": 390, "height": 780}, "color_scheme": "dark", "is_mobile": True},
}


def step(n: int) -> dict[str, float]:
    row = {
        "step": n,
        "completions": 64 * n,
        "seconds": 5.0 * n,
        "reward": 1 + n / 10,
        "coverage": 1 + n / 20 + n % 3 / 9,
    }
    if n % 4 == 0:
        row |= {"validation/questions": 32, "validation/tokens": 100, "validation/seconds": 1}
        row |= {
            f"validation/sampled/coverage{end}": 1 + n / 20 + gap
            for end, gap in (("", 0), ("_low", -0.2), ("_high", 0.2))
        }
    return row


@pytest.fixture
def train(tmp_path: Path) -> Path:
    folder = write_training(tmp_path / "runs" / "arm" / "seed-0", max_steps=40)
    runs.write_steps(folder / runs.TRAIN_METRICS, map(step, range(1, 13)))
    return folder


@pytest.mark.parametrize("look", LOOKS)
def test_curves_grow_while_the_file_does(window: Opens, served: Started, train: Path, look: str) -> None:
    one = window(served(open_pages(runs=train.parent.parent)), **LOOKS[look])
    one.open("/runs")
    one.see("step 12 of 40")
    one.look("list")
    one.page.get_by_role("link", name="arm/seed-0").click()
    drawing = one.page.locator("img[alt*='mean score']")
    drawing.first.wait_for()
    assert "at completions generated = 768" in drawing.first.get_attribute("alt")
    one.page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    one.look("before")
    for n in range(13, 17):
        runs.append_step(train / runs.TRAIN_METRICS, step(n))
    one.see("step 16 of 40")  # nobody has loaded the page again
    one.page.locator("img[alt*='mean score'][alt*='= 1024']").wait_for()
    one.page.locator("img[alt*='references found per completion'][alt*='= 1024']").first.wait_for()
    one.page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    row = one.page.locator("tr", has_text="Coverage, sampled")
    assert "1.80 [1.60, 2.00] 32 questions" in " ".join(row.inner_text().split())
    one.look("after")


def test_without_the_script_loading_again_shows_the_latest_step(window: Opens, served: Started, train: Path) -> None:
    one = window(served(open_pages(runs=train.parent.parent)), java_script_enabled=False)
    one.open("/runs/arm/seed-0")
    one.page.locator("img[alt*='= 768']").first.wait_for()  # the page comes back by itself until they are drawn
    runs.append_step(train / runs.TRAIN_METRICS, step(13))
    one.page.reload()
    one.see("step 13 of 40")
