"""What `polymode confidences --from probe` does beyond measuring: it fits the probe before, and compares after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.fingerprints import plain_text
from polymode.types import Completion

if TYPE_CHECKING:
    from polymode.probe import Probe
    from polymode.uncertainty import Estimate

PROBE_FILE = ".npz"
"""Ending of what `polymode.runs.write_probe` writes."""
Labels = dict[tuple[str, int], Sequence[float | None]]
"""What each confidence of a completion is scored against, by its question's id and its sample: 1 for right and 0 for
wrong, or the answer's share where the question's target is a distribution; None is unscored."""


def completions_and_verdicts(path: Path) -> tuple[Path, Path | None]:
    """The file of completions at ``path``, and the judged.jsonl that belongs to it, where there is one.

    Args:
        path: a file of completions, its folder, or a folder that polymode evaluate judged others' completions into.

    Raises:
        ConfigError: it is a judged.jsonl.
        DataNotFoundError: there are no completions.
        RunIncompleteError: they have changed since they were judged.
    """
    from polymode import runs

    file = runs.file_in(path, runs.COMPLETIONS)
    if file.name == runs.JUDGED:
        raise ConfigError(f"{path} holds verdicts without the texts: name its folder")
    verdicts = file.with_name(runs.JUDGED) if file.name == runs.COMPLETIONS else None
    if verdicts is not None and verdicts.is_file():
        texts = runs.completions_of(verdicts.parent)
        if not file.is_file():
            return texts, verdicts
        if texts.resolve() == file.resolve():
            return file, verdicts
    if not file.is_file():
        raise DataNotFoundError(f"{path} has no completions: give a run folder, or a file of completions")
    return file, None


def judged_labels(completions: Sequence[Completion], verdicts: Path | None, verifier: Any) -> Labels:
    """Of the stored verdicts, or, where there are none, those of the verifier."""
    from polymode import runs
    from polymode.evaluation.judging import judge_completions

    if verdicts is None:
        judged, _ = judge_completions(completions, verifier=verifier)
    else:
        judged = [line.judged for line in runs.judged_lines(verdicts)]
    return {(one.id, one.sample): one.hits if one.labels is None else one.labels for one in judged}


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
    """As the user named them."""
    folder: Path
    """Where they stand."""
    completions: Sequence[Completion]
    labels: Mapping[tuple[int, int], float]


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

    if path.suffix == PROBE_FILE:
        return runs.read_probe(path)
    file, verdicts = completions_and_verdicts(path)
    verifier = reading["verifier"]
    if verifier is not None:
        verdicts = None  # the user wants those of this one
    else:
        verifier = recorded_verifier(file) or TextVerifier()
    completions = runs.read_completions(file, **{**reading, "verifier": verifier})
    check_stated(completions, path)
    labels = labels_of(completions, judged_labels(completions, verdicts, verifier))
    try:
        check_fittable(completions, labels)
    except RecordError as exc:
        raise RecordError(f"{path}: {exc}") from None
    return TrainingAnswers(path, file.parent, completions, labels)


def fit_record(path: Path, *, has_slots: bool) -> dict[str, Any]:
    """What config.json says of a fit; raises as `completions_and_verdicts`, and DataNotFoundError without a file."""
    from polymode import runs

    file = path if path.suffix == PROBE_FILE else completions_and_verdicts(path)[0]
    if not file.is_file():
        raise DataNotFoundError(f"{path} does not exist: give a run folder, a file of completions or a {runs.PROBE}")
    return {"fit": str(path), "fit_sha256": runs.fingerprint(file), "slots": has_slots}


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


def comparison(
    measured: Sequence[Completion], labels: Labels, probe: Probe, *, n_boot: int = 1000, seed: int = 0
) -> str:
    """Stated confidences, the probe's and the slot's number beside each other, and constants; or why there is none."""
    import numpy as np

    from polymode.generate.scoring import answers_of
    from polymode.probe.skill import skill

    rows = []
    for one in measured:
        answers, of_set = answers_of(one), labels.get((one.example.id, one.sample), ())
        if one.confidences is None or not len(answers) == len(of_set) == len(one.confidences):
            continue
        for slot, (answer, q, y) in enumerate(zip(answers, one.confidences, of_set, strict=True)):
            if y is not None:
                rows.append((plain_text(one.example.question) or one.example.id, slot, answer.confidence, q, y))
    if not rows:
        return "no answer could be judged, so the probe is compared with nothing"
    questions, slots, stated, probed, y = zip(*rows, strict=True)  # a question under several ids is one
    slot_N = np.array(slots)
    confidences = {"stated": np.array(stated, float), "probe": np.array(probed)}
    by_slot = probe.slot_rate(slot_N)
    if not np.isnan(by_slot).any():
        confidences["slot number alone"] = by_slot
    values = skill(confidences, np.array(y, float), questions, slot_N, rng=np.random.default_rng(seed), n_boot=n_boot)
    n = len({*questions})
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
