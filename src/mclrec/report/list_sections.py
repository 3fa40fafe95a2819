"""Report section on metrics beyond accuracy: what the systems' lists contain, hits or not."""

from __future__ import annotations

from mclrec.data.split import make_split
from mclrec.errors import MclrecError
from mclrec.evaluation.further_metrics import FurtherMetrics, Measure
from mclrec.evaluation.protocol import SEEN_OF
from mclrec.experiments.results_table import ResultTable, TableCell
from mclrec.report.dot_plots import Strip, strips
from mclrec.report.page import Section
from mclrec.report.plots import Style, style, to_svg
from mclrec.report.systems import Study
from mclrec.runs.baselines import too_large
from mclrec.runs.further_systems import further_of_runs
from mclrec.runs.remeasure import run_data

__all__ = ["list_section"]

_TITLE = "What is in the lists"
_TAKEN = "what users took next"


def list_section(study: Study, label: str) -> Section:
    """Metrics beyond accuracy of the first run of each system, and of popularity and Markov, under one protocol."""
    try:
        split = make_split(run_data(study.first), study.first.info.split)
        if too_large(split.test):
            return Section(
                _TITLE,
                ["Not measured, because there are so many targets: use mclrec evaluate RUN --metrics all."],
            )
        runs = {system.label: system.first for system in study.systems}
        found = further_of_runs(runs, split, SEEN_OF[label])
    except MclrecError as problem:
        return Section(_TITLE, [f"None: {problem}"])
    styles = {system.label: system.style for system in study.systems}
    others = [name for name in found.systems if name not in styles]
    styles |= {name: style(number) for number, name in enumerate(others, start=len(styles))}
    text = (
        f"Lists of {found.k} for each test target, of the first run of each system ({label}). A hit rate says nothing "
        "about the other places of a list. No value is better in itself: they show how a system gets its hits."
    )
    return Section(_TITLE, [text], [_table(found, label)], _pictures(found, styles))


def _table(found: FurtherMetrics, label: str) -> ResultTable:
    rows = []
    for measure in found.measures:
        columns = [*found.systems.values(), found.targets]
        rows.append((measure.title, [_cell(measure, column.get(measure.key)) for column in columns]))
    legend = [f"{measure.title}: {measure.note}." for measure in found.measures]
    return ResultTable(f"In lists of {found.k} ({label})", ["measure", *found.systems, _TAKEN], rows, legend)


def _cell(measure: Measure, value: float | None) -> TableCell:
    return TableCell("") if value is None else TableCell(format(value, measure.form), value=value)


def _pictures(found: FurtherMetrics, styles: dict[str, Style]) -> list[str]:
    """The same values as dot plots, without measures that are equal for all systems and targets."""
    measures = [_strip(found, measure) for measure in found.measures]
    told = [one for one in measures if len({*one.values.values(), one.held_against} - {None}) > 1]
    drawn = {name: styles[name] for name in found.systems}
    return [to_svg(strips(told, drawn, _TAKEN), _TITLE)] if told else []


def _strip(found: FurtherMetrics, measure: Measure) -> Strip:
    values = {name: value for name, of in found.systems.items() if (value := of.get(measure.key)) is not None}
    return Strip(measure.title, values, measure.form, found.targets.get(measure.key))
