"""Three splits from two files: no question stands in two of them, and its text alone decides where it goes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from polymode.errors import ConfigError, DataNotFoundError
from polymode.tasks.held_out import File, HeldOut
from polymode.types import Example, Reference


def example(i: int, question: str) -> Example:
    return Example(f"e{i}", question, (Reference("x"),))


TRAIN = [example(i, f"question {i}") for i in range(400)]
TEST = [example(1000 + i, f"The Question {i}?") for i in range(50)]  # the same questions as 50 of train, written anew


class Numbers(HeldOut):
    name = "numbers"
    files: Mapping[File, Sequence[Sequence[str]]] = {"train": [("train.json",)], "test": [("test.json",)]}
    source = "numbers.example"

    def __init__(self, folder: Path, examples: dict[File, list[Example]], validation: float) -> None:
        super().__init__(folder, validation=validation)
        self._examples = examples

    def read(self, file: File, paths: Sequence[Path]) -> list[Example]:
        assert [path.name for path in paths] == [f"{file}.json"]
        return self._examples[file]


Splits = Callable[..., HeldOut]


@pytest.fixture
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    def make(examples: dict[File, list[Example]], validation: float = 0.25) -> HeldOut:
        folder = tmp_path_factory.mktemp("numbers")
        for file in examples:
            (folder / f"{file}.json").touch()
        return Numbers(folder, examples, validation)

    return make


def test_each_question_is_in_one_split_and_a_quarter_is_held_out(splits: Splits) -> None:
    held = splits({"train": TRAIN, "test": TEST})
    train, validation, test = (held.examples(split, None, seed=0) for split in ("train", "validation", "test"))
    assert {e.id for e in test} == {e.id for e in TEST}
    ids = [e.id for e in (*train, *validation)]
    assert sorted(ids) == sorted(e.id for e in TRAIN[50:])
    assert abs(len(validation) / 350 - 0.25) < 0.1


def test_what_is_held_out_depends_on_the_text_alone(splits: Splits) -> None:
    few = splits({"train": TRAIN[100:200], "test": TEST}).examples("validation", None, seed=0)
    many = splits({"train": list(reversed(TRAIN)), "test": TEST}).examples("validation", None, seed=0)
    assert {e.id for e in few} == {e.id for e in many} & {e.id for e in TRAIN[100:200]}
    twice = splits({"train": [example(1, "Who?"), example(2, "who")], "test": []})
    assert sorted(len(twice.examples(split, None, seed=0)) for split in ("train", "validation")) == [0, 2]


def test_seeds_shuffle_and_a_smaller_n_is_the_beginning(splits: Splits) -> None:
    held = splits({"train": TRAIN, "test": TEST})
    first = held.examples("train", 30, seed=3)
    assert held.examples("train", 10, seed=3) == first[:10] != held.examples("train", 10, seed=4)
    assert len(held.examples("test", 99, seed=0)) == 50 and held.examples("test", 0, seed=0) == []


def test_a_missing_file_and_wrong_arguments_are_named(splits: Splits) -> None:
    with pytest.raises(DataNotFoundError, match="holds no train questions"):
        splits({"test": TEST}).examples("validation", None, seed=0)
    with pytest.raises(DataNotFoundError, match="holds no test questions"):
        splits({"train": TRAIN}).examples("test", None, seed=0)
    assert splits({"train": TRAIN}).examples("train", 1, seed=0)
    with pytest.raises(ConfigError, match="split = 'dev' is not known: use one of train, validation, test"):
        splits({"test": TEST}).examples("dev", None, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="n = -1 must not be negative"):
        splits({"test": TEST}).examples("test", -1, seed=0)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"validation = .* must lie between 0 and 1"):
            splits({"test": TEST}, share)
