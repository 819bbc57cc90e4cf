"""`polymode compare`: any runs side by side, with paired differences to one of them.

Values and intervals are those of each metrics.json, and differences come from the verdicts of each judged.jsonl. Only
where a verifier is asked for are all completions judged again, by that one; then it decides values and differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from polymode import runs
from polymode.compare.columns import Column, columns_of, deep_folder, find_runs, unfinished
from polymode.compare.comparison import Comparison, worked_examples
from polymode.compare.pairs import Evaluations, differences_of
from polymode.errors import ConfigError, RunExistsError, RunIncompleteError
from polymode.progress import progress_bar
from polymode.report.arms import read_arm
from polymode.report.equal_tokens import completions_for, find_budget, with_equal_tokens
from polymode.report.page import write_report
from polymode.uncertainty import N_BOOT
from polymode.verifiers import QuestionVerifier, Verifier


def compare_runs(
    paths: Sequence[Path],
    out: Path,
    *,
    against: str | None = None,
    n_boot: int = N_BOOT,
    verifier: Verifier | QuestionVerifier | None = None,
    metrics: Sequence[str] = (),
    command: str = "",
) -> Comparison:
    """Lay runs side by side and write ``report.html``, ``compare.md`` and ``compare.json`` into ``out``.

    Args:
        paths: evaluation folders, or folders of training runs or experiments that hold some.
        out: folder to write into; an earlier comparison in it is replaced.
        against: name of the baseline column; see `pick_against`.
        n_boot: bootstrap replicates of the differences.
        verifier: judges all completions again; None takes the verdicts that are stored.
        metrics: own metrics that differences are computed of (`polymode.metrics.own`).
        command: shown on the page as the way to repeat it.

    Raises:
        DataNotFoundError: no such folder.
        ConfigError: a folder without evaluations, fewer than two columns, an unknown ``against``, columns without a
            shared question.
        RunExistsError: ``out`` holds a report that is no comparison.
        WriteError: a file cannot be written.
    """
    _check_out(out)
    columns = columns_of([run for path in paths for run in find_runs(path)])
    if len(columns) < 2:
        raise ConfigError(f"nothing to compare: {paths[0]} holds one column, {columns[0].name}; name another run")
    base = pick_against(columns, against)
    folders = {
        place.resolve()
        for column in columns
        for run in column.runs
        for place in (run.folder, deep_folder(run))
        if place
    }
    with progress_bar(total=len(folders), desc="comparing", unit=" folders") as bar:
        evaluations = Evaluations(verifier, metrics, n_boot=n_boot, advance=bar.update)
        comparison = compare_columns(columns, base, evaluations, n_boot=n_boot)
    notes = [f"left out, not evaluated: {folder}" for path in paths if path.is_dir() for folder in unfinished(path)]
    notes += comparison.notes
    try:
        examples = worked_examples(columns)
    except RunIncompleteError as exc:  # numbers do not need the texts
        examples = []
        notes.append(f"without worked examples: {exc}")
    comparison = replace(comparison, notes=tuple(notes))
    comparison.write(out)
    write_report(
        out / runs.REPORT,
        title="polymode: comparison",
        intro=comparison.intro(),
        arms=comparison.data,
        facts={"command": command, "runs": ", ".join(map(str, paths)), "replicates": f"{n_boot:,}"},
        examples=examples,
        differences=comparison.to_baseline,
    )
    return comparison


def compare_columns(columns: Sequence[Column], base: Column, evaluations: Evaluations, *, n_boot: int) -> Comparison:
    """The columns with their paired differences to ``base``; nothing is written.

    Raises:
        ConfigError: columns without a shared question.
        RunIncompleteError, RecordError: a file is missing or damaged.
    """
    data = [read_arm(column.arm, [evaluations.metrics(run) for run in column.runs]) for column in columns]
    budget = find_budget(data)
    paid = {column.name: completions_for(budget, one) for column, one in zip(columns, data, strict=True)}
    differences = {
        column.name: differences_of(column, base, evaluations, (paid[column.name], paid[base.name]), n_boot=n_boot)
        for column in columns
        if column is not base
    }
    notes = [
        f"{one.arm.label}: {one.view['n_unscored']:,} of {one.view['n_completions']:,} completions could not be judged "
        "and are left out" + ("" if one.view["n_sets"] else ", so what depends on verdicts is undefined")
        for one in data
        if one.view["n_unscored"]
    ]
    return Comparison(
        columns=tuple(columns),
        data=tuple(with_equal_tokens(data, budget)),
        budget=budget,
        against=base,
        differences=differences,
        notes=tuple(notes),
    )


def pick_against(columns: Sequence[Column], name: str | None) -> Column:
    """The column called ``name``.

    A column goes by its name, its label, or its arm's name alone when that is enough (the first view is taken). None
    takes the independent samples of single-rlvr where they are, else the first column.

    Raises:
        ConfigError: no such column; the message lists the names.
    """
    if name is None:
        samples = [c for c in columns if c.runs[0].method == "single-rlvr" and c.runs[0].is_joined]
        return (samples or list(columns))[0]
    for column in columns:
        if name in (column.name, column.arm.label):
            return column
    of_arm = [column for column in columns if name in column.name.split("/")[:-1]]
    if not of_arm:
        names = ", ".join(column.name for column in columns)
        raise ConfigError(f"--against {name!r} is no column: use one of {names}")
    return of_arm[0]


def _check_out(out: Path) -> None:
    if (out / runs.REPORT).exists() and not (out / Comparison.FILE).exists():
        raise RunExistsError(f"folder {out} holds a {runs.REPORT} that is no comparison: choose another --out")
    if (out / runs.COMPLETIONS).exists():
        raise RunExistsError(f"folder {out} holds {runs.COMPLETIONS}: choose another --out")
