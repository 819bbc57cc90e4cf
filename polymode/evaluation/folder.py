"""A file of completions to judged.jsonl and metrics.json in a folder, each on disk as soon as it can be (layer L4).

::

    judging    judged.jsonl.part grows batch by batch
    judged     judged.jsonl, before metrics begin
    measured   metrics.json; the part is removed

Whoever interrupts it, or has metrics that fail, goes on with ``resume`` and judges nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.evaluation.evaluation import Evaluation, check_measures, measure, write_verdicts
from polymode.evaluation.groups import groups_of, measure_groups
from polymode.evaluation.judging import judge_completions
from polymode.types import Completion
from polymode.uncertainty import N_BOOT
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.description import describe_verifier


def evaluate_into(
    folder: Path,
    source: Path,
    completions: Sequence[Completion],
    *,
    verifier: Verifier | QuestionVerifier,
    by: str | None = None,
    metrics: Sequence[str] = (),
    n_boot: int = N_BOOT,
    seed: int = 0,
    resume: bool = False,
    read_with: Mapping[str, Any] | None = None,
    **how: Any,
) -> tuple[Evaluation, dict[str, Evaluation]]:
    """Judge and measure completions, and write both into ``folder``.

    Args:
        folder: where to.
        source: the completions' file.
        completions: what was read from it.
        verifier: equality of answers.
        by: also measure each group of questions with one value of this field of ``meta``.
        metrics: further metrics.
        n_boot: bootstrap replicates.
        seed: of the bootstrap.
        resume: take what an interrupted call judged with the same settings; what was unscored is judged again.
        read_with: options that changed how the file was read, which a resumed call must share.
        how: ``k``, ``pooled`` and ``confidence_from``, as for `evaluate`.

    Returns:
        The evaluation, and those of the groups by label.

    Raises:
        ConfigError: as `evaluate` and `evaluate_groups`.
        RecordError: resumed with other settings; names the first that differs.
        WriteError: a file cannot be written.
    """
    check_measures(metrics, n_boot)
    groups = None if by is None else groups_of(completions, by)
    part = runs.JudgedPart(folder / runs.JUDGED)
    settings = {
        "completions": runs.fingerprint(source),
        "verifier": describe_verifier(verifier),
        "pooled": how.get("k") if how.get("pooled") else None,
        **(read_with or {}),
    }
    present = part.judged(settings) if resume else []
    if not present:
        part.begin(settings)
    judged, view = judge_completions(completions, verifier=verifier, present=present, keep=part.add_judged, **how)
    write_verdicts(folder, judged)
    options = {"metrics": metrics, "n_boot": n_boot, "seed": seed}
    evaluation = measure(judged, view, **options)
    parts = {} if groups is None else measure_groups(groups, judged, view, **options)
    evaluation.write_metrics(folder, completions=source, groups=parts)
    part.remove()
    return evaluation, parts
