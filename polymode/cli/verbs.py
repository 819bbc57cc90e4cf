"""What each verb does with its options; everything heavy is imported when the verb runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polymode.cli.options import Compare, Doctor, Evaluate, Generate
from polymode.errors import ConfigError, GeneratorFault, MissingExtraError, RunExistsError
from polymode.prompts import Style
from polymode.types import Completion


def generate(options: Generate) -> int:
    """Sample completions into a run folder."""
    from polymode import runs
    from polymode.generate import PATIENCE
    from polymode.generate.batches import sample_batches
    from polymode.generate.confidences import check_model, measure_in_parts, needs_model
    from polymode.prompts import QUESTION, build_prompt, check_k, prompt_for
    from polymode.tasks import examples_of, open_task, verifier_of

    check_k(options.k)
    if options.confidences is not None:
        needs_model(options.confidences)  # an unknown name is refused here
    if (options.out / runs.CONFIG).exists():  # refuse before a model is loaded
        runs.create(options.out, options, resume=options.resume)
        check_same(options, options.out, free=("batch", "refused"))
        if (options.out / runs.COMPLETIONS).exists():
            print(f"completions: {options.out / runs.COMPLETIONS} (already complete)")
            return 0
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
        measured = {(one.example.id, one.sample): one for one in completions if one.confidences is not None}
        how = {"verifier": verifier_of(task), "max_tokens": options.max_tokens, "seed": options.seed}
        how |= {"style": style, "batch": options.batch, "present": set(measured)}
        with hint_at_resume(part, generator):
            for batch in measure_in_parts(options.confidences, completions, generator, **how):
                part.add_completions(batch, **origin)  # read instead of the lines without confidences
                measured |= {(one.example.id, one.sample): one for one in batch}
        completions = [measured.get((one.example.id, one.sample), one) for one in completions]
    path = runs.write_completions(options.out, completions, **origin)
    part.remove()
    print(token_summary(completions, options.max_tokens))
    print(f"completions: {path}")
    return 0


def room_for(generator: Any, prompts: Sequence[str], k: int, confidence: bool, style: Style, max_tokens: int) -> int:
    """Most tokens of a completion, as `check_room` says it; prints when they are fewer than asked for."""
    room = check_room(generator, prompts, k, confidence, style, max_tokens)
    if room < max_tokens:
        print(f"completions are cut off at {room:,} tokens, not {max_tokens:,}: the model reads {generator.context:,}")
    return room


def check_room(generator: Any, prompts: Sequence[str], k: int, confidence: bool, style: Style, max_tokens: int) -> int:
    """Most tokens of a completion, after a check that the model can read the prompts and write the answers.

    Back-ends without a tokenizer here, such as servers, are not checked.

    Raises:
        ConfigError: the tokenizer loses the answer format, or the context has no room for it.
    """
    from polymode.chat import check_reading

    encode = getattr(generator, "encode", None)
    if encode is None:
        return max_tokens
    longest = max((len(encode(prompt)) for prompt in prompts), default=0)
    how: dict[str, Any] = {"k": k, "confidence": confidence, "style": style, "max_tokens": max_tokens}
    how["has_shots"] = bool(generator.chat.shots)
    return check_reading(generator.tokenizer, generator.context, longest, **how)


@contextmanager
def hint_at_resume(part: Any, generator: Any) -> Iterator[None]:
    """Say what a server was asked, and of a failure that nothing finished is lost."""
    try:
        yield
    except GeneratorFault as exc:
        finished = f"what is finished is in {part.path}, and --resume asks only for the rest"
        raise GeneratorFault(str(exc), f"{exc.advice}; {finished}".removeprefix("; ")) from exc
    finally:
        if (usage := getattr(generator, "usage", None)) is not None and usage.n_replies:
            print(f"server: {usage}", flush=True)


def token_summary(completions: Sequence[Completion], max_tokens: int) -> str:
    """Tokens of completions in one line, and how many were cut off."""
    counts = [one.n_tokens for one in completions if one.n_tokens is not None]
    text = f"tokens: {sum(counts):,} generated" if counts else "tokens: the back-end does not count them"
    if 0 < len(counts) < len(completions):
        text += f" in the {len(counts):,} completions that were counted"
    if n_cut := sum(not one.is_finished for one in completions):
        text += f"; {n_cut:,} of {len(completions):,} completions were cut off: raise --max-tokens ({max_tokens})"
    return text


def _verifier_of(task: Any) -> dict[str, Any] | None:
    """Name and options of what judges the task's answers; None where it cannot be had here, as without a sandbox."""
    from polymode.tasks import verifier_of
    from polymode.verifiers.description import describe_verifier

    try:
        return describe_verifier(verifier_of(task))
    except ConfigError:
        return None


def check_same(options: Any, folder: Path, *, free: Sequence[str] = ()) -> None:
    """A run folder belongs to one set of options; only where, how fast and how safely it runs may change."""
    from polymode import runs

    # A folder may be older than the option.
    younger = {
        "chat_template": {},
        "format": "tags",
        "rationale": False,
        "system": None,
        "shots": None,
        "stop": [],
        "refused": "stop",
        "target": "task",
        "dtype": "auto",
    }
    stored = {**younger, **runs.read_configuration(folder).config}
    for name, value in runs.to_json(options).items():
        if name not in ("out", "resume", "unsafe_local", *free) and stored.get(name) != value:
            raise ConfigError(
                f"{name} = {value!r} differs from the run folder's {stored.get(name)!r}: resume with the same "
                f"options, or choose another --out than {folder}"
            )


def evaluate(options: Evaluate) -> int:
    """Measure a file of completions, print the table and write it."""
    from polymode import runs
    from polymode.evaluation import evaluate_into
    from polymode.evaluation.recorded_verifier import recorded_verifier

    if options.votes and options.pool == 1:
        raise ConfigError("--votes needs pooled sets: give --pool too, for example --pool 3")
    path = runs.file_in(options.completions, runs.COMPLETIONS)
    if path.name == runs.JUDGED:
        raise ConfigError(f"{path} is what evaluate writes: name the completions; --resume judges nothing twice")
    if (log := runs.log_at(options.completions)) is not None:
        imported = runs.import_log(log, options.out or log.with_suffix(""))
        path = imported.path
        print(*imported.notes, f"completions: {path} (from {log.name})", sep="\n")
    named = options.open_verifier()
    verifier = recorded_verifier(path) if named is None else named
    target = None if options.target == "auto" else options.target
    confidence = {"auto": None, "yes": True, "no": False}[options.confidence]
    out = options.out or path.parent
    evaluation, groups = evaluate_into(
        out,
        path,
        verifier=verifier,
        reading=runs.Reading(options.k, confidence, target=target),
        by=options.by,
        pooled=options.pool > 1,
        k=options.pool if options.pool > 1 else None,
        confidence_from="votes" if options.votes else "stated",
        metrics=options.metrics,
        n_boot=options.n_boot,
        seed=options.seed,
        resume=options.resume,
        read_with={"k": options.k, "confidence": options.confidence} | ({} if target is None else {"target": target}),
        workers=options.workers,
        engine=options.engine,
    )
    print(evaluation.table())
    if losses := evaluation.losses.describe():
        print(losses)
    if named is None:
        name = evaluation.view["verifier"]["name"]
        print(f"judged as {path} says: {name}" if name != "text" else f"judged by text equality: {path} names no other")
    if groups:
        print(*(f"\n{label}: {part.table()}" for label, part in groups.items()), sep="\n")
    print(f"metrics: {out / runs.METRICS}")
    return 0


def compare(options: Compare, args: Sequence[str]) -> int:
    """Print and write the comparison of several runs."""
    named = options.open_verifier()
    need_packages("report")
    from polymode import runs
    from polymode.compare.compare import compare_runs

    comparison = compare_runs(
        options.runs,
        options.out,
        against=options.against,
        n_boot=options.n_boot,
        verifier=named,
        metrics=options.metrics,
        command=shlex.join(["polymode", "compare", *args]),
    )
    print(comparison.text())
    print(f"report: {options.out / runs.REPORT}")
    return 0


def doctor(options: Doctor) -> int:
    """Print what is installed, or what a recipe needs."""
    from polymode.doctor import diagnose, render, render_memory

    if options.recipe is None:
        if flags := [
            name for name in ("model", "memory", "processes", "zero_stage") if getattr(options, name) is not None
        ]:
            raise ConfigError(f"--{flags[0].replace('_', '-')} is about a recipe: give --recipe too")
        print(render(diagnose()))
        return 0
    if options.memory is not None and not 0 < options.memory < float("inf"):
        raise ConfigError(f"--memory {options.memory} must be above 0: give the gigabytes of one GPU, for example 24")
    needs = {name: getattr(options, name) for name in ("model", "processes", "zero_stage", "prompt_tokens")}
    print(render_memory(options.recipe, gigabytes=options.memory, **needs))
    return 0


_PACKAGES = {
    "train": ("training", ("torch", "transformers", "trl", "datasets")),
    "report": ("the report", ("matplotlib", "jinja2")),
}


def need_packages(extra: str) -> None:
    """Name the extra to install before an import fails with a traceback."""
    from importlib.util import find_spec

    purpose, packages = _PACKAGES[extra]
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, purpose)
