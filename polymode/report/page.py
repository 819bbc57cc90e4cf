"""The report: one self-contained HTML file, generated from run folders (layer L4).

Whatever a model or a user wrote is inserted as text: Jinja2 escapes it, control characters are replaced, and the page's
own content policy forbids scripts and external resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import ConfigError, MissingExtraError
from polymode.report import table
from polymode.report.arms import Arm, ArmData, read_arm
from polymode.report.charts import COLOURS, Markup, assign_styles, clean, swatch
from polymode.report.differences import Difference, Differences, written
from polymode.report.equal_tokens import find_budget, with_equal_tokens
from polymode.report.examples import WorkedExample
from polymode.report.figures import build_figures
from polymode.report.groups import of_arms
from polymode.report.headline import known_best, write_headline, write_tiles


@dataclass(frozen=True, slots=True)
class _CellView:
    """A table cell as the page writes it."""

    value: str
    interval: str
    spread: str
    title: str
    mark: str = ""
    """``better`` or ``worse`` for a difference whose interval excludes 0."""


_Groups = list[tuple[str, list[tuple[str, table.Row, list[_CellView]]]]]
"""Rows of cells, by metric, under group titles."""


def write_report(
    path: Path,
    *,
    title: str,
    intro: Sequence[str],
    arms: Sequence[Arm | ArmData],
    reference: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
    examples: Sequence[WorkedExample] = (),
    differences: Differences | None = None,
) -> Path:
    """Write the report of ``arms`` to ``path`` and return ``path``.

    Args:
        path: the HTML file; it is written whole or not at all.
        title: heading of the page.
        intro: paragraphs under the heading.
        arms: the arms to compare, in the order of the table's columns; unread ones are read from their folders.
        reference: known truths; ``best_coverage`` is the best possible coverage with K answers; without it the
            multi-answer arm's own ``best_coverage`` is taken.
        facts: names and values on how the report was made (task, model size, completions, seconds, memory, ...); the
            value of ``command`` is shown as the command to reproduce it.
        examples: worked examples from `pick_examples`.
        differences: paired differences from a baseline arm.

    Raises:
        ConfigError: no arms.
        RunIncompleteError: a run folder lacks a file that is needed.
        WriteError: the file cannot be written.
        MissingExtraError: matplotlib or Jinja2 is not installed.
    """
    if not arms:
        raise ConfigError("arms is empty: a report needs at least one arm with an evaluation folder")
    loaded = [read_arm(one) if isinstance(one, Arm) else one for one in arms]
    budget = find_budget(loaded)
    loaded = with_equal_tokens(loaded, budget)
    known = {name: value for name, value in (reference or {}).items() if isinstance(value, (int, float))}
    known["best_coverage"] = known_best(loaded, known)
    styles = assign_styles([data.arm.method for data in loaded])
    facts = dict(facts or {})
    html = _template().render(
        title=title,
        intro=intro,
        command=facts.pop("command", ""),
        facts=facts,
        headline=write_headline(loaded, known),
        tiles=write_tiles(loaded),
        columns=list(zip(loaded, styles, strict=True)),
        groups=_groups(loaded),
        budget=budget.words if budget is not None else "",
        differences=differences,
        difference_groups=_difference_groups(differences),
        figures=build_figures(list(zip(loaded, styles, strict=True)), known),
        examples=examples,
        step_groups=list(of_arms(_runs_by_method([data.arm for data in loaded]))),
        made_with=[row for row in map(_made_with, loaded) if row],
        light=_variables(0),
        dark=_variables(1),
    )
    with runs.writing(path) as handle:
        handle.write(html)
    return path


def _runs_by_method(arms: Sequence[Arm]) -> list[tuple[str, Path]]:
    """First training folder of each method, in order of appearance."""
    found: dict[str, Path] = {}
    for arm in arms:
        if arm.train:
            found.setdefault(arm.method.partition(" asked for ")[0], arm.train[0])
    return list(found.items())


def _groups(arms: Sequence[ArmData]) -> _Groups:
    names = [name for data in arms for name in data.metrics]
    return [
        (group, [(name, table.row_of(name), [_cell(data, name) for data in arms]) for name in found])
        for group, found in table.group_metrics(names)
    ]


def _cell(data: ArmData, name: str) -> _CellView:
    cell, decimals = data.cell(name), table.row_of(name).decimals
    return _CellView(
        value=table.write_number(cell.value, decimals),
        interval=table.write_interval(cell, decimals) if cell.is_defined else "",
        spread=table.write_range(cell, decimals),
        title=table.explain(data, name),
    )


def _difference_groups(
    differences: Differences | None,
) -> _Groups:
    groups: dict[str, list[tuple[str, table.Row, list[_CellView]]]] = {}
    for group, name, found in differences.rows() if differences is not None else ():
        groups.setdefault(group, []).append((name, table.row_of(name), [_difference(d, name) for d in found]))
    return list(groups.items())


def _difference(difference: Difference | None, name: str) -> _CellView:
    if difference is None or not difference.cell.is_defined:
        return _CellView(table.EMPTY, "", "", "undefined for one of the two")
    value, interval = written(difference, name)
    pairs = f"{difference.n_pairs} pair{'s' if difference.n_pairs != 1 else ''} of seeds"
    mark = difference.verdict(name) or ("differs" if difference.excludes_zero else "")
    return _CellView(value, interval, "", f"{name}: {difference.cell.n:,} shared questions, {pairs}", mark)


def _made_with(data: ArmData) -> dict[str, Any]:
    """Config and versions of the first training folder, else of the first evaluation folder; empty when not kept."""
    for folder in (*data.arm.train[:1], *data.arm.seeds[:1]):
        if (folder / runs.CONFIG).exists():
            stored = runs.read_configuration(folder)
            return {
                "label": data.arm.label,
                "config": stored.config,
                "versions": stored.versions,
                "commit": stored.made_with.get("commit") or "",
            }
    return {}


def _variables(page: int) -> Markup:
    """CSS variables of the light (0) or the dark (1) page; constants of this package, nothing from outside."""
    return Markup("".join(f"--{name}:{pair[page]};" for name, pair in COLOURS.items()))


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
    environment.filters["percent"] = lambda share: f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    environment.filters["fields"] = lambda config: list(config.items()) if isinstance(config, Mapping) else []
    return environment.get_template("page.html.j2")


def _clean(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
