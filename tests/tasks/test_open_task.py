from pathlib import Path

import pytest

from polymode.cli.options import ModelOptions
from polymode.errors import ConfigError, DataNotFoundError
from polymode.tasks import TASKS, Demonstrates, check_notation, has_own_verifier, open_task
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import style_for


def test_the_lab_tasks_open_by_name_and_can_demonstrate() -> None:
    for name in ("clinic", "clinic-diagnosis", "hops", "programs"):
        task = open_task(name)
        assert isinstance(task, Demonstrates)
        (example,) = task.examples("test", 1)
        assert example.exclusive == (name not in ("clinic", "programs"))


def test_options_reach_the_task() -> None:
    wide, narrow = (open_task("clinic", threshold=t).examples("test", 50) for t in (0.01, 0.5))
    assert sum(len(e.references) for e in wide) > sum(len(e.references) for e in narrow)


def test_records_open_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "Q?", "references": ["a"], "split": "test"}\n', encoding="utf-8")
    (example,) = open_task("records", data=path, split_field="split").examples("test")
    assert (example.question, example.references[0].text) == ("Q?", "a")


@pytest.mark.parametrize("name", ["ddxplus", "ddxplus-diagnosis"])
def test_ddxplus_needs_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="does not exist: name the folder that holds the ddxplus files"):
        open_task(name, data=tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("chess", {}, r"task = 'chess' is not known: use one of clinic, clinic-diagnosis, "),
        ("records", {}, r"data is missing: task 'records' needs a file or a data set name"),
        ("clinic", {"data": "here"}, r"data = 'here': task 'clinic' makes its own questions; leave data out"),
        ("hops", {"data": "here"}, r"data = 'here': task 'hops' makes its own questions; leave data out"),
        ("clinic", {"treshold": 0.1}, r"task 'clinic': unknown option 'treshold'; known: references, threshold"),
    ],
)
def test_what_cannot_be_opened_is_named(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_task(name, **options)  # type: ignore[arg-type]


def test_every_name_of_the_list_is_one_that_opens() -> None:
    for name in TASKS:
        try:
            open_task(name)
        except (ConfigError, DataNotFoundError) as exc:
            assert "is not known" not in str(exc)


def test_the_tasks_with_a_verifier_of_their_own_are_known_without_opening_them() -> None:
    assert [name for name in TASKS if has_own_verifier(name)] == ["programs", "mbpp", "humaneval"]


@pytest.mark.parametrize("name", ["mbpp", "humaneval"])
def test_programs_do_not_fit_into_lines(name: str) -> None:
    message = f"format = 'lines' holds answers of one line, and those of {name} have several: use format = 'tags'"
    with pytest.raises(ConfigError, match=message):
        check_notation(name, "lines")
    with pytest.raises(ConfigError, match=message):
        ModelOptions(task=name, format="lines", style="full").prompt_style()
    with pytest.raises(ConfigError, match=message):
        style_for(Recipe(task=name, format="lines", model="m"), TASKS.load(name))
    check_notation(name, "tags")
    check_notation("programs", "lines")  # the lab's are expressions of one line
    assert style_for(Recipe(task="hotpotqa", format="lines", model="m"), TASKS.load("hotpotqa")) == "lines"
