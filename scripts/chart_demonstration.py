"""Draws docs/images/demonstration.svg from a finished `make demo`: what each instance got, without Stella and with it.

.venv/bin/python scripts/chart_demonstration.py results/demo docs/images/demonstration.svg
"""

import json
import sys
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stella.bench.report.charts import colour
from stella.bench.report.series import Table, read_table
from stella.model import units

TITLES = {"none": "without Stella", "stella": "with Stella"}
NAMES = {
    "vm1.network_packets": ("vm1: sent packets", "packets/s"),
    "vm2.block_bytes": ("vm2: disk reads", "bytes/s"),
    "vm3.cpu": ("vm3: CPU", "cores"),
}
INK, MISSED = "#24292f", "#f6d5c3"
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#8c959f",
    "svg.fonttype": "none",
    "svg.hashsalt": "stella",
}


def draw(directory: Path, output: Path) -> None:
    """Write the chart of the run in ``directory``."""
    results = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    tables = {policy: read_table(directory / results["policies"][policy]["series"]) for policy in TITLES}
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 5.2), layout="constrained")
        grid = figure.subplots(len(NAMES), len(TITLES), sharex=True, sharey="row")
        for row, (name, (title, unit)) in enumerate(NAMES.items()):
            top = max(value or 0.0 for table in tables.values() for value in table.numbers(name))
            for column, policy in enumerate(TITLES):
                axes = grid[row][column]
                panel(axes, tables[policy], name, unit, policy)
                axes.set_ylim(0, 1.15 * top)
            grid[row][0].set_ylabel(title)
        for column, title in enumerate(TITLES.values()):
            grid[0][column].set_title(title, fontsize=11, fontweight="bold")
            grid[-1][column].set_xlabel("seconds")
        figure.savefig(output, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def label(value: float, unit: str) -> str:
    """A tick of the axis."""
    return "0" if value == 0 else f"{value:.0%}" if unit == "cores" else units.show(value, unit)


def panel(axes: Axes, table: Table, name: str, unit: str, policy: str) -> None:
    """One instance under one policy: what it got, its floor, and the seconds in which it was missed."""
    values, missed = table.numbers(name), table.missed(name)
    floor = next(value for value in table.numbers(f"{name}.promised") if value is not None)
    for second, is_missed in enumerate(missed):
        if is_missed:
            axes.axvspan(second, second + 1, color=MISSED, linewidth=0)
    axes.plot([k + 0.5 for k in range(len(values))], values, color=colour(policy), linewidth=1.6)
    axes.axhline(floor, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.annotate(
        f"floor {units.show(floor, unit)}: met in {1 - sum(missed) / len(missed):.0%} of {len(missed)} seconds",
        (0.01, 0.97),
        xycoords="axes fraction",
        va="top",
        fontsize=8.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: label(value, unit)))
    axes.set_xlim(0, len(values))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
