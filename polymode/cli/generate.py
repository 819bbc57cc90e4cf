"""`polymode generate`: completions for the questions of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal

from polymode.cli.checks import check_same, hint_at_resume, room_for, why_unmeasured
from polymode.cli.flags import Count, Whole
from polymode.cli.options import ProgramOptions, SamplingOptions
from polymode.errors import ConfigError, RunExistsError
from polymode.types import Completion


@dataclass(frozen=True)
class Generate(SamplingOptions, ProgramOptions):
    r"""Sample completions for the questions of a task and write them to OUT/completions.jsonl.

    Each finished batch is kept in OUT/completions.jsonl.part. After an interruption the same command with --resume
    goes on from there; it refuses other settings.

    Examples:
        polymode generate --model runs/mine/model --out runs/mine/test --k 3
        # go on after an interruption
        polymode generate --model runs/mine/model --out runs/mine/test --k 3 --resume
        # eight completions for each of your own questions
        polymode generate --model Qwen/Qwen3-8B --task records --data questions.jsonl \
            --samples 8 --out runs/mine
    """

    _: KW_ONLY
    model: str
    """Hugging Face model name or folder, for example RUN/model, or a GGUF file."""
    out: Path
    """Run folder that completions.jsonl is written into."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task, for example question_field=prompt (records) or hub=true (ddxplus)."""
    target: Literal["task", "verdict", "distribution"] = "task"
    """What confidences will be measured against: whether the answer is a hit (verdict) or its mass in the question's
    reference distribution; task: what each question says. It is written into the lines."""
    split: Literal["train", "validation", "test"] = "test"
    """Part of the task's questions; no question is in two parts."""
    n: Count = 200
    """Number of questions."""
    k: int = 3
    """Number of answers in one completion (K)."""
    confidence: bool = True
    """Ask for a confidence with each answer."""
    samples: Count = 1
    """Number of completions for each question."""
    seed: Whole = 0
    """Random seed; the same seed gives the same completions."""
    batch: Count = 64
    """Number of completions sampled at the same time, and kept together; vllm and openai choose it themselves."""
    confidences: str | None = None
    """Confidences that are measured instead of the stated ones: answer-probability, p-true, votes, aggregation or
    module:Name; `polymode confidences` measures them later."""
    refused: Literal["stop", "empty"] = "stop"
    """What becomes of prompts that a server refuses: nothing is written until they are answered, or they count as
    empty completions."""
    resume: bool = False
    """Go on in an existing run folder: finished completions are kept, only the missing ones are generated."""


def generate(options: Generate) -> int:
    """Sample completions into a run folder."""
    from polymode import runs
    from polymode.generate.confidences import needs_model
    from polymode.prompts import check_k

    check_k(options.k)
    if options.confidences is not None:
        needs_model(options.confidences)  # an unknown name is refused here
    if (options.out / runs.CONFIG).exists():  # refuse before a model is loaded
        runs.create(options.out, options, resume=options.resume)
        check_same(options, options.out, free=("batch", "refused"))
        if (options.out / runs.COMPLETIONS).exists():
            print(f"completions: {options.out / runs.COMPLETIONS} (already complete)")
            return 0
    with runs.alone(options.out / runs.COMPLETIONS):
        return _generate(options)


def _generate(options: Generate) -> int:
    from polymode import runs
    from polymode.generate import PATIENCE
    from polymode.generate.batches import sample_batches
    from polymode.generate.confidences import check_model, is_measured, measure_in_parts
    from polymode.prompts import QUESTION, build_prompt, prompt_for
    from polymode.tasks import examples_of, open_task, verifier_of

    part = runs.CompletionsPart(options.out / runs.COMPLETIONS)
    if part.path.exists() and not (options.out / runs.CONFIG).exists():
        raise RunExistsError(f"{part.path} is there without its {runs.CONFIG}: put that back, or choose another --out")
    task = open_task(options.task, data=options.data, **options.task_options)
    examples = examples_of(task, options.split, options.n, target=options.target)
    completions = part.completions(examples)
    generator = options.open_generator(options.model, batch=options.batch, show_progress=False, **PATIENCE)
    if options.confidences is not None:
        check_model(options.confidences, generator)
    style = options.prompt_style(task)
    prompts = [prompt_for(one, options.k, confidence=options.confidence, style=style) for one in examples]
    max_tokens = room_for(generator, prompts, options.k, options.confidence, style, options.max_tokens)
    kinds = {(one.exclusive, one.ask) for one in examples}
    forms = [
        build_prompt(QUESTION, options.k, confidence=options.confidence, exclusive=exclusive, style=style, ask=ask)
        for exclusive, ask in kinds
    ]
    conditions = options.conditions(options.model, options.k, forms, style, confidences=options.confidences or "stated")
    runs.create(options.out, options, resume=options.resume, conditions=conditions)
    origin = {"task": {"name": options.task, "options": dict(options.task_options)}, "verifier": _verifier_of(task)}
    if completions:
        print(f"resumed: {len(completions):,} completions are finished", flush=True)
    with hint_at_resume(part, generator):
        for batch in sample_batches(
            examples,
            generator,
            k=options.k,
            confidence=options.confidence,
            samples=options.samples,
            max_tokens=max_tokens,
            temperature=options.temperature,
            seed=options.seed,
            style=style,
            batch=options.batch,
            present={(one.example.id, one.sample) for one in completions},
            refused=options.refused,
        ):
            part.add_completions(batch, **origin)
            completions += batch
    place = {example.id: number for number, example in enumerate(examples)}
    completions.sort(key=lambda one: (place[one.example.id], one.sample))
    if options.confidences is not None:
        measured = {(one.example.id, one.sample): one for one in completions if is_measured(one)}
        how = {"verifier": verifier_of(task), "max_tokens": options.max_tokens, "seed": options.seed}
        refused: list[Any] = []
        how |= {"style": style, "batch": options.batch, "present": set(measured)}
        how["on_refused"] = lambda *one: refused.append(one)
        with hint_at_resume(part, generator):
            for batch in measure_in_parts(options.confidences, completions, generator, **how):
                part.add_completions(batch, **origin)  # read instead of the lines without confidences
                measured |= {(one.example.id, one.sample): one for one in batch}
        completions = [measured.get((one.example.id, one.sample), one) for one in completions]
        for line in why_unmeasured(completions, refused):
            print(line)
    path = runs.write_completions(options.out, completions, **origin)
    part.remove()
    print(token_summary(completions, options.max_tokens, generator))
    print(f"completions: {path}")
    return 0


def token_summary(completions: Sequence[Completion], max_tokens: int, generator: Any = None) -> str:
    """Tokens of completions in one line, and how many were cut off.

    Args:
        completions: all of them.
        max_tokens: longest completion that was asked for.
        generator: the back-end, for what else may have cut them off: its ``context``, or a server.
    """
    counts = [one.n_tokens for one in completions if one.n_tokens is not None]
    text = f"tokens: {sum(counts):,} generated" if counts else "tokens: the back-end does not count them"
    if 0 < len(counts) < len(completions):
        text += f" in the {len(counts):,} completions that were counted"
    cut = [one for one in completions if not one.is_finished]
    # Less than was asked for: at the end of the context, or withheld by a server.
    n_long = sum(one.n_tokens >= max_tokens if one.n_tokens is not None else bool(one.text) for one in cut)
    if n_long:
        text += f"; {n_long:,} of {len(completions):,} completions were cut off: raise --max-tokens ({max_tokens})"
    if n_early := len(cut) - n_long:
        early = f"{n_early:,} of {len(completions):,} completions"
        context = getattr(generator, "context", None)
        if context is not None:
            text += (
                f"; {early} reached the end of the model's context of {context:,} tokens: use a shorter prompt, or a "
                "model with a longer context"
            )
        else:
            text += f"; {early} are shorter than --max-tokens ({max_tokens}) and did not end by themselves"
            if getattr(generator, "usage", None) is not None:
                text += ": withheld by the server, or at the end of the model's context"
    return text


def _verifier_of(task: Any) -> dict[str, Any] | None:
    """Name and options of what judges the task's answers; None where it cannot be had here, as without a sandbox."""
    from polymode.tasks import verifier_of
    from polymode.verifiers.description import describe_verifier

    try:
        return describe_verifier(verifier_of(task))
    except ConfigError:
        return None
