"""Time and memory of evaluating a million judged answers, metrics with bootstrap intervals, on one core.

    python bench/evaluation.py                    both confidence kinds, each in its own process
    python bench/evaluation.py --samples 1        a third of a million questions with one completion each

Limits: 20 s and 2 GiB. `grid` confidences are multiples of 0.05, the usual case; `continuous` ones are all different,
the worst case (ranking metrics must be recomputed answer by answer, with fewer replicates). CPU seconds are printed
beside the wall clock because other work on the machine lengthens the latter.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

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


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--samples", type=int, default=10, help="completions per question")
    parser.add_argument("--n-boot", type=int, default=1000)
    parser.add_argument("--confidences", choices=("grid", "continuous"), help="only this kind, in this process")
    options = parser.parse_args()
    if options.confidences:
        measure(options.confidences, options.answers, options.k, options.samples, options.n_boot)
        return
    for kind in ("grid", "continuous"):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--confidences", kind], check=True)


if __name__ == "__main__":
    main()
