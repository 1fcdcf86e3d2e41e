"""The one chart for a README: what each instance with an SLO got, a column for each of two policies, missed seconds shaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stella.bench.report.charts import INK, STYLE, colour, middles, with_gaps
from stella.bench.report.sections import all_objectives, metric_name
from stella.bench.report.series import Table, read_table
from stella.model import units

TITLES = {"none": "without Stella", "stella": "with Stella"}
_MISSED = "#f6d5c3"


class NoPanels(ValueError):
    """The run has not both policies; one line for a person."""


def write_panels(directory: Path, document: Mapping[str, Any], path: Path) -> None:
    """Draw the chart of the run in ``directory`` as SVG, the same for the same run. Raises `NoPanels`."""
    missing = [policy for policy in TITLES if policy not in document["policies"]]
    if missing:
        raise NoPanels(f"{directory}: the run has no policy {missing[0]}")
    tables = {policy: read_table(directory / document["policies"][policy]["series"]) for policy in TITLES}
    floors = [o for o in all_objectives(document) if o["kind"] == "floor"]
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 0.7 + 1.5 * len(floors)), layout="constrained")
        grid = figure.subplots(len(floors), len(TITLES), sharex=True, sharey="row", squeeze=False)
        for row, floor in enumerate(floors):
            name = f"{floor['instance']}.{floor['metric']}"
            top = max(value or 0.0 for table in tables.values() for value in table.numbers(name))
            for column, policy in enumerate(TITLES):
                _panel(grid[row][column], tables[policy], name, floor["unit"], policy)
                grid[row][column].set_ylim(0, 1.15 * top or 1.0)
            grid[row][0].set_ylabel(f"{floor['instance']}: {metric_name(floor['metric'])}")
        for column, title in enumerate(TITLES.values()):
            grid[0][column].set_title(title, fontsize=11, fontweight="bold")
            grid[-1][column].set_xlabel("seconds")
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def _label(value: float, unit: str) -> str:
    return "0" if value == 0 else f"{value:.0%}" if unit == "cores" else units.show(value, unit)


def _panel(axes: Axes, table: Table, name: str, unit: str, policy: str) -> None:
    """One instance under one policy: what it got, its floor, and the seconds in which it was missed."""
    values, missed = table.numbers(name), table.missed(name)
    floor = next(value for value in table.numbers(f"{name}.promised") if value is not None)
    for second, is_missed in enumerate(missed):
        if is_missed:
            axes.axvspan(second, second + 1, color=_MISSED, linewidth=0)
    axes.plot(middles(values), with_gaps(values), color=colour(policy), linewidth=1.6)
    axes.axhline(floor, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.annotate(
        f"floor {units.show(floor, unit)}: met in {len(missed) - sum(missed)} of {len(missed)} seconds",
        (0.01, 0.97),
        xycoords="axes fraction",
        va="top",
        fontsize=8.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _label(value, unit)))
    axes.set_xlim(0, len(values))
