"""Verdicts on inputs that once went wrong, and how often text equality merges or misses what people call the same.

    python bench/verdicts.py                         the files of ../shared/cases, and AmbigQA and NQ of ../shared/data
    python bench/verdicts.py --cases DIR --data DIR

For each file: how many of its inputs come out right, wrong, or as a fault. Right is what the folder's README says. The
rates of text equality are measured on answers that people wrote:

- merged: pairs of different answers to one question (readings of AmbigQA) that become equal;
- missed: names of a right answer (AmbigQA, NQ) that equal none of its other names, each left out in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from polymode.cli import main as polymode
from polymode.verifiers.text import normalise

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
Row = dict[str, Any]
Count = tuple[int, int, int]
"""Right, wrong, faults."""


def evaluated(path: Path, *options: str) -> tuple[int, list[Row], Row]:
    """Exit code of ``polymode evaluate``, its judged lines and its metrics."""
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = polymode(["evaluate", str(path), "--out", folder, "--n-boot", "0", *options])
        judged, metrics = Path(folder) / "judged.jsonl", Path(folder) / "metrics.json"
        rows = [json.loads(line) for line in judged.read_text().splitlines()] if judged.exists() else []
        return code, rows, json.loads(metrics.read_text())["metrics"] if metrics.exists() else {}


def hits(expected: Callable[[Row], bool], *options: str) -> Callable[[Path], Count]:
    """A check of each judged line of a completions file."""

    def check(path: Path) -> Count:
        _, rows, _ = evaluated(path, *options)
        n = sum(1 for line in path.read_text().splitlines() if line.strip())
        right = sum(expected(row) for row in rows)
        faults = sum(bool(row["faults"]) and not expected(row) for row in rows)
        return right, n - right - faults, faults

    return check


def unscored(path: Path) -> Count:
    """A judge that cannot be reached: every answer is UNSCORED, with its reason, and the run ends well."""
    options = ("base_url=http://127.0.0.1:9/v1", "model=m", "retries=0")
    code, rows, metrics = evaluated(path, "--verifier", "judge", "--verifier-options", *options)
    is_right = code == 0 and metrics.get("coverage", {}).get("value") is None
    right = sum(is_right and bool(row["faults"]) and row["verdicts"] == ["unscored"] for row in rows)
    return right, 2 - right, 0


def listed(*options: str) -> Callable[[Path], Count]:
    """Records that ``polymode tasks records`` must read."""

    def check(path: Path) -> Count:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            code = polymode(["tasks", "records", "--data", str(path), "--n", "2", *options])
        references = [line for line in out.getvalue().splitlines() if "reference:" in line]
        is_right = code == 0 and len(references) == 2 and not any("[" in line for line in references)
        return (1, 0, 0) if is_right else (0, 1, 0)

    return check


def programs_same(path: Path) -> Count:
    """Pairs of programs that are one idea, or two."""
    from polymode.sandbox.inside.normal import key

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    right = sum((key(row["first"], ["f"]) == key(row["second"], ["f"])) is row["same_idea"] for row in rows)
    return right, len(rows) - right, 0


def programs_honest(path: Path) -> Count:
    """Programs that plain Python finds right."""
    from polymode.sandbox import Outcome, ProgramTests, Sandbox

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    programs = [(row["program"], ProgramTests(tuple(row["asserts"]), entry="f")) for row in rows]
    outcomes = [result.outcome for result in Sandbox().run(programs)]
    right = sum((outcome is Outcome.PASS) is row["right"] for outcome, row in zip(outcomes, rows, strict=True))
    faults = sum(outcome is Outcome.FAULT for outcome in outcomes)
    return right, len(rows) - right - faults, faults


def symbolic_pairs(path: Path) -> Count:
    """Pairs of mathematical texts, judged by hand."""
    from polymode.errors import VerifierFault
    from polymode.verifiers.symbolic import SymbolicVerifier

    verifier = SymbolicVerifier()
    right = wrong = faults = 0
    for line in path.read_text().splitlines():
        row = json.loads(line)
        try:
            is_same = verifier.same(row["first"], row["second"])
        except VerifierFault:
            faults += 1
            continue
        right, wrong = right + (is_same is row["same"]), wrong + (is_same is not row["same"])
    return right, wrong, faults


def missing_reference(_: Path) -> Count:
    """A missing reference is never the text ``null``."""
    from polymode.integrations import trl

    try:
        is_right = trl.single_rlvr(["<answer>null</answer>"], [None]) == [None]
    except Exception:
        is_right = True
    return (1, 0, 0) if is_right else (0, 1, 0)


def covers(n: int) -> Callable[[Row], bool]:
    """A judged line with this many hits."""
    return lambda row: sum(hit or 0 for hit in row["hits"]) == n and not row["faults"]


CHECKS: dict[str, Callable[[Path], Count]] = {
    "01_judge_down.jsonl": unscored,
    "02_one_mention.jsonl": hits(lambda row: covers(2)(row) and row["status"] == "clean"),
    "03_refs_languages.jsonl": hits(covers(2)),
    "03_text_minus.jsonl": hits(covers(0)),
    "04_lone_surrogate_answer.jsonl": hits(covers(1)),
    "05_cut_in_prefilled_thinking.jsonl": hits(lambda row: row["status"] == "truncated"),
    "06_symbolic_markdown.jsonl": hits(covers(1), "--verifier", "symbolic"),
    "07_symbolic_text_command.jsonl": hits(covers(1), "--verifier", "symbolic"),
    "08_symbolic_small.jsonl": hits(covers(0), "--verifier", "symbolic"),
    "09_symbolic_forms.jsonl": hits(covers(1), "--verifier", "symbolic"),
    "10_popqa_records.jsonl": listed("--task-options", "references_field=possible_answers", "strings=aliases"),
    "11_trl.py": missing_reference,
    "12_percent.jsonl": hits(covers(2)),
    "13_programs_prose.jsonl": hits(covers(1), "--verifier", "programs"),
    "14_jsonl_named.json": listed(),
    "programs_honest.jsonl": programs_honest,
    "programs_same.jsonl": programs_same,
    "programs_wrong_first.jsonl": hits(covers(1), "--verifier", "programs"),
    "symbolic_pairs.jsonl": symbolic_pairs,
}
"""What is right for each file of the cases."""


def exact(text: str) -> str:
    """What nobody calls a difference is taken off here: case, spaces and articles, as SQuAD does."""
    words = text.lower().split()
    return " ".join(word for word in words if word not in ("a", "an", "the")) or " ".join(words)


def readings(folder: Path) -> Iterator[list[list[str]]]:
    """The answers of each question of AmbigQA that has several, each with its names."""
    for split in ("dev", "train"):
        with gzip.open(folder / "ambigqa" / f"{split}_light.json.gz", "rt", encoding="utf-8") as handle:
            for record in json.load(handle):
                for annotation in record["annotations"]:
                    pairs = annotation.get("qaPairs") or [annotation]
                    yield [pair["answer"] for pair in pairs]


def merged(groups: Iterable[Sequence[Sequence[str]]], key: Callable[[str], str]) -> tuple[int, int]:
    """Pairs of different answers that share a key, and all pairs of different answers."""
    n_merged = n_pairs = 0
    for answers in groups:
        for first, second in combinations(answers, 2):
            if {exact(name) for name in first}.isdisjoint(exact(name) for name in second):
                n_pairs += 1
                n_merged += not {key(name) for name in first}.isdisjoint(key(name) for name in second)
    return n_merged, n_pairs


def missed(groups: Iterable[Sequence[str]], key: Callable[[str], str]) -> tuple[int, int]:
    """Names that equal none of the answer's other names, and all names of answers with several."""
    n_missed = n_names = 0
    for names in groups:
        for i, name in enumerate(names):
            others = [other for j, other in enumerate(names) if j != i and exact(other) != exact(name)]
            if others:
                n_names += 1
                n_missed += key(name) not in {key(other) for other in others}
    return n_missed, n_names


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=Path, default=SHARED / "cases")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    options = parser.parse_args()
    print(f"{'file':36} right wrong faults")
    for name, check in CHECKS.items():
        right, wrong, faults = check(options.cases / name)
        print(f"{name:36} {right:5} {wrong:5} {faults:6}", flush=True)
    groups = list(readings(options.data))
    with (options.data / "nq_open" / "NQ-open.dev.jsonl").open(encoding="utf-8") as handle:
        questions = [json.loads(line)["answer"] for line in handle]
    for label, key in (("case, spaces, articles", exact), ("text equality", normalise)):
        n_merged, n_pairs = merged(groups, key)
        print(f"{label}: merged {n_merged} of {n_pairs:,} pairs of different answers ({n_merged / n_pairs:.3%})")
        for source, names in (("NQ", questions), ("AmbigQA", [answer for group in groups for answer in group])):
            n_missed, n_names = missed(names, key)
            print(f"{label}, {source}: missed {n_missed:,} of {n_names:,} names left out ({n_missed / n_names:.1%})")


if __name__ == "__main__":
    main()
