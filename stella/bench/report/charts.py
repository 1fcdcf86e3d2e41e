"""Charts of one run: what each instance got, a line for each policy, and below it the seconds in which an objective was missed.

Colours are those of Okabe and Ito, told apart with every common kind of colour blindness; lines differ in their dashes as well.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stella.bench.report.series import Table
from stella.model import units

COLOURS = {
    "none": "#D55E00",
    "nova": "#56B4E9",
    "static": "#E69F00",
    "gos": "#CC79A7",
    "stella": "#0072B2",
    "stella-observe": "#009E73",
}
_DASHES: dict[str, Any] = {
    "none": (0, (4, 1.5)),
    "nova": (0, (2, 1, 1, 1)),
    "static": (0, (1, 1)),
    "gos": (0, (6, 1, 1, 1)),
}
_INSTANCES = ("#0072B2", "#009E73", "#56B4E9", "#D55E00", "#E69F00", "#CC79A7", "#F0E442", "#882255")
_STATUSES = {
    "MET": "#009E73",
    "VIOLATED": "#D55E00",
    "DEGRADED": "#E69F00",
    "SELF_LIMITED": "#56B4E9",
    "UNKNOWN": "#8c959f",
}
_STATUSES_NOTE = (
    "Green: the agent says met; red: violated; orange: degraded; blue: limited by itself; pale: not asked for."
)
_OTHER_COLOUR = "#555555"
INK, _PALE, _GRID = "#24292f", "#eceff1", "#d0d7de"
STYLE: Any = {
    **{"font.family": "sans-serif", "font.size": 9.5, "svg.fonttype": "none", "svg.hashsalt": "stella"},
    **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK),
    **{"axes.edgecolor": "#8c959f", "axes.spines.top": False, "axes.spines.right": False},
}
_LABEL = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
_WORK_UNITS = {"network_packets": "packets/s", "network_bytes": "bytes/s", "block_bytes": "bytes/s", "cpu": "cores"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One finished chart."""

    name: str
    title: str
    svg: str
    figure: Figure
    note: str = ""

    @property
    def file_name(self) -> str:
        """Of its picture, without suffix."""
        return self.name.replace("/", "-")


def colour(policy: str) -> str:
    """The colour of a policy."""
    return COLOURS.get(policy, _OTHER_COLOUR)


def short(value: float, unit: str) -> str:
    """A value as a person writes it; work without a unit of ours is a plain number."""
    return units.show(value, unit) if unit in units.UNITS else f"{value:,.0f}"


def middles(windows: Sequence[object]) -> list[float]:
    """Where windows are drawn: a point for each in its middle, in seconds."""
    return [k + 0.5 for k in range(len(windows))]


def with_gaps(values: Sequence[float | None]) -> list[float]:
    """A line that breaks off where there is no value."""
    return [float("nan") if value is None else value for value in values]


def _finish(name: str, title: str, figure: Figure, note: str = "") -> Chart:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return Chart(name=name, title=title, svg=text[text.index("<svg") :], figure=figure, note=note)


def _axes(figure: Figure, rows: int) -> tuple[Axes, Axes | None]:
    if not rows:
        return figure.subplots(), None
    top, strip = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [10, 1.1 * rows], "hspace": 0.06})
    return top, strip


def _dress(
    axes: Axes, unit: str, events: Sequence[Mapping[str, Any]], most: float, tables: Mapping[str, Table]
) -> None:
    axes.set_xlim(0, max((len(table.columns["time_seconds"]) for table in tables.values()), default=1))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=6, frameon=False, handlelength=2.6, borderpad=0)
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylim(0, most * (1.35 if events else 1.15) or 1.0)  # room for the events' words
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value, unit) if value else "0"))
    for i, event in enumerate(events):
        axes.axvline(event["at_seconds"], color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
        place: Any = {
            "xycoords": ("data", "axes fraction"),
            "xytext": (3, -2 - 10 * (i % 2)),
            "textcoords": "offset points",
        }
        axes.annotate(event["what"], (event["at_seconds"], 1.0), fontsize=8, va="top", bbox=_LABEL, **place)


def _line(axes: Axes, policy: str, values: Sequence[float | None]) -> None:
    style: dict[str, Any] = {"linestyle": _DASHES.get(policy, "-"), "linewidth": 2.0 if policy == "stella" else 1.5}
    axes.plot(middles(values), with_gaps(values), color=colour(policy), label=policy, zorder=3, **style)


def objective_chart(
    name: str,
    unit: str,
    kind: str,
    tables: Mapping[str, Table],
    events: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
) -> Chart:
    """One objective under every policy, its value as a black step, and a strip per policy with its missed seconds filled."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.1), layout="constrained")
        judged = list(tables) if kind == "floor" else []
        telling = [policy for policy, table in tables.items() if any(table.columns.get(f"{name}.status", ()))]
        axes, strip = _axes(figure, len(judged) + len(telling) if judged else 0)
        most, promised = 0.0, []
        for policy, table in tables.items():
            values = table.numbers(name)
            _line(axes, policy, values)
            promised = table.numbers(f"{name}.promised")
            most = max([most, *(v for v in [*values, *promised] if v is not None)])
        if promised:
            edges, steps = range(len(promised) + 1), with_gaps([*promised, promised[-1]])
            axes.step(edges, steps, where="post", color=INK, linewidth=1.3, label=kind, zorder=4)
        _dress(axes, unit, events, most, tables)
        (strip or axes).set_xlabel("seconds")
        if strip is not None:
            _strip(strip, name, judged, telling, tables)
        return _finish(name, title or name, figure, _STATUSES_NOTE if telling and judged else "")


def _strip(axes: Axes, name: str, policies: Sequence[str], telling: Sequence[str], tables: Mapping[str, Table]) -> None:
    for row, policy in enumerate(policies):
        missed = tables[policy].missed(name)
        axes.broken_barh([(0, len(missed))], (row + 0.12, 0.76), facecolors=_PALE)
        axes.broken_barh([(k, 1) for k, m in enumerate(missed) if m], (row + 0.12, 0.76), facecolors=colour(policy))
    for row, policy in enumerate(telling, start=len(policies)):
        statuses = tables[policy].columns[f"{name}.status"]
        colours = [_STATUSES.get(status, _PALE) for status in statuses]
        axes.broken_barh([(k, 1) for k in range(len(statuses))], (row + 0.12, 0.76), facecolors=colours)
    rows = [*(f"missed: {p}" for p in policies), *(f"{p} says" for p in telling)]
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([row + 0.5 for row in range(len(rows))], rows, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def cpu_chart(tables: Mapping[str, Table], *, cores: float | None) -> Chart:
    """The CPU that each guest's QEMU had, stacked, a panel for each policy: who had what the floors lacked."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9.2, 0.6 + 1.35 * len(tables)), layout="constrained")
        panels = figure.subplots(len(tables), 1, sharex=True, sharey=True, squeeze=False)
        names = list(dict.fromkeys(name for table in tables.values() for name in table.cpus))
        for axes, (policy, table) in zip(panels[:, 0], tables.items(), strict=True):
            heights = [[value or 0.0 for value in table.numbers(f"cpu_cores.{name}")] for name in names]
            count = len(table.columns["time_seconds"])
            heights = [row or [0.0] * count for row in heights]
            colours = [_INSTANCES[n % len(_INSTANCES)] for n in range(len(names))]
            axes.stackplot(middles(range(count)), heights, labels=names, colors=colours, linewidth=0)
            axes.set_title(policy, loc="left", fontsize=9.5, fontweight="bold", color=colour(policy))
            axes.set_xlim(0, count)
            axes.set_ylim(0, cores or None)
            axes.set_ylabel("cores")
        panels[-1, 0].set_xlabel("seconds")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=8, frameon=False)
        note = "White above the guests: the receivers of the load, the agent and the host's own work, and idle time."
        return _finish("cpu", "CPU of each guest", figure, note)


def work_chart(name: str, tables: Mapping[str, Table], events: Sequence[Mapping[str, Any]]) -> Chart:
    """What one best-effort instance got done, a line for each policy."""
    metric = name.split(".")[1] if "." in name else name
    with rc_context(STYLE):
        figure = Figure(figsize=(9.2, 2.3), layout="constrained")
        axes, _ = _axes(figure, 0)
        most = 0.0
        for policy, table in tables.items():
            values = table.numbers(name)
            _line(axes, policy, values)
            most = max([most, *(v for v in values if v is not None)])
        _dress(axes, _WORK_UNITS.get(metric, ""), events, most, tables)
        axes.set_xlabel("seconds")
        return _finish(name, f"{name} (best effort)", figure)


def write_png(chart: Chart, directory: Path) -> Path:
    """Write a chart as a picture."""
    path = directory / f"{chart.file_name}.png"
    with rc_context({**STYLE, "savefig.facecolor": "white"}):
        chart.figure.savefig(path, dpi=144)
    return path
