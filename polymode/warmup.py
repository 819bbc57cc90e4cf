"""Teach a causal LM the answer format: demonstrations, supervised training, a check before and after (layer L5).

::

    RUN/config.json      the options          RUN/demonstrations/completions.jsonl   what it was trained on
    RUN/metrics.jsonl    the loss by step     RUN/warmup.json    share of clean completions before and after
    RUN/model/           the trained model, appears when training is done

Above generation and training because it uses both: the demonstrations may be the model's own samples.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.chat import Chat
from polymode.errors import ConfigError
from polymode.format_checks import check_stops
from polymode.generate import Generator, sample_completions
from polymode.generate.room import check_room
from polymode.parsing import fits_line, parse_answers
from polymode.prompts import Style, build_plain_prompt, notation_of, prompt_for
from polymode.tasks import Task, verifier_of
from polymode.training.demonstrations import (
    Format,
    Warmup,
    from_file,
    from_samples,
    from_task,
    in_notation,
    numbered,
    plain_answer,
    without_reasoning,
)
from polymode.types import Completion, Example
from polymode.verifiers.description import describe_verifier

log = logging.getLogger(__name__)
DEMONSTRATIONS, SUMMARY, MODEL = "demonstrations", "warmup.json", "model"
_CLEAN_ENOUGH = 0.5
"""Share of clean completions below which the user is warned."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are sampled."""

    style: Style
    max_tokens: int
    temperature: float


def warm_up(
    task: Task,
    folder: Path,
    options: Warmup,
    sampling: Sampling,
    open_model: Callable[[Path | None, str], Any],
    begin: Callable[[], Any] = lambda: None,
) -> dict[str, Any]:
    """Collect demonstrations, train on them, and return what warmup.json holds.

    What an earlier call has finished in ``folder`` is used again.

    Args:
        task: the questions.
        folder: the run folder.
        options: where demonstrations come from, and how they are learnt.
        sampling: how completions are sampled.
        open_model: opens a model as a `TransformersGenerator` in a dtype: None the one to train, else the folder.
        begin: writes the folder's config.json, where it is not there; called when there are demonstrations, so that
            a model or questions that cannot be used leave nothing behind.
    """
    if (folder / SUMMARY).exists():
        return runs.read_json(folder / SUMMARY)
    if options.lora:  # a name that does not exist is told before anything is sampled
        from polymode.training.trl_options import lora_config

        lora_config(options.lora)
    form = max(options.formats)
    examples = task.examples("validation", options.check, seed=options.seed)

    def clean_share_of(generator: Generator) -> float:
        from polymode.training.warmup import clean_share

        completions = sample_completions(
            examples,
            generator,
            k=form.k,
            confidence=form.has_confidence,
            samples=1,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            seed=options.seed,
            style=sampling.style,
        )
        return clean_share(completions)

    path = folder / DEMONSTRATIONS
    is_collected = (path / runs.COMPLETIONS).exists()
    # Those that need no model come first: a file that is missing or damaged is told before a model is loaded.
    demonstrations = runs.read_demonstrations(path) if is_collected else written(task, options)
    generator = open_model(None, options.dtype)
    if options.lora and not (folder / MODEL).exists():
        from polymode.training.adapters import check_targets

        check_targets(generator.model, options.lora)
    if not (folder / MODEL).exists():
        from polymode.training.warmup import check_training_memory

        print(f"memory: {check_training_memory(generator, options)}", flush=True)
    learnt = (
        [one.example for one in demonstrations]
        if demonstrations
        else task.examples("train", options.questions, seed=options.seed)
    )
    room = _room_of([*examples, *learnt], generator, options.formats, sampling)
    if room < sampling.max_tokens:
        log.warning("max_tokens = %d: the longest prompt leaves %d tokens, which are taken", sampling.max_tokens, room)
        sampling = replace(sampling, max_tokens=room)
    before = clean_share_of(generator)
    if not is_collected:
        demonstrations = demonstrations or sampled(task, generator, options, sampling)
        demonstrations = [in_notation(one, sampling.style) for one in demonstrations]
        demonstrations = _short_enough(demonstrations, generator.tokenizer, sampling.max_tokens)
        verifier = describe_verifier(verifier_of(task))
        begin()
        is_own = options.demonstrations in ("self", "task")
        origin: dict[str, Any] = {"task": {"name": task.name, "options": {}}, "verifier": verifier}
        runs.write_completions(path, demonstrations, **origin, has_references=is_own)
    if not (folder / MODEL).exists():
        from polymode.training.warmup import train_on

        del generator  # its weights may be rounded to bfloat16
        generator = open_model(None, "float32")
        train_on(demonstrations, generator, folder, options, style=sampling.style)
    del generator
    summary = {
        "demonstrations": len(demonstrations),
        "questions": len({one.example.id for one in demonstrations}),
        "checked": {"n": len(examples), "k": form.k, "confidence": form.has_confidence},
        "clean_before": before,
        "clean_after": clean_share_of(open_model(folder / MODEL, options.dtype)),
    }
    if summary["clean_after"] < _CLEAN_ENOUGH:
        log.warning(
            "only %.0f%% of %d checked completions keep the format after the warm-up: what is trained from here will "
            "learn little. Look at %s, then raise --steps or --max-tokens, or use other demonstrations",
            100 * summary["clean_after"],
            len(examples),
            path / runs.COMPLETIONS,
        )
    runs.write_json(folder / SUMMARY, {"schema": runs.SCHEMA, **summary})
    return summary


def _short_enough(demonstrations: Sequence[Completion], tokenizer: Any, max_tokens: int) -> list[Completion]:
    """The demonstrations that a completion of at most ``max_tokens`` tokens, with its end, can hold.

    A longer one would teach the model to write what is then cut off.

    Raises:
        ConfigError: there is none.
    """
    n_tokens_N = [len(tokenizer(one.text, add_special_tokens=False)["input_ids"]) + 1 for one in demonstrations]
    short = [one for one, n in zip(demonstrations, n_tokens_N, strict=True) if n <= max_tokens]
    if not short:
        raise ConfigError(
            f"max_tokens = {max_tokens}: every one of the {len(demonstrations)} demonstrations is longer (the shortest "
            f"has {min(n_tokens_N)} tokens): raise --max-tokens, or use shorter demonstrations"
        )
    if len(short) < len(demonstrations):
        log.warning(
            "%d of %d demonstrations are longer than %d tokens and left out; the longest has %d (--max-tokens)",
            len(demonstrations) - len(short),
            len(demonstrations),
            max_tokens,
            max(n_tokens_N),
        )
    return short


def _room_of(examples: Sequence[Example], generator: Any, formats: Sequence[Format], sampling: Sampling) -> int:
    """Most tokens of a completion, for a model that can read the questions, write the format and end.

    Raises:
        ConfigError: it cannot, which is told before anything is sampled.
    """
    from polymode.training.warmup import end_of

    end_of(generator)
    form = max(formats)
    for one in formats:
        check_stops(
            getattr(generator, "chat", Chat()).stop, k=one.k, confidence=one.has_confidence, style=sampling.style
        )
    prompts = [
        prompt_for(one, form.k, confidence=form.has_confidence, style=sampling.style)
        for one in examples
        for form in formats
    ]
    return check_room(
        generator,
        prompts,
        k=form.k,
        confidence=form.has_confidence,
        style=sampling.style,
        max_tokens=sampling.max_tokens,
        has_shots=True,  # of a model without a chat template nothing need be said here: this is what teaches it
    )


def written(task: Task, options: Warmup) -> list[Completion]:
    """The demonstrations of the task or of a file, where the options ask for these; else none.

    Raises:
        ConfigError: the task writes none.
        DataNotFoundError, RecordError: of the file.
    """
    if options.demonstrations == "self":
        return []
    if options.demonstrations == "task":
        n = options.questions * len(options.formats)
        shown = from_task(task, options.formats, n, seed=options.seed)
    else:
        shown = from_file(Path(options.demonstrations), options.formats)
    return numbered(shown if options.reasoning else map(without_reasoning, shown))


def sampled(task: Task, generator: Generator, options: Warmup, sampling: Sampling) -> list[Completion]:
    """The demonstrations that the model's own samples make.

    Raises:
        ConfigError: no question has enough distinct answers among its samples.
    """
    formats = options.formats
    examples = task.examples("train", options.questions, seed=options.seed)
    sample = _plain_answers if options.sample_prompt == "plain" else _formatted_answers
    answers_PM = sample(examples, generator, options, sampling)
    if notation_of(sampling.style) == "lines":  # an answer that a line cannot hold
        answers_PM = [[text if fits_line(text) else "" for text in answers] for answers in answers_PM]
    completions, n_missing = from_samples(
        examples, answers_PM, verifier_of(task), formats, references=options.references
    )
    if not completions:
        raise ConfigError(
            f"no question has enough distinct answers among its {options.samples} samples: raise --samples or "
            "--max-tokens, lower --k, or use --demonstrations task"
        )
    if n_missing:
        log.warning(
            "%d of %d demonstrations could not be written: their %d samples hold fewer distinct answers than asked for",
            n_missing,
            len(examples) * len(formats),
            options.samples,
        )
    return numbered(completions)


def _plain_answers(
    examples: Sequence[Example], generator: Generator, options: Warmup, sampling: Sampling
) -> list[list[str]]:
    """Answers to a prompt that asks for one answer and nothing else."""
    generated = generator.generate(
        [build_plain_prompt(example.question) for example in examples],
        n=options.samples,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        seed=options.seed,
    )
    # What was cut off behind its first line was answered; what was cut off in it was not.
    return [
        [plain_answer(one.text) for one in group if one.is_finished or "\n" in one.text.strip()] for group in generated
    ]


def _formatted_answers(
    examples: Sequence[Example], generator: Generator, options: Warmup, sampling: Sampling
) -> list[list[str]]:
    """Answers of the completions that keep the answer format, asked for one answer without a confidence."""
    completions = sample_completions(
        examples,
        generator,
        k=1,
        confidence=False,
        samples=options.samples,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        seed=options.seed,
        style=sampling.style,
    )
    read = [parse_answers(one.text, 1, confidence=False, finished=one.is_finished) for one in completions]
    answers = [answers.answers[0].text if answers.is_clean else "" for answers in read]
    return [answers[i : i + options.samples] for i in range(0, len(answers), options.samples)]
