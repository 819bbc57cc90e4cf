"""Logs that inspect_ai 0.3.285 and lm-eval 0.4.13 wrote, read as completions; and what damaged ones are answered with.

In ``complete``, ``errors`` and ``unfinished`` three questions are asked twice; in ``errors`` one sample failed, while
``unfinished`` was written the process was killed. Tracebacks were taken out of the logs.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from polymode import runs
from polymode.cli import main
from polymode.errors import (
    ConfigError,
    DataNotFoundError,
    MissingExtraError,
    PolymodeError,
    RecordError,
    RunExistsError,
)
from polymode.evaluation import evaluate, read_completions
from polymode.runs.archives import archive

LOGS = Path(__file__).parent / "logs_of_others"
NAMES = {"test-1": "gas", "test-2": "metal", "test-3": "none"}


def rows_of(log: Path, folder: Path) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Lines of the completions, and the notes without the log's path."""
    imported = runs.import_log(log, folder)
    notes = tuple(note.removeprefix(f"{log}: ") for note in imported.notes)
    return [json.loads(line) for line in imported.path.read_text().splitlines()], notes


def changed(name: str, folder: Path, change: Callable[[str, Any], Any]) -> Path:
    """A copy of a log with members changed, or left out where the change gives None."""
    with archive(LOGS / name) as log, ZipFile(folder / name, "w") as copy:
        for member in log.members:
            content = change(member, json.loads(log.read(member)))
            if content is not None:
                copy.writestr(member, json.dumps(content))
    return folder / name


def test_epochs_are_samples_of_their_question(tmp_path: Path) -> None:
    rows, notes = rows_of(LOGS / "complete.eval", tmp_path)
    assert notes == ()
    assert [(NAMES[row["id"]], row["sample"], row["n_tokens"], row["finished"]) for row in rows] == [
        *(("none", 0, 9, True), ("none", 1, 7, False)),
        *(("metal", 0, 9, True), ("metal", 1, 1, True)),
        *(("gas", 0, 11, True), ("gas", 1, 9, True)),
    ]
    gas = rows[4]
    assert gas["question"] == "Name a noble gas."
    assert [reference["text"] for reference in gas["references"]] == ["neon", "argon"]
    assert gas["completion"].startswith("<think>noble</think><answer1>Ne</answer1><confidence1>0.9</confidence1>")
    assert gas["meta"]["log"] == {
        "evaluator": "inspect_ai",
        "file": "complete.eval",
        "task": "polymode/answer_sets",
        "model": "mockllm/model",
    }


def test_evaluate_gives_the_metrics_that_inspect_ai_printed(tmp_path: Path) -> None:
    printed = json.loads((LOGS / "complete_metrics.json").read_text())
    evaluation = evaluate(read_completions(runs.import_log(LOGS / "complete.eval", tmp_path).path), n_boot=0)
    metrics = {name: one.value for name, one in evaluation.metrics.items() if one.n and one.value == one.value}
    totals = [float(one.score or 0) for one in evaluation.judged]
    # Coverage 1, Brier -(.01 + .04)/2, format 1; 2 - (.16 + .25)/2; 1 - (.04 + .16)/2 + 1; "I do not know."; questions
    # without a right answer: 0 + 1 - (.01 + 0)/2, and an answer that lacks its confidence.
    assert sorted(totals) == pytest.approx([0, 0, 0.995, 1.9, 1.975, 2.795])
    assert {**metrics, "score": sum(totals) / 6, "n_unscored": 0} == pytest.approx(printed)
    assert {"coverage", "pass@1", "pass@2", "brier", "ece", "auroc"} <= metrics.keys()


def test_samples_that_failed_or_are_missing_are_counted(tmp_path: Path) -> None:
    rows, notes = rows_of(LOGS / "errors.eval", tmp_path / "errors")
    assert len(rows) == 5
    assert notes == (
        "1 of 6 samples left out: ended with an error (first: sample 'test-2', epoch 2: RuntimeError('the server went "
        "away'))",
    )
    rows, notes = rows_of(LOGS / "unfinished.eval", tmp_path / "unfinished")
    assert len(rows) == 4
    assert notes == ("status of the evaluation: started; samples missing from the log: 2",)

    def spoil(name: str, content: Any) -> Any:
        if name.startswith("samples/test-1"):
            content["output"]["choices"] = []
        if name == "samples/test-2_epoch_1.json":
            content["invalidation"] = {"author": "somebody"}
        return content

    rows, notes = rows_of(changed("complete.eval", tmp_path, spoil), tmp_path / "spoilt")
    assert len(rows) == 3
    assert notes == (
        "1 of 6 samples left out: declared invalid (first: sample 'test-2', epoch 1)",
        "2 of 6 samples left out: no output (first: sample 'test-1', epoch 1)",
    )


def test_choices_of_one_reply_are_samples(tmp_path: Path) -> None:
    rows, notes = rows_of(LOGS / "choices.eval", tmp_path)
    assert notes == ()
    assert [(row["id"], row["sample"]) for row in rows] == [(f"test-{i}", j) for i in (3, 2, 1) for j in (0, 1)]
    assert {row["n_tokens"] for row in rows} == {None}  # inspect_ai counts those of all choices together


def test_a_log_of_another_task(tmp_path: Path) -> None:
    rows, notes = rows_of(LOGS / "other_task.json", tmp_path)
    assert notes == ()
    shown = [{name: row[name] for name in ("id", "question", "references", "sample")} for row in rows]
    assert shown == [
        {"id": 1, "question": "Name a noble gas.", "references": ["neon", "argon"], "sample": 0},
        {"id": 2, "question": "Name an alkali metal.", "references": ["lithium"], "sample": 0},
    ]
    assert rows[0]["meta"]["kind"] == "gas"
    with pytest.raises(RecordError, match="k is missing: .*--k"):
        read_completions(tmp_path)
    assert [one.n_tokens for one in read_completions(tmp_path, k=2)] == [11, 9]


def test_reasoning_and_attachments_are_put_in(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "attachment://7"}]

    def change(name: str, content: Any) -> Any:
        if name.startswith("samples/"):
            content["output"]["choices"][0]["message"]["content"] = parts
            content["attachments"]["7"] = "<answer>Ne</answer>"
            content["input"], content["metadata"] = "attachment://7", {"references": [["neon", "Ne"]], "k": 1}
        return content

    rows, _ = rows_of(changed("complete.eval", tmp_path, change), tmp_path)
    assert {(row["completion"], row["question"]) for row in rows} == {
        ("<think>hm</think><answer>Ne</answer>", "<answer>Ne</answer>")
    }
    assert {one.k for one in read_completions(tmp_path)} == {1}


def test_repeats_of_lm_eval_are_samples_whatever_its_filters_leave(tmp_path: Path) -> None:
    rows, notes = rows_of(LOGS / "samples_answer_sets.jsonl", tmp_path / "own")
    assert notes == ()
    printed = json.loads((LOGS / "complete_metrics.json").read_text())  # the same completions, through inspect_ai
    metrics = evaluate(read_completions(tmp_path / "own"), n_boot=0).metrics
    assert [row["id"] for row in rows] == [f"test-{i}" for i in (3, 3, 2, 2, 1, 1)]
    # lm-eval does not tell which completions were cut off: the one that was counts as an unusual format there.
    assert (printed.pop("malformed_rate"), metrics["malformed_rate"].value) == pytest.approx((2 / 6, 1 / 6))
    for name in ("coverage", "pass@1", "pass@2", "brier", "ece", "auroc"):
        assert metrics[name].value == pytest.approx(printed[name]), name

    # Two filters: take_first, and the first one of k.
    rows, notes = rows_of(LOGS / "samples_gas.jsonl", tmp_path / "gas")
    assert notes == ("2 lines left out: documents again, after another filter",)
    assert [(row["id"], row["question"], row["references"]) for row in rows[::2]] == [
        (0, "Name a noble gas.", ["neon", "argon"]),
        (1, "Name an alkali metal.", ["lithium"]),
    ]
    assert rows[3]["completion"] == "I do not know."
    assert rows[0]["meta"]["kind"] == "gas"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resps": [["a"], ["b"]]}, "line 1: resps = .* holds no texts: only tasks of output_type generate_until"),
        ({"resps": [[]]}, "line 1: resps = .* holds no texts"),
        ({"resps": None}, "line 1: resps = null holds no texts"),
        ({"doc": "neon"}, "line 1: doc = 'neon' is not allowed: give an object"),
        ({"doc": {"polymode": "{"}}, "line 1, doc, polymode: not valid JSON"),
    ],
)
def test_a_line_of_lm_eval_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    line = json.loads((LOGS / "samples_gas.jsonl").read_text().splitlines()[0]) | change
    runs.write_jsonl(tmp_path / "samples.jsonl", [line])
    with pytest.raises(RecordError, match=message) as caught:
        runs.import_log(tmp_path / "samples.jsonl", tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / runs.COMPLETIONS).exists()


def test_samples_without_texts_or_cut_off_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="output_type generate_until"):
        runs.import_log(LOGS / "samples_choice.jsonl", tmp_path)
    cut = tmp_path / "samples.jsonl"
    cut.write_bytes((LOGS / "samples_gas.jsonl").read_bytes()[:-40])
    with pytest.raises(RecordError, match=r"samples.jsonl, line 4: not valid JSON .*; write the samples again"):
        runs.import_log(cut, tmp_path)
    runs.write_jsonl(cut, [*runs.read_jsonl(LOGS / "samples_gas.jsonl"), {"doc_id": 7}])
    with pytest.raises(RecordError, match="line 5: doc is missing"):
        runs.import_log(cut, tmp_path)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["complete.eval", "other_task.json"])
def test_a_log_that_was_cut_off_is_one_line(tmp_path: Path, name: str, share: float) -> None:
    content = (LOGS / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: int(len(content) * share)])
    if runs.log_at(cut) is None:  # too short to tell that it is one
        assert name.endswith(".json") and share < 0.1
        return
    with pytest.raises(RecordError, match="cut off") as caught:
        runs.import_log(cut, tmp_path / "out")
    assert "\n" not in str(caught.value) and str(cut) in str(caught.value)
    assert not (tmp_path / "out" / runs.COMPLETIONS).exists()


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    content = bytearray((LOGS / "complete.eval").read_bytes())
    with archive(LOGS / "complete.eval") as log:
        member = log.members["samples/test-2_epoch_1.json"]
    middle = member.header_offset + member.compress_size // 2
    content[middle : middle + 40] = bytes(40)
    (tmp_path / "x.eval").write_bytes(content)
    with pytest.raises(RecordError, match=r"x.eval, samples/test-2_epoch_1.json: damaged \(.*\); copy the file again"):
        runs.import_log(tmp_path / "x.eval", tmp_path)


@pytest.mark.parametrize(
    ("member", "fields", "message"),
    [
        ("header.json", {"version": 3}, "version 3 of the log format is not read, only 1 to 2"),
        ("header.json", {"version": "2"}, "it has no version and no eval"),
        ("header.json", {"eval": None}, "it has no version and no eval"),
        ("samples/test-2_epoch_1.json", {"output": ["x"]}, "sample 'test-2', epoch 1: not a sample of inspect_ai"),
        ("samples/test-2_epoch_1.json", {"output": {"choices": ["x"]}}, "choice 1 holds no message"),
        ("samples/test-2_epoch_1.json", {"epoch": 0}, "epoch = 0 is not allowed"),
    ],
)
def test_another_version_and_unusable_members(
    tmp_path: Path, member: str, fields: dict[str, Any], message: str
) -> None:
    log = changed("complete.eval", tmp_path, lambda name, content: {**content, **fields} if name == member else content)
    with pytest.raises(RecordError, match=message) as caught:
        runs.import_log(log, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_log_without_samples_or_without_a_header(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no_samples.eval: status of the evaluation: success; samples missing .*: 3"):
        runs.import_log(LOGS / "no_samples.eval", tmp_path)
    log = changed("complete.eval", tmp_path, lambda name, content: content if "samples/" in name else None)
    with pytest.raises(RecordError, match=r"complete.eval: no log of inspect_ai: it holds neither header.json nor"):
        runs.import_log(log, tmp_path)
    with pytest.raises(DataNotFoundError, match=r"gone.eval does not exist"):
        runs.import_log(tmp_path / "gone.eval", tmp_path)


def test_what_reads_zstandard_is_named_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("zstandard", "pyarrow"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"'zstandard', which is not installed: .*'polymode\[inspect\]'"):
        runs.import_log(LOGS / "complete.eval", tmp_path)


def test_evaluate_reads_a_log_and_writes_a_run_folder_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "errors.eval"
    log.write_bytes((LOGS / "errors.eval").read_bytes())
    assert main(["evaluate", str(log), "--n-boot", "0"]) == 0
    printed = capsys.readouterr().out
    assert "1 of 6 samples left out: ended with an error" in printed
    assert f"completions: {tmp_path / 'errors' / 'completions.jsonl'} (from errors.eval)" in printed
    assert "5 sets of 2, 3 questions" in printed
    assert {path.name for path in (tmp_path / "errors").iterdir()} == {*(runs.COMPLETIONS, runs.JUDGED, runs.METRICS)}
    assert main(["evaluate", str(tmp_path), "--n-boot", "0", "--resume"]) == 0  # the only log of the folder, again


def test_completions_of_another_origin_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / runs.COMPLETIONS
    mine.write_text('{"completion": "<answer>a</answer>", "references": ["a"], "k": 1}\n')
    before = mine.read_bytes()
    assert main(["evaluate", str(LOGS / "complete.eval"), "--out", str(tmp_path)]) == 2
    assert "completions.jsonl holds other completions than" in capsys.readouterr().err
    assert mine.read_bytes() == before
    assert runs.log_at(tmp_path) is None  # a folder with completions is a run folder


def test_a_log_is_not_written_out_again_while_its_completions_are_judged(tmp_path: Path) -> None:
    written = runs.import_log(LOGS / "complete.eval", tmp_path).path
    before = written.stat()
    with runs.alone(tmp_path / runs.JUDGED), pytest.raises(RunExistsError, match="another process is writing it now"):
        runs.import_log(LOGS / "complete.eval", tmp_path)
    assert (written.stat().st_ino, written.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    runs.import_log(LOGS / "complete.eval", tmp_path)


def test_a_folder_of_several_logs_wants_one_to_be_named() -> None:
    with pytest.raises(ConfigError, match=r"holds 9 logs: name one of them, for example .*unfinished.eval"):
        runs.log_at(LOGS)


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "completions.jsonl"])
def test_completions_files_are_no_logs(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('{"completion": "<answer>a</answer>", "references": ["a"], "k": 1}\n')
    assert runs.log_at(path) is None
    assert runs.log_at(tmp_path / "gone.jsonl") is None


def test_every_error_is_a_line_of_polymode(tmp_path: Path) -> None:
    for kind, content in (("eval", b""), ("eval", b"PK\x03\x04"), ("json", b'{"version": 2, "status": 1, "eval": {')):
        path = tmp_path / f"x.{kind}"
        path.write_bytes(content)
        with pytest.raises(PolymodeError) as caught:
            runs.import_log(path, tmp_path / "out")
        assert "\n" not in str(caught.value)


def test_neither_torch_nor_the_other_evaluator_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys; from polymode.cli import main; "
        f"code = main(['evaluate', {str(LOGS / 'other_task.json')!r}, '--k', '2', '--out', {str(tmp_path)!r}, "
        "'--n-boot', '0']); "
        "print(code, *[name for name in ('torch', 'inspect_ai', 'lm_eval') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "0"
