"""`polymode evaluate`: completions of any model, judged and measured."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal

from polymode.cli.flags import Count, SomeCount, Whole
from polymode.cli.options import MeasureOptions
from polymode.errors import ConfigError


@dataclass(frozen=True)
class Evaluate(MeasureOptions):
    r"""Judge and measure completions of any model; judged.jsonl and metrics.json are written beside the file.

    The file is JSONL: one JSON object per line, with "completion" (the model's whole text) and "references" (a list of
    strings, of lists of aliases, or of objects with text, aliases and weight). Samples of one question share an "id".
    The number of answers and whether confidences were requested are given by "k" and "confidence" in each line, or by
    --k and --confidence. Neither torch nor a GPU is needed.

    Logs of inspect_ai (.eval, .json) and files of samples of lm-eval are read too, into a folder of their own name
    beside them. What a log holds that is no completion is counted.

    Examples:
        # a run folder, judged as its task does
        polymode evaluate runs/mine/test
        # completions of any model
        polymode evaluate answers.jsonl --k 3
        # what inspect_ai logged
        polymode evaluate logs/2026-11-27_task_ID.eval --k 3
        # three independent single answers side by side as one set
        polymode evaluate samples.jsonl --k 1 --pool 3
        # five answer sets of each question pooled into one ranked set, as polymode serve --pool 5 does
        polymode evaluate runs/mine/samples --pool 5
        # go on after an interruption
        polymode evaluate runs/mine/test --resume
        # on a Ray cluster whose machines share the files
        polymode evaluate runs/mine/test --engine ray
        # mathematics: 1/2 equals 0.5
        polymode evaluate answers.jsonl --verifier symbolic
        # a language model as judge
        polymode evaluate answers.jsonl --verifier judge \
            --verifier-options base_url=http://localhost:8000/v1 model=MODEL
    """

    completions: Path
    """A completions.jsonl file, a log of inspect_ai or lm-eval, or a folder that contains one."""
    _: KW_ONLY
    out: Path | None = None
    """Folder for judged.jsonl and metrics.json; by default that of the completions, or one named after the log."""
    k: int | None = None
    """Number of answers requested (K); overrides the lines of the file."""
    confidence: Literal["auto", "yes", "no"] = "auto"
    """Whether confidences were requested; `auto`: what each line says, else whether its completion contains one."""
    target: Literal["auto", "verdict", "distribution"] = "auto"
    """What confidences are measured against: whether the answer is a hit (verdict), or its mass in the reference
    distribution or the weights of the references; `auto`: what each line says in "target", else verdict."""
    pool: Count = 1
    """Make one set of this many completions of a question. Single answers (K = 1) stand side by side; answer sets
    become one ranked set of K answers with the averages of their confidences, as polymode serve --pool makes it."""
    votes: bool = False
    """With --pool and single answers: use the share of samples that gave an answer as its confidence."""
    by: str | None = None
    """Also measure each group of questions separately, grouped by this field of "meta"."""
    seed: Whole = 0
    """Random seed of the bootstrap."""
    resume: bool = False
    """Go on with an interrupted evaluation: what was judged is taken, except unscored answers."""
    workers: SomeCount = None
    """Processes that judge; by default all cores where the file is large. A verifier with workers of its own is asked
    by one. The numbers do not depend on it."""
    engine: Literal["local", "ray"] = "local"
    """Where files are read and judged: in processes here, or (`ray`) on the Ray cluster that RAY_ADDRESS names or that
    runs here, else one that is started here. The numbers do not depend on it."""


def evaluate(options: Evaluate) -> int:
    """Measure a file of completions, print the table and write it."""
    from polymode import runs
    from polymode.evaluation import evaluate_into
    from polymode.evaluation.recorded_verifier import recorded_verifier
    from polymode.report.words import group_metrics

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
    is_single = options.pool > 1 and (options.k or next(runs.read_jsonl(path), {}).get("k") or 1) == 1
    evaluation, groups = evaluate_into(
        out,
        path,
        verifier=verifier,
        reading=runs.Reading(options.k, confidence, target=target),
        by=options.by,
        pooled=is_single,
        k=options.pool if is_single else None,
        pool=1 if is_single else options.pool,
        confidence_from="votes" if options.votes else "stated",
        metrics=options.metrics,
        n_boot=options.n_boot,
        seed=options.seed,
        resume=options.resume,
        read_with={"k": options.k, "confidence": options.confidence} | ({} if target is None else {"target": target}),
        workers=options.workers,
        engine=options.engine,
    )
    print(evaluation.table(group_metrics))
    print()
    if losses := evaluation.losses.describe():
        print(losses)
    if named is None:
        name = evaluation.view["verifier"]["name"]
        none = f"verifier: text equality ({path} names none; choose one with --verifier)"
        print(none if verifier is None else f"judged as {path} says: {name}")
    if groups:
        print(*(f"\n{label}: {part.table(group_metrics)}" for label, part in groups.items()), sep="\n")
    print("docs/metrics.md has the formula of each metric")
    print(f"metrics: {out / runs.METRICS}")
    return 0
