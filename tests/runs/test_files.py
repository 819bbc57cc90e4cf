import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from polymode import runs
from polymode.errors import DataNotFoundError, RecordError, RunExistsError, RunIncompleteError, WriteError
from polymode.types import Completion, Example, ParseStatus, Reference, Span


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- whole or not at all ---------------------------------------------------------------------------------------------


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metrics.json"
    with runs.writing(path) as handle:
        handle.write("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    assert names(path.parent) == ["metrics.json"]


def test_a_failure_in_the_middle_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    runs.write_jsonl(path, [{"id": "old"}])

    def rows() -> Iterator[dict[str, str]]:
        yield {"id": "new"}
        raise KeyError("the model broke")

    with pytest.raises(KeyError, match="the model broke"):
        runs.write_jsonl(path, rows())
    assert list(runs.read_jsonl(path)) == [{"id": "old"}]
    assert names(tmp_path) == ["judged.jsonl"]


def test_a_full_disk_is_a_write_error_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    runs.write_json(path, {"recall": 0.5})

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(WriteError, match="cannot write .*metrics.json: No space left on device; free space"):
        runs.write_json(path, {"recall": 0.6})
    assert runs.read_json(path) == {"recall": 0.5}
    assert names(tmp_path) == ["metrics.json"]


def test_a_full_disk_while_text_is_written_is_a_write_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def __init__(self, handle: IO[str]) -> None:
            self.handle = handle

        def __enter__(self) -> "FullDisk":
            return self

        def __exit__(self, *exc: object) -> None:
            self.handle.close()

        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open

    def full_disk(path: Path, *args: Any, **kwargs: Any) -> FullDisk:
        return FullDisk(opened(path, *args, **kwargs))

    monkeypatch.setattr(Path, "open", full_disk)
    with pytest.raises(WriteError, match="No space left on device"):
        runs.write_jsonl(tmp_path / "completions.jsonl", [{"id": "1"}])
    assert names(tmp_path) == []


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    runs.write_json(path, {"recall": 0.5})
    code = (
        "import os, sys; from pathlib import Path; from polymode import runs\n"
        "with runs.writing(Path(sys.argv[1])) as handle:\n"
        "    handle.write('{'); handle.flush(); os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)
    assert done.returncode == 9
    assert runs.read_json(path) == {"recall": 0.5}


def test_a_folder_that_is_a_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(WriteError, match="cannot write"):
        runs.write_json(tmp_path / "run" / "config.json", {})


def test_an_error_of_the_rows_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    # DataNotFoundError is also an OSError, as is every failure to write.
    def rows() -> Iterator[dict[str, str]]:
        raise DataNotFoundError("no folder 'ddxplus'")
        yield {}

    with pytest.raises(DataNotFoundError, match="no folder 'ddxplus'"):
        runs.write_jsonl(tmp_path / "completions.jsonl", rows())
    assert names(tmp_path) == []


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_undefined_numbers_are_null_and_come_back_as_none(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    runs.write_json(path, {"auroc": math.nan, "nll": math.inf, "ece": 0.0, "bins": np.array([0.25, math.nan])})
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    assert runs.read_json(path) == {"auroc": None, "nll": None, "ece": 0.0, "bins": [0.25, None]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ParseStatus.CLEAN, "clean"),
        (Span(2, 5), [2, 5]),
        ({1: Path("runs/a")}, {"1": "runs/a"}),
        ((np.float64(0.5), np.int64(3), np.bool_(True)), [0.5, 3, True]),
        (np.float32("nan"), None),
        (Reference("flu", ("influenza",)), {"text": "flu", "aliases": ["influenza"], "weight": None}),
        ((x for x in (1, 2)), [1, 2]),
    ],
)
def test_records_enums_and_arrays_become_plain_json(value: object, expected: object) -> None:
    plain = runs.to_json(value)
    assert plain == expected
    assert json.loads(json.dumps(plain)) == expected


def test_a_value_without_a_json_form_is_named() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        runs.to_json({"model": object()})


def test_text_that_is_not_ascii_stays_readable(tmp_path: Path) -> None:
    runs.write_json(tmp_path / "a.json", {"question": "Où est la tour ?"})
    assert "Où est la tour ?" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": ', "metrics.json: not valid JSON .*; run the stage that writes it again"),
        (b"\xff\xfe", "metrics.json: not UTF-8 text .*; convert the file to UTF-8"),
    ],
)
def test_a_broken_json_file_says_what_to_do(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(RecordError, match=message):
        runs.read_json(tmp_path / "metrics.json")


def test_a_missing_json_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunIncompleteError, match="metrics.json is missing: run the stage that writes it first"):
        runs.read_json(tmp_path / "metrics.json")


# --- JSON lines ------------------------------------------------------------------------------------------------------


def test_lines_round_trip_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert runs.write_jsonl(path, [{"text": "two\nlines"}, {"text": "x\u2028y"}]) == 2
    path.write_text(path.read_text(encoding="utf-8") + "\n  \n", encoding="utf-8")
    assert list(runs.read_jsonl(path)) == [{"text": "two\nlines"}, {"text": "x\u2028y"}]


@pytest.mark.parametrize(
    ("third", "message"),
    [
        ("{'id': 1}", "line 3: not valid JSON"),
        ("[1, 2]", "line 3: a JSON object is needed, got list"),
        ("null", "line 3: a JSON object is needed, got NoneType"),
    ],
)
def test_an_error_names_the_line_of_the_file_counting_blank_ones(tmp_path: Path, third: str, message: str) -> None:
    path = tmp_path / "completions.jsonl"
    path.write_text('{"id": "1"}\n\n' + third + "\n")
    rows = runs.read_jsonl(path)
    assert next(rows) == {"id": "1"}
    with pytest.raises(RecordError, match=message) as caught:
        next(rows)
    assert str(path) in str(caught.value)


def test_lines_that_are_not_utf_8_say_so(tmp_path: Path) -> None:
    path = tmp_path / "completions.jsonl"
    path.write_bytes(b'{"id": "\xe9"}\n')
    with pytest.raises(RecordError, match="not UTF-8 text .*; convert the file to UTF-8"):
        list(runs.read_jsonl(path))


def test_a_missing_file_of_lines_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunIncompleteError, match=r"judged.jsonl is missing: check the path"):
        list(runs.read_jsonl(tmp_path / "judged.jsonl"))


# --- run folders -----------------------------------------------------------------------------------------------------


def test_a_new_run_folder_keeps_its_config_and_what_made_it(tmp_path: Path) -> None:
    folder = runs.create(tmp_path / "deep" / "run", {"k": 3, "rate": math.nan})
    kept = runs.read_json(folder / "config.json")
    assert kept["config"] == {"k": 3, "rate": None}
    assert kept["made_with"]["python"].count(".") == 2
    assert kept["made_with"]["versions"]["numpy"] == np.__version__


def test_an_existing_run_is_refused_without_resume_and_kept_with_it(tmp_path: Path) -> None:
    runs.create(tmp_path / "run", {"k": 3})
    with pytest.raises(RunExistsError, match="exists already: pass --resume to go on, or choose another --out"):
        runs.create(tmp_path / "run", {"k": 4})
    assert runs.create(tmp_path / "run", {"k": 4}, resume=True) == tmp_path / "run"
    assert runs.read_json(tmp_path / "run" / "config.json")["config"] == {"k": 3}


def test_resume_also_begins_a_run_that_does_not_exist(tmp_path: Path) -> None:
    runs.create(tmp_path / "run", {"k": 3}, resume=True)
    assert runs.read_json(tmp_path / "run" / "config.json")["config"] == {"k": 3}


def test_a_folder_without_a_config_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    runs.create(tmp_path, {"k": 3})
    assert names(tmp_path) == ["config.json", "note.txt"]


def test_outside_a_git_checkout_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert runs.provenance()["commit"] is None


def test_a_completion_is_one_self_contained_row() -> None:
    example = Example(
        id="q1",
        question="What causes fever and cough?",
        references=(Reference("flu", ("influenza",), 0.7), Reference("cold")),
        distribution={"flu": 0.7, "cold": 0.3},
        exclusive=True,
        meta={"age": 30},
    )
    row = runs.completion_to_row(Completion(example, "<answer>flu</answer>", k=1, has_confidence=False, sample=2))
    assert json.loads(json.dumps(row)) == {
        "schema": 1,
        "id": "q1",
        "question": "What causes fever and cough?",
        "references": [
            {"text": "flu", "aliases": ["influenza"], "weight": 0.7},
            {"text": "cold", "aliases": [], "weight": None},
        ],
        "exclusive": True,
        "distribution": {"flu": 0.7, "cold": 0.3},
        "meta": {"age": 30},
        "completion": "<answer>flu</answer>",
        "k": 1,
        "confidence": False,
        "sample": 2,
        "n_tokens": None,
        "finished": True,
    }


@pytest.mark.parametrize(
    ("files", "is_model"),
    [
        ("config.json model.safetensors", True),
        ("config.json model-00001-of-00002.safetensors model.safetensors.index.json", True),
        ("config.json pytorch_model.bin", True),
        ("adapter_config.json adapter_model.safetensors", True),
        ("tokenizer.json tokenizer_config.json polymode_chat.json", False),  # FSDP2 before
        ("config.json training_args.bin latest zero_to_fp32.py", False),  # ZeRO-3 before
        ("config.json optimizer.bin", False),
        ("model.safetensors", False),
    ],
)
def test_a_model_is_its_configuration_and_its_weights(files: str, is_model: bool, tmp_path: Path) -> None:
    for name in files.split():
        (tmp_path / name).touch()
    assert runs.holds_model(tmp_path) is is_model
    assert not runs.holds_model(tmp_path / "absent")
