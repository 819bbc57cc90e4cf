"""`polymode confidences`: measured confidences for completions that exist."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from polymode.cli.flags import Count, SomeCount, Whole
from polymode.cli.options import ModelOptions, VerifierOptions, with_dtype
from polymode.errors import ConfigError
from polymode.types import Completion

LITTLE_MASS = 0.5
"""Below this probability of True and False together, P(True) says little about the model."""


@dataclass(frozen=True)
class Confidences(VerifierOptions):
    r"""Measure confidences of completions that exist, and write them as a new run folder.

    Methods:
    - p-true: the model is asked whether each answer is right; P(True) / (P(True) + P(False)) over all spellings.
    - answer-probability: probability of the answer's tokens.
    - votes: share of the question's samples that hold an equal answer; no model is needed.
    - aggregation: probability of all sampled wordings of an answer together.
    - probe: a linear probe of the model's hidden state where it states the confidence, fitted to judged answers of
      other questions (--fit). Prints AUROC and Brier score of stated and probed confidences.

    Model, prompt and chat template are by default those of the run. Each finished part is kept in
    OUT/completions.jsonl.part; after an interruption the same command with --resume goes on from there.

    Examples:
        polymode confidences runs/mine/samples --method p-true
        # completions of any model, by a model behind a server
        polymode confidences answers.jsonl --method p-true --model MODEL --out runs/p-true \
            --backend openai --backend-options base_url=http://localhost:8000/v1
        # share of the samples, without a model, as runs/mine/samples-votes
        polymode confidences runs/mine/samples --method votes
        # what the model knows beyond what it states, learnt from judged answers of training questions
        polymode confidences runs/mine/test --from probe --fit runs/mine/train
    """

    completions: Path
    """A completions.jsonl file, or a folder that contains one."""
    _: KW_ONLY
    method: Annotated[str, Parameter(alias="--from")]
    """What is measured: p-true, answer-probability, votes, aggregation, probe or module:Name."""
    fit: Path | None = None
    """With probe, what it is fitted to: a run folder of training questions by the same model, judged or not, a file of
    such completions, or the probe.npz of an earlier command."""
    slots: bool = True
    """With probe, give each slot a level of its own, so that the slot number is part of what the probe knows."""
    out: Path | None = None
    """Run folder to create; by default the folder of the completions with -METHOD behind its name."""
    model: str | None = None
    """Hugging Face model name or folder, or a server's name of it; by default the run's."""
    backend: str | None = None
    """What runs the model: transformers, vllm (p-true), openai (a server) or module:Name; by default the run's."""
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the back-end; openai needs base_url. By default the run's."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What the model computes in; auto: as in the run, and where it does not say, bfloat16 where the machine is fast at
    it and the model is not small."""
    chat_template: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the model's chat template; by default the run's."""
    style: Literal["run", "full", "brief"] = "run"
    """Prompt style of the completions; `run` is the run's own, or full where none is recorded."""
    k: int | None = None
    """Number of answers requested (K); overrides the lines of the file."""
    confidence: Literal["auto", "yes", "no"] = "auto"
    """Whether confidences were requested; `auto`: what each line says, else whether its completion contains one."""
    reasoning: Literal["empty", "sampled"] = "empty"
    """With p-true, what a thinking model reads before True or False: an empty reasoning, or one that it samples."""
    checks: Count = 10
    """With p-true, replies to each answer where a server tells no probabilities."""
    max_tokens: SomeCount = None
    """With p-true, longest reasoning or reply in tokens; by default the run's, else 1536."""
    seed: Whole = 0
    """Random seed of sampled reasoning and replies."""
    batch: Count = 64
    """Number of completions measured and kept together; a server's are kept question by question."""
    resume: bool = False
    """Go on in an existing folder: only the missing confidences are measured."""


def measure(options: Confidences) -> int:
    """Measure the confidences and write completions that hold them."""
    from polymode import runs

    source = runs.file_in(options.completions, runs.COMPLETIONS)
    out = options.out or _default_out(source, options.method)
    if out.resolve() == source.parent.resolve() and source.name == runs.COMPLETIONS:
        raise ConfigError(f"--out {out} holds the completions that are measured: choose another folder")
    with runs.alone(out / runs.COMPLETIONS):
        return _measure(options, source, out)


def _measure(options: Confidences, source: Path, out: Path) -> int:
    from polymode import runs
    from polymode.cli.checks import check_same, hint_at_resume
    from polymode.cli.probing import (
        TrainingAnswers,
        check_writer,
        comparison,
        completions_and_verdicts,
        fit_record,
        fitted,
        judged_labels,
        read_training,
    )
    from polymode.evaluation import read_completions
    from polymode.evaluation.recorded_verifier import recorded_verifier
    from polymode.generate import PATIENCE
    from polymode.generate.confidences import check_model, is_measured, measure_in_parts, needs_model
    from polymode.generate.probing import check_probe, check_spelled, check_stated
    from polymode.verifiers.text import TextVerifier

    has_model, is_probe = needs_model(options.method), options.method == "probe"
    if is_probe and options.fit is None:
        raise ConfigError("--fit is missing: a probe learns from judged answers; give a run folder of other questions")
    if options.fit is not None and not is_probe:
        raise ConfigError(f"--fit is for --from probe: leave it out, {options.method} learns nothing")
    named = options.open_verifier()
    verifier = named if named is not None else recorded_verifier(source) or TextVerifier()
    asked = {"auto": None, "yes": True, "no": False}[options.confidence]
    completions = read_completions(source, k=options.k, confidence=asked, verifier=verifier)
    stored = _stored(source.parent)
    model_options = _model_options(options, stored)
    model = options.model or stored.get("model")
    if has_model and not model:
        raise ConfigError(f"--model is missing: {options.method} asks the model, and {source} does not name it")
    record = _record(options, model_options, model if has_model else None, stored, source)
    verdicts = None
    if options.fit is not None:
        record |= fit_record(options.fit, has_slots=options.slots)
        check_stated(completions, source)
        verdicts = completions_and_verdicts(source)[1] if named is None else None
    if (out / runs.CONFIG).exists():
        runs.create(out, record, resume=options.resume)
        check_same(record, out, free=("batch",))
        if (out / runs.COMPLETIONS).exists():
            print(f"completions: {out / runs.COMPLETIONS} (already complete)")
            return 0
    style = _style(model_options, stored)
    part = runs.CompletionsPart(out / runs.COMPLETIONS)
    by_id = {one.example.id: one.example for one in completions}
    stored_part = part.completions(list(by_id.values())) if (out / runs.CONFIG).exists() else []
    measured = [one for one in stored_part if is_measured(one)]
    refused: list[Any] = []
    how: dict[str, Any] = {"style": style, "batch": options.batch, "verifier": verifier}
    how |= {"reasoning": options.reasoning, "checks": options.checks, "seed": options.seed}
    how |= {"max_tokens": model_options.max_tokens, "present": {(one.example.id, one.sample) for one in measured}}
    how["on_refused"] = lambda *one: refused.append(one)
    generator: Any = None
    probe, training, fit_style = None, None, style
    if options.fit is not None:
        earlier = out / runs.PROBE  # of the command that was interrupted
        path = earlier if measured and earlier.is_file() else options.fit
        training = read_training(path, {"k": options.k, "confidence": asked, "verifier": named})
        check_writer(str(model), stored.get("model"), source)
        if isinstance(training, TrainingAnswers):
            fit_stored = _stored(training.folder)
            fit_style = _style(_model_options(options, fit_stored), fit_stored) if fit_stored else style
            check_writer(str(model), fit_stored.get("model"), path)
        else:
            check_writer(str(model), training.model, path)
    if has_model:
        generator = model_options.open_generator(str(model), batch=options.batch, show_progress=False, **PATIENCE)
        check_model(options.method, generator, ("probe",))
    if training is not None:
        check_spelled(completions, generator, style, source)
        fitting = {"has_slots": options.slots, "seed": options.seed, "model_name": str(model)}
        how["probe"] = probe = fitted(training, generator, fit_style, **fitting)
        check_probe(completions, generator, style, probe)
    runs.create(out, record, resume=options.resume)
    if probe is not None:
        runs.write_probe(out / runs.PROBE, probe)
    if measured:
        print(f"resumed: {len(measured):,} completions are measured", flush=True)
    with hint_at_resume(part, generator):
        for batch in measure_in_parts(options.method, completions, generator, **how):
            part.add_completions(batch)
            measured += batch
    place = {(one.example.id, one.sample): number for number, one in enumerate(completions)}
    measured.sort(key=lambda one: place[one.example.id, one.sample])
    path = runs.write_completions(out, measured)
    part.remove()
    print(summary(options.method, measured, refused))
    if probe is not None:
        print(comparison(measured, judged_labels(completions, verdicts, verifier), probe, seed=options.seed))
    print(f"completions: {path}")
    return 0


def summary(method: str, completions: Sequence[Completion], refused: Sequence[Any] = ()) -> str:
    """How many completions have confidences and why others have none, their mean, and the mass of the compared words.

    Args:
        method: by which they were measured.
        completions: all of them.
        refused: completions that the model refuses, each with its error.
    """
    from polymode.cli.checks import why_unmeasured

    values = [q for one in completions for q in one.confidences or ()]
    n = sum(one.confidences is not None for one in completions)
    lines = [f"{method}: {n:,} of {len(completions):,} completions have confidences"]
    if values:
        lines[0] += f", {len(values):,} answers, mean {math.fsum(values) / len(values):.3f}"
    lines += why_unmeasured(completions, refused)
    n_silent = sum(one.confidences is None and one.confidence_mass is not None for one in completions)
    if n + n_silent + len(refused) < len(completions):
        too_long = ", or are longer than the model reads" if method == "probe" else ""
        lines.append(f"the others are not clean or cannot be compared{too_long}: they have none")
    if masses := sorted(mass for one in completions for mass in one.confidence_mass or ()):
        mean = math.fsum(masses) / len(masses)
        lines.append(f"share of the probability that the compared words hold: mean {mean:.3f}, lowest {masses[0]:.3f}")
        if mean < LITTLE_MASS:
            lines.append(
                "note: the model would mostly say something else, so these confidences say little about it: try "
                "--reasoning sampled, other --chat-template arguments, or --method votes"
            )
    return "\n".join(lines)


def _default_out(source: Path, method: str) -> Path:
    from polymode import runs

    name = source.parent if source.name == runs.COMPLETIONS else source.with_suffix("")
    name = name.resolve() if not name.name else name
    return name.with_name(f"{name.name}-{method.replace(':', '-')}")


def _stored(folder: Path) -> dict[str, Any]:
    """The options that the completions were sampled with: of `polymode generate`, or of the training run above."""
    from polymode import runs

    if (folder / runs.CONFIG).is_file():
        return dict(runs.read_configuration(folder).config)
    run = folder.resolve().parent
    if not runs.is_training(run):
        return {}
    recipe = runs.read_configuration(run).config
    names = ("task", "task_options", "data", "format", "rationale")
    named = {name: recipe[name] for name in names if recipe.get(name) is not None}
    return {**named, "model": str(run / "model"), "style": recipe.get("prompt_style", "task")}


def _model_options(options: Confidences, stored: Mapping[str, Any]) -> ModelOptions:
    """How the model is run and prompted: as the run says, but for what the flags say."""
    names = {one.name for one in fields(ModelOptions)}
    own = {name: value for name, value in stored.items() if name in names and value is not None}
    own.setdefault("style", "full")
    own |= {name: Path(own[name]) for name in ("data", "shots") if name in own}
    own |= {name: tuple(value) for name, value in own.items() if isinstance(value, list)}
    flags = {name: getattr(options, name) for name in ("backend", "backend_options", "chat_template", "max_tokens")}
    if options.backend not in (None, own.get("backend", "transformers")):
        own.pop("backend_options", None)  # they belong to the other back-end
    own |= {name: value for name, value in flags.items() if value}
    if options.dtype != "auto":
        others = {name: value for name, value in own.get("backend_options", {}).items() if name != "dtype"}
        stated = options.backend_options or others
        own["backend_options"] = with_dtype(own.get("backend", "transformers"), stated, options.dtype)
    return ModelOptions(**(own if options.style == "run" else {**own, "style": options.style}))


def _style(options: ModelOptions, stored: Mapping[str, Any]) -> Any:
    from polymode.tasks import open_task

    if options.style != "task":
        return options.prompt_style()
    return options.prompt_style(open_task(options.task, data=options.data, **stored.get("task_options", {})))


def _record(
    options: Confidences, model_options: ModelOptions, model: str | None, stored: Mapping[str, Any], source: Path
) -> dict[str, Any]:
    """What config.json says."""
    from polymode import runs

    own = {name: runs.to_json(options)[name] for name in ("verifier", "verifier_options", "k", "confidence")}
    how = {name: getattr(options, name) for name in ("reasoning", "checks", "seed", "batch")}
    return {
        **stored,
        **runs.to_json(model_options),
        **own,
        **how,
        "model": model,
        "confidences": options.method,
        "source": str(source),
        "source_sha256": runs.fingerprint(source),
    }
