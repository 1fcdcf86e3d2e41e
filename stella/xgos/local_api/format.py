"""Tables and words for a terminal: shared by the command line and stella-top. Answers of the control socket in, text out."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from stella.model import units
from stella.model.slo import Metric

MISSED = ("VIOLATED", "DEGRADED")
NOTHING = "-"


def show(value: float | None, metric: str) -> str:
    """A quantity of a metric, by its name; ``-`` when it is not known, the bare number for a metric this release does not know."""
    if value is None:
        return NOTHING
    try:
        unit = Metric(metric).unit
    except ValueError:
        return f"{value:.4g}"
    return units.show(value, unit).strip() if value else "0"


def show_ratio(ratio: float | None) -> str:
    """A share for a person; ``-`` when there was nothing to share."""
    if ratio is None:
        return NOTHING
    shown = f"{ratio * 100:.2f}"
    return "100%" if ratio == 1 else ("99.99%" if shown == "100.00" else f"{shown}%")


def show_cores(cores: float | None) -> str:
    """CPU with two decimals, so that columns compare."""
    return NOTHING if cores is None else f"{cores:.2f}"


def show_time(seconds: float | None) -> str:
    """Unix time in the host's own zone."""
    if seconds is None:
        return NOTHING
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def plain(text: object) -> str:
    """Text without control characters: a name must not be able to write to the terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as what is in them, separated by two spaces."""
    cells = [list(headings), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def why(objective: Mapping[str, Any]) -> str:
    """Status, and the cause behind a missed one."""
    cause = objective.get("cause")
    return f"{objective['status']} ({cause})" if cause else str(objective["status"])


def objective_rows(instance: Mapping[str, Any]) -> list[list[object]]:
    """For each objective: metric, what is promised, demand, usage, status and cause, attainment over 1 min, 1 h and today."""
    return [
        [
            objective["metric"],
            f"{objective['kind']} {show(objective['value'], objective['metric'])}",
            show(objective["demand"], objective["metric"]),
            show(objective["usage"], objective["metric"]),
            why(objective),
            *(show_ratio(objective["attainment"][window]["ratio"]) for window in ("1m", "1h", "today")),
        ]
        for objective in instance["objectives"]
    ]


OBJECTIVE_HEADINGS = ("METRIC", "OBJECTIVE", "DEMAND", "USAGE", "STATUS", "1 MIN", "1 H", "TODAY")


def instance_text(instance: Mapping[str, Any]) -> str:
    """One instance in full."""
    estimated = " (estimated: no history yet)" if instance.get("estimated") else ""
    lines = [
        f"{plain(instance['name']) or NOTHING}  {instance['uuid']}  {instance.get('state') or 'not running'}",
        f"reserved {show_cores(instance['reserved_cpu_cores'])} cores of CPU for its floors{estimated}",
    ]
    cpu = instance.get("cpu")
    if cpu:
        lines.append(
            f"CPU: demand {show_cores(cpu['demand_cores'])}, allocation {show_cores(cpu['allocation_cores'])}, "
            f"usage {show_cores(cpu['usage_cores'])} cores; starved {show_ratio(cpu['starved_ratio'])} of the time"
        )
    if instance.get("cpu_cost"):
        lines.append(f"CPU cost of its I/O: {plain(instance['cpu_cost'])}")
    if instance.get("reason"):
        lines.append(f"reason: {plain(instance['reason'])}")
    if instance["objectives"]:
        lines += ["", table(OBJECTIVE_HEADINGS, objective_rows(instance))]
    elif instance.get("slo"):
        lines += ["", f"SLO: {plain(instance['slo'])}"]
    else:
        lines += ["", "no SLO: it shares what is left"]
    return "\n".join(lines)


def list_text(instances: Sequence[Mapping[str, Any]]) -> str:
    """All instances with an SLO, one line for each objective."""
    rows = [[i["name"] or i["uuid"], *row] for i in instances for row in objective_rows(i)]
    rows += [
        [i["name"] or i["uuid"], *[NOTHING] * 4, "PENDING", *[NOTHING] * 3] for i in instances if not i["objectives"]
    ]
    return table(("INSTANCE", *OBJECTIVE_HEADINGS), rows) if rows else "no SLO is set"


def violations_text(violations: Sequence[Mapping[str, Any]]) -> str:
    """Episodes, one a line."""
    rows = [
        [
            show_time(v["start_seconds"]),
            "open" if v["open"] else f"{v['end_seconds'] - v['start_seconds']} s",
            v["name"] or v["uuid"],
            v["metric"],
            f"{v['kind']} {show(v['value'], v['metric'])}",
            show(v["worst"], v["metric"]),
            v["status"],
            v["cause"] or NOTHING,
            v["missed_windows"],
        ]
        for v in violations
    ]
    headings = ("START", "LASTED", "INSTANCE", "METRIC", "OBJECTIVE", "WORST", "STATUS", "CAUSE", "MISSED")
    return table(headings, rows) if rows else "no violations"


def status_text(status: Mapping[str, Any]) -> str:
    """The agent's own state."""
    host = status["host"]
    failing = [plain(f"{s['name']} ({s['error']})") for s in status["sensors"] if not s["ok"]]
    lines = [
        f"xgos {status['version']}, mode {status['mode']}, up since {show_time(status['started'])}",
        f"ticks {status['ticks']}, late {status['late_ticks']}, failed {status['failed_ticks']}",
        f"host {host['cores']:g} cores: busy {show_cores(host['busy_cores'])}, instances {show_cores(host['instances_cores'])}, "
        f"overhead {show_cores(host['overhead_cores'])}, steal {show_cores(host['steal_cores'])}",
        f"reserved {show_cores(status['reserved_cpu_cores'])} of {show_cores(status['capacity_cpu_cores'])} cores that may be "
        f"promised ({show_cores(status['host_reserved_cpu_cores'])} set aside for the host)",
        f"instances {status['instances']}, with SLO {status['instances_with_slo']}, open violations {status['open_violations']}",
        f"sensors {len(status['sensors'])}, failing: {', '.join(failing) or 'none'}",
    ]
    if not status["persisted"]:
        lines.append("ALARM: state cannot be written to disk and is kept in memory only")
    return "\n".join(lines)
