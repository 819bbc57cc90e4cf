"""What `polymode confidences --from probe` does beyond measuring: it fits the probe before, and compares after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymode.errors import ConfigError, RecordError
from polymode.types import Completion

if TYPE_CHECKING:
    from polymode.probe import Probe
    from polymode.uncertainty import Estimate

Hits = dict[tuple[str, int], tuple[int | None, ...]]
"""y of each answer of a completion, by its question's id and its sample; None is unscored."""


def judged_hits(path: Path, completions: Sequence[Completion], verifier: Any, *, is_named: bool) -> Hits:
    """Verdicts of the completions at ``path``: the stored ones, or judged here where there are none.

    Args:
        path: file or folder of the completions.
        completions: what was read from it.
        verifier: what judges them.
        is_named: whether the user named the verifier, who then wants its verdicts.

    Raises:
        RecordError: stored verdicts are of other completions.
    """
    from polymode import runs
    from polymode.evaluation.judging import judge_completions

    file = runs.file_in(path, runs.COMPLETIONS)
    stored = file.with_name(runs.JUDGED)
    if is_named or file.name != runs.COMPLETIONS or not stored.is_file():
        judged, _ = judge_completions(completions, verifier=verifier)
    else:
        runs.completions_of(file.parent)  # refuses verdicts on what the file held before
        judged = [line.judged for line in runs.judged_lines(stored)]
    return {(one.id, one.sample): one.hits for one in judged}


def check_writer(model: str, recorded: str | None, source: object) -> None:
    """Refuse completions that another model wrote: a probe reads what the writer knew.

    Raises:
        ConfigError: both are named, and they differ.
    """
    if recorded and _resolved(recorded) != _resolved(model):
        raise ConfigError(
            f"{source}: written by {recorded}, and the states would be read from {model}: a probe is of one model; "
            "leave --model out, or sample both files with the same model"
        )


def _resolved(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).exists() else model


@dataclass(frozen=True)
class TrainingAnswers:
    """Judged completions that a probe is to be fitted to."""

    path: Path
    completions: Sequence[Completion]
    labels: Mapping[tuple[int, int], int]


def read_training(path: Path, reading: Mapping[str, Any]) -> Probe | TrainingAnswers:
    """The probe in a file, or judged completions; checked before a model is loaded.

    Args:
        path: probe.npz, or file or folder of completions.
        reading: k, confidence and verifier as for `polymode.runs.read_completions`, None for what the lines say.

    Raises:
        ConfigError: the completions state no confidences.
        RecordError: too few judged answers, or only one verdict; or what is there cannot be read.
        DataNotFoundError: no such file.
    """
    from polymode import runs
    from polymode.evaluation.recorded_verifier import recorded_verifier
    from polymode.generate.probing import check_fittable, check_stated, labels_of
    from polymode.verifiers.text import TextVerifier

    if path.suffix == ".npz":
        return runs.read_probe(path)
    is_named = reading["verifier"] is not None
    verifier = reading["verifier"] if is_named else recorded_verifier(path) or TextVerifier()
    completions = runs.read_completions(path, **{**reading, "verifier": verifier})
    check_stated(completions, path)
    labels = labels_of(completions, judged_hits(path, completions, verifier, is_named=is_named))
    try:
        check_fittable(completions, labels)
    except RecordError as exc:
        raise RecordError(f"{path}: {exc}") from None
    return TrainingAnswers(path, completions, labels)


def fitted(training: Probe | TrainingAnswers, generator: Any, style: Any, **fitting: Any) -> Probe:
    """The probe, fitted unless it is; prints what it was fitted to.

    Args:
        training: of `read_training`.
        generator: reads the states.
        style: of the prompts of those completions.
        fitting: as for `polymode.generate.probing.fit_to_completions`.

    Raises:
        ConfigError: another model wrote the completions.
        RecordError: as `polymode.probe.fit_probe`.
    """
    from polymode.generate.probing import check_spelled, fit_to_completions

    if not isinstance(training, TrainingAnswers):
        n, n_questions = training.n, len(training.fold_of)
        print(f"probe: layer {training.layer}, fitted before to {n:,} answers of {n_questions:,} questions", flush=True)
        return training
    completions, path = training.completions, training.path
    check_spelled(completions, generator, style, path)
    try:
        fit = fit_to_completions(completions, training.labels, generator, style=style, **fitting)
    except RecordError as exc:
        raise RecordError(f"{path}: {exc}") from None
    probe, by_layer = fit.probe, fit.log_loss_LP.min(1)
    print(
        f"probe: layer {probe.layer}, penalty {probe.penalty:g}, fitted to {probe.n:,} answers of "
        f"{len(probe.fold_of):,} questions ({path})\nheld-out log loss {probe.log_loss:.3f} (worst layer "
        f"{by_layer.max():.3f}, slot number alone {probe.slot_log_loss:.3f})",
        flush=True,
    )
    return probe


def comparison(measured: Sequence[Completion], hits: Hits, probe: Probe, *, n_boot: int = 1000, seed: int = 0) -> str:
    """Stated confidences, the probe's and the slot's number beside each other, and constants; or why there is none."""
    import numpy as np

    from polymode.generate.scoring import answers_of
    from polymode.probe.skill import skill

    rows = []
    for one in measured:
        answers, of_set = answers_of(one), hits.get((one.example.id, one.sample), ())
        if one.confidences is None or not len(answers) == len(of_set) == len(one.confidences):
            continue
        for slot, (answer, q, y) in enumerate(zip(answers, one.confidences, of_set, strict=True)):
            if y is not None:
                rows.append((one.example.id, slot, answer.confidence, q, y))
    if not rows:
        return "no answer could be judged, so the probe is compared with nothing"
    ids, slots, stated, probed, y = zip(*rows, strict=True)
    slot_N = np.array(slots)
    confidences = {"stated": np.array(stated, float), "probe": np.array(probed)}
    by_slot = probe.slot_rate(slot_N)
    if not np.isnan(by_slot).any():
        confidences["slot number alone"] = by_slot
    values = skill(confidences, np.array(y, float), ids, slot_N, rng=np.random.default_rng(seed), n_boot=n_boot)
    n = len({*ids})
    means = f"{np.mean(y):.3f} right, {np.mean(stated):.3f} stated, {np.mean(probed):.3f} by the probe"
    lines = [f"{len(rows):,} answers of {n:,} questions; mean {means}"]
    lines.append(f"{'':23}{'AUROC in question':22}{'AUROC':22}Brier")
    for name, row in values.items():
        cells = "".join(f"{_cell(row.get(metric)):22}" for metric in ("within", "pooled", "brier"))
        lines.append(f"{name:23}{cells}".rstrip())
    if not values["probe"]["within"].n:
        lines.append("no question has a right and a wrong answer, so there is no AUROC in question")
    return "\n".join(lines)


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "-"
    ends = "" if math.isnan(estimate.low) else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{ends}"
