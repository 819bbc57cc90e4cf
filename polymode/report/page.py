"""The report: one self-contained HTML file, generated from run folders (layer L4).

Whatever a model or a user wrote is inserted as text: Jinja2 escapes it, control characters are replaced, and the page's
own content policy forbids scripts and external resources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import ConfigError, MissingExtraError
from polymode.report import table, words
from polymode.report.arms import Arm, ArmData, read_arm
from polymode.report.charts import Markup, assign_styles, clean, css_variables, swatch
from polymode.report.differences import Difference, Differences, write_parts
from polymode.report.equal_tokens import find_budget, with_equal_tokens
from polymode.report.examples import WorkedExample
from polymode.report.figures import build_figures
from polymode.report.groups import StepGroups, last_groups
from polymode.report.headline import known_best, write_headline, write_tiles


@dataclass(frozen=True, slots=True)
class _CellView:
    """A table cell as the page writes it."""

    value: str
    interval: str
    title: str
    spread: str = ""
    mark: str = ""
    """``better`` or ``worse`` for a difference whose interval excludes 0."""


_Groups = list[tuple[str, list[tuple[str, words.Row, list[_CellView]]]]]
"""Rows of cells, by metric, under group titles."""


def write_report(path: Path, **content: Any) -> Path:
    """Write the report of `report_html`, which takes ``content``, to ``path``, and return ``path``.

    The file is written whole or not at all.

    Raises:
        WriteError: the file cannot be written.
        PolymodeError: as `report_html`.
    """
    html = report_html(**content)
    with runs.writing(path) as handle:
        handle.write(html)
    return path


def report_html(
    *,
    title: str,
    intro: Sequence[str],
    arms: Sequence[Arm | ArmData],
    reference: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
    examples: Sequence[WorkedExample] = (),
    differences: Differences | None = None,
    links: Sequence[tuple[str, str]] = (),
    with_groups: bool = True,
) -> str:
    """The report of ``arms`` as one HTML file.

    Args:
        title: heading of the page.
        intro: paragraphs under the heading.
        arms: the arms to compare, in the order of the table's columns; unread ones are read from their folders.
        reference: known truths; ``best_coverage`` is the best possible coverage with K answers; without it the
            multi-answer arm's own ``best_coverage`` is taken.
        facts: names and values on how the report was made (task, model size, completions, seconds, memory, ...); the
            value of ``command`` is shown as the command to reproduce it.
        examples: worked examples from `pick_examples`.
        differences: paired differences from a baseline arm.
        links: texts and addresses before the sections, where the report is a page of a server.
        with_groups: show groups of the last step of each training.

    Raises:
        ConfigError: no arms.
        RunIncompleteError: a run folder lacks a file that is needed.
        MissingExtraError: matplotlib or Jinja2 is not installed.
    """
    if not arms:
        raise ConfigError("arms is empty: a report needs at least one arm with an evaluation folder")
    loaded = [read_arm(one) if isinstance(one, Arm) else one for one in arms]
    budget = find_budget(loaded)
    loaded = with_equal_tokens(loaded, budget)
    truths = {name: value for name, value in (reference or {}).items() if isinstance(value, (int, float))}
    truths["best_coverage"] = known_best(loaded, truths)
    columns = list(zip(loaded, assign_styles([data.arm.method for data in loaded]), strict=True))
    facts = dict(facts or {})
    others, names = ((), []) if differences is None else (differences.arms, differences.names)
    return _template().render(
        title=title,
        intro=intro,
        command=facts.pop("command", ""),
        facts=facts,
        headline=write_headline(loaded, truths),
        tiles=write_tiles(loaded),
        columns=columns,
        labels=[(data.arm.label, style) for data, style in columns],
        groups=_groups([n for data in loaded for n in data.metrics], lambda n: [_cell(data, n) for data in loaded]),
        budget=budget.words if budget is not None else "",
        differences=differences,
        difference_labels=[(label, None) for label, _ in others],
        difference_groups=_groups(names, lambda n: [_difference(own.get(n), n) for _, own in others]),
        figures=build_figures(columns, truths),
        examples=examples,
        step_groups=_step_groups(loaded) if with_groups else [],
        made_with=[row for row in map(_made_with, loaded) if row],
        light=css_variables(0),
        dark=css_variables(1),
        links=links,
    )


def _step_groups(arms: Sequence[ArmData]) -> list[StepGroups]:
    """Groups of the first training folder of each method, in order of appearance."""
    folders: dict[str, Path] = {}
    for data in arms:
        for folder in data.arm.train[:1]:
            folders.setdefault(data.arm.method.partition(" asked for ")[0], folder)
    return [groups for label, folder in folders.items() if (groups := last_groups(folder, label)) is not None]


def _groups(names: Sequence[str], cells_of: Callable[[str], list[_CellView]]) -> _Groups:
    return [
        (group, [(name, words.row_of(name), cells_of(name)) for name in members])
        for group, members in words.group_metrics(names)
    ]


def _cell(data: ArmData, name: str) -> _CellView:
    cell, decimals = data.cell(name), words.row_of(name).decimals
    interval = table.write_interval(cell, decimals) if cell.is_defined else ""
    spread = table.write_range(cell, decimals)
    return _CellView(table.write_number(cell.value, decimals), interval, table.explain(data, name), spread)


def _difference(difference: Difference | None, name: str) -> _CellView:
    if difference is None or not difference.cell.is_defined:
        return _CellView(table.EMPTY, "", "undefined for one of the two")
    value, interval = write_parts(difference, name)
    pairs = f"{difference.n_pairs} pair{'s' if difference.n_pairs != 1 else ''} of seeds"
    mark = difference.verdict(name) or ("differs" if difference.excludes_zero else "")
    return _CellView(value, interval, f"{name}: {difference.cell.n:,} shared questions, {pairs}", mark=mark)


def _made_with(data: ArmData) -> tuple[str, str] | None:
    """Label and configuration of the first training folder, else of the first evaluation folder; None without one."""
    for folder in (*data.arm.train[:1], *data.arm.seeds[:1]):
        if (folder / runs.CONFIG).exists():
            stored = runs.read_configuration(folder)
            origin = {"versions": stored.versions, "commit": stored.made_with.get("commit")}
            lines = [*stored.config.items(), *((name, value) for name, value in origin.items() if value)]
            return data.arm.label, "\n".join(f"{name}: {value}" for name, value in lines)
    return None


def _template() -> Any:
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError("jinja2", "report", "writing the report") from None
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_clean,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
    )
    environment.filters["swatch"] = swatch
    environment.filters["words"] = words.words_of
    environment.filters["percent"] = lambda share: f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    return environment.get_template("page.html.j2")


def _clean(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
