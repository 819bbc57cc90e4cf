"""Time and memory of evaluating a million judged answers, metrics with bootstrap intervals, on one core.

    python bench/evaluation.py                    both confidence kinds, each in its own process
    python bench/evaluation.py --samples 1        a third of a million questions with one completion each
    python bench/evaluation.py --completions 200000    `polymode evaluate` on a file of so many, from reading to metrics

The last writes texts of 40 words with three answers each (into ``--file``, which is kept and taken the next time) and
prints seconds, processor time of all processes (user and system) and the most memory that they held together, looked up
every tenth of a second; pages that processes share count for each.

Limits of the others: 20 s and 2 GiB. `grid` confidences are multiples of 0.05, the usual case; `continuous` ones are
all different, the worst case (ranking metrics must be recomputed answer by answer, with fewer replicates). CPU seconds
are printed beside the wall clock because other work on the machine lengthens the latter.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402  threads are limited before numpy starts them

from polymode.metrics.statistics import of_unique_references, statistics  # noqa: E402
from polymode.metrics.table import JudgedTable  # noqa: E402
from polymode.uncertainty import bootstrap  # noqa: E402

LIMIT_SECONDS, LIMIT_GIB = 20.0, 2.0


def random_table(n_answers: int, k: int, samples: int, confidences: str, rng: np.random.Generator) -> JudgedTable:
    """Judged sets with calibrated confidences: every answer has a probability, its label is drawn from it."""
    n_sets = -(-n_answers // k)
    question = np.arange(n_sets) // samples
    n_sets_of = len(question) * k
    owner, slot = np.repeat(np.arange(n_sets), k), np.tile(np.arange(k), n_sets)
    p = rng.beta(1.0, 2.0, n_sets_of)
    q = p if confidences == "continuous" else np.round(p * 20) / 20
    y = (rng.random(n_sets_of) < p).astype(float)
    answer_class = rng.integers(0, 40, n_sets_of)
    nothing = np.full(n_sets, np.nan)
    return JudgedTable(
        n_questions=int(question[-1]) + 1,
        question=question,
        k=np.full(n_sets, k),
        n_references=np.full(n_sets, 4),
        n_tokens=rng.integers(20, 60, n_sets).astype(float),
        best=np.full(n_sets, float(k)),
        kl=rng.random(n_sets),
        total_variation=nothing,
        owner=owner,
        slot=slot,
        q=q,
        y=y,
        p=p,
        is_duplicate=rng.random(n_sets_of) < 0.02,
        match=np.where(y == 1, answer_class % 4, -1),
        answer_class=answer_class,
    )


def measure(confidences: str, n_answers: int, k: int, samples: int, n_boot: int) -> None:
    """Evaluate once and print seconds and peak memory of this process."""
    table = random_table(n_answers, k, samples, confidences, np.random.default_rng(0))
    start, cpu = time.perf_counter(), time.process_time()
    everything = {
        **statistics(table, table, table),
        **{f"U({m} answers)": s for m, s in of_unique_references(table).items()},
    }
    ready = time.perf_counter()
    estimates = bootstrap(everything, table.n_questions, rng=np.random.default_rng(0), n_boot=n_boot)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    ece, auroc = estimates["ece"], estimates["auroc"]
    verdict = "ok" if seconds <= LIMIT_SECONDS and peak <= LIMIT_GIB else "TOO SLOW OR TOO LARGE"
    print(
        f"{confidences:>10}: {len(table.q):,} answers, {table.n_questions:,} questions, {len(estimates)} metrics, "
        f"{n_boot} replicates: "
        f"{seconds:.1f} s ({cpu:.1f} s CPU, {ready - start:.1f} s until the sums), peak {peak:.2f} GiB  [{verdict}]  "
        f"ece {ece.value:.4f} [{ece.low:.4f}, {ece.high:.4f}], auroc {auroc.value:.4f} "
        f"[{auroc.low:.4f}, {auroc.high:.4f}]",
        flush=True,
    )


def write_file(path: Path, n_completions: int, samples: int, k: int) -> None:
    """Completions of ``samples`` to a question: 25 words of reasoning, ``k`` answers with confidences on a grid."""
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = list(dict.fromkeys("".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in range(3000)))
    with path.open("w", encoding="ascii") as handle:
        for place in range(n_completions):
            if place % samples == 0:
                references, question = rng.sample(words, 4), " ".join(rng.choices(words, k=20)) + "?"
            answers = [rng.choice(references if rng.random() < 0.4 else words) for _ in range(k)]
            slots = "".join(
                f"<answer{i}>{answer}</answer{i}><confidence{i}>{rng.randint(0, 20) / 20:.2f}</confidence{i}>"
                for i, answer in enumerate(answers, 1)
            )
            row = {"id": f"q{place // samples}", "question": question, "references": references, "k": k}
            row |= {"confidence": True, "sample": place % samples, "n_tokens": 60}
            row["completion"] = f"<think>{' '.join(rng.choices(words, k=25))}</think>{slots}"
            handle.write(json.dumps(row) + "\n")


def measure_file(n_completions: int, k: int, samples: int, workers: int | None, file: Path | None) -> None:
    """Run `polymode evaluate` on a file and print what it took."""
    with tempfile.TemporaryDirectory(dir=None if file is None else file.parent) as folder:
        path = Path(folder) / "completions.jsonl" if file is None else file
        if not path.exists():
            write_file(path, n_completions, samples, k)
        command = [sys.executable, "-m", "polymode", "evaluate", str(path), "--out", folder]
        command += [] if workers is None else ["--workers", str(workers)]
        before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.1)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{n_completions:,} completions, {n_completions * k:,} answers: {seconds:.1f} s, {cpu:.1f} s of processor "
            f"time, at most {peak / 2**30:.2f} GiB in all processes, exit code {process.returncode}"
        )


def resident(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold."""
    total = 0
    try:
        total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(resident(int(child)) for child in (task / "children").read_text().split())
    except (OSError, IndexError):  # it has just ended
        pass
    return total


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--samples", type=int, default=10, help="completions per question")
    parser.add_argument("--n-boot", type=int, default=1000)
    parser.add_argument("--confidences", choices=("grid", "continuous"), help="only this kind, in this process")
    parser.add_argument("--completions", type=int, help="a file of so many, instead of arrays")
    parser.add_argument("--file", type=Path, help="where that file is, or is written to")
    parser.add_argument("--workers", type=int, help="processes that judge the file")
    options = parser.parse_args()
    if options.completions:
        measure_file(options.completions, options.k, options.samples, options.workers, options.file)
        return
    if options.confidences:
        measure(options.confidences, options.answers, options.k, options.samples, options.n_boot)
        return
    for kind in ("grid", "continuous"):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--confidences", kind], check=True)


if __name__ == "__main__":
    main()
