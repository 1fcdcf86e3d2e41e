"""Tables and words for a terminal: shared by the command line and stella-top. Answers of the control socket in, text out."""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stella.model import units
from stella.model.slo import Metric

MISSED = ("VIOLATED", "DEGRADED")
NOTHING = "-"

_EVENTS_SHOWN = 5
_COST_UNITS: dict[str, tuple[float, str]] = {
    Metric.CPU: (1.0, "CPU second of the guest"),
    Metric.NETWORK_PACKETS: (1.0, "packet"),
    Metric.NETWORK_BYTES: (1e6, "MB"),
    Metric.BLOCK_BYTES: (1e6, "MB"),
    Metric.BLOCK_OPERATIONS: (1.0, "operation"),
}
"""For each metric: how many base units its CPU cost is shown for, and what they are called."""


def show(value: float | None, metric: str) -> str:
    """A quantity of a metric, by its name; ``-`` when it is not known, the bare number for a metric this release does not know."""
    if value is None:
        return NOTHING
    try:
        unit = Metric(metric).unit
    except ValueError:
        return f"{value:.4g}"
    return units.show(value, unit).strip() if value else "0"


def show_at_most(value: float, metric: str) -> str:
    """As `show`, rounded down to three digits: an offer that is typed in as it is shown must still fit."""
    if not 0 < value < math.inf:
        return show(value, metric)
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return show(math.floor(value / step * (1 + 1e-12)) * step, metric)


def show_cpu_time(seconds: float | None) -> str:
    """CPU time for one unit of I/O: microseconds, milliseconds from 10 ms on."""
    if not isinstance(seconds, int | float):
        return NOTHING
    return f"{seconds * 1e3:.3g} ms" if seconds >= 0.001 else f"{seconds * 1e6:.3g} us"


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
    """For each objective: metric, its kind and value, demand, usage, status and cause, attainment over 1 min, 1 h and today."""
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


def objective_words(metric: str, keys: Mapping[str, Any]) -> str:
    """One objective of an SLO, such as ``floor 20 kpps, direction tx, priority 7``; ``keys`` as the control socket has them."""
    words = [f"{key} {show(keys[key], metric)}" for key in ("floor", "ceiling", "target") if keys.get(key) is not None]
    words += [f"{key} {keys[key]:g}" for key in ("weight", "priority") if keys.get(key) is not None]
    if keys.get("direction"):
        words.append(f"direction {plain(keys['direction'])}")
    if keys.get("unit"):
        words.append(f"unit {units.show(keys['unit'], 'bytes')}")
    return ", ".join(words)


def slo_rows(slo: Mapping[str, Mapping[str, Any]]) -> list[list[object]]:
    """For each metric of an SLO its objective in words."""
    return [[metric, objective_words(metric, keys)] for metric, keys in slo.items()]


def cost_rows(costs: Mapping[str, Any]) -> list[list[object]]:
    """For each metric what a unit of it costs: in the guest, in QEMU, per what, and whether that was measured."""
    rows: list[list[object]] = []
    for metric, cost in costs.items():
        if metric not in _COST_UNITS or not isinstance(cost, Mapping):
            continue
        count, unit = _COST_UNITS[metric]
        guest, qemu = cost.get("vcpu_seconds_per_unit"), cost.get("io_seconds_per_unit")
        rows.append(
            [
                metric,
                NOTHING if guest is None or metric == Metric.CPU else show_cpu_time(guest * count),
                NOTHING if qemu is None else show_cpu_time(qemu * count),
                unit,
                "estimated" if cost.get("estimated") else "measured",
            ]
        )
    return rows


COST_HEADINGS = ("METRIC", "GUEST", "QEMU", "PER", "BASIS")
OBJECTIVE_HEADINGS = ("METRIC", "OBJECTIVE", "DEMAND", "USAGE", "STATUS", "1 MIN", "1 H", "TODAY")


def intent_words(instance: Mapping[str, Any]) -> str:
    """Who asked for the SLO and what became of it, such as ``cloud revision 4: refused (…)``; empty when the agent does not tell."""
    intent = instance.get("intent")
    if not intent:
        return ""
    words = f"{plain(intent['source'])} revision {intent['revision']}: {plain(intent['state'])}"
    if intent.get("reason"):
        words += f" ({plain(intent['reason'])})"
    in_force = (intent.get("in_force_source"), intent.get("in_force_revision"))
    if in_force[1] is not None and in_force != (intent["source"], intent["revision"]):
        words += f"; in force: {plain(in_force[0])} revision {in_force[1]}"
    return words


def _asked_slo(instance: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The SLO in force or, without one, the one that was asked for and waits or was refused; empty for an instance without any."""
    return instance.get("slo") or (instance.get("intent") or {}).get("slo") or {}


def _instance_lines(instance: Mapping[str, Any]) -> list[str]:
    """What is known of an instance, but for its objectives."""
    lines = [f"{plain(instance['name']) or NOTHING}  {instance['uuid']}  {instance.get('state') or 'not running'}"]
    owner = [f"{key} {plain(instance[key])}" for key in ("project", "flavor") if instance.get(key)]
    if owner:
        lines.append(", ".join(owner))
    if instance.get("slo"):
        estimated = " (estimated: no history yet)" if instance.get("estimated") else ""
        lines.append(f"reserved {show_cores(instance['reserved_cpu_cores'])} cores of CPU for its floors{estimated}")
    if told := intent_words(instance):
        lines.append(f"SLO: {told}")
    cpu = instance.get("cpu")
    if cpu:
        lines.append(
            f"CPU: demand {show_cores(cpu['demand_cores'])}, allocation {show_cores(cpu['allocation_cores'])}, "
            f"usage {show_cores(cpu['usage_cores'])} cores; starved {show_ratio(cpu['starved_ratio'])} of the time"
        )
    if instance.get("frozen"):
        lines.append("frozen: it is migrating, paused or cannot be measured; it is not restrained, and nothing is set")
    if instance.get("reason"):
        lines.append(f"reason: {plain(instance['reason'])}")
    return lines


def instance_text(instance: Mapping[str, Any]) -> str:
    """One instance in full."""
    lines = _instance_lines(instance)
    if instance["objectives"]:
        lines += ["", table(OBJECTIVE_HEADINGS, objective_rows(instance))]
    elif slo := _asked_slo(instance):
        lines += ["", table(("METRIC", "OBJECTIVE"), slo_rows(slo))]
    else:
        lines += ["", "no SLO: best effort, it shares what is left by weight"]
    if costs := cost_rows(instance.get("cpu_cost") or {}):
        lines += ["", "CPU cost of its I/O:", table(COST_HEADINGS, costs)]
    return "\n".join(lines)


def list_text(instances: Sequence[Mapping[str, Any]]) -> str:
    """All instances with an SLO, one line for each objective."""
    told = any(intent_words(i) for i in instances)
    headings = ("INSTANCE", *OBJECTIVE_HEADINGS, *(("SLO",) if told else ()))
    rows: list[list[object]] = []
    for instance in instances:
        name, words = instance["name"] or instance["uuid"], [intent_words(instance) or NOTHING] if told else []
        rows += [[name, *row, *words] for row in objective_rows(instance)]
        if not instance["objectives"]:
            refused = (instance.get("intent") or {}).get("state") == "refused"
            rows += [
                [name, metric, objective, NOTHING, NOTHING, NOTHING if refused else "PENDING", *[NOTHING] * 3, *words]
                for metric, objective in slo_rows(_asked_slo(instance) or {NOTHING: {}})
            ]
    return table(headings, rows) if rows else "no SLO is set"


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


_LINKS_SHOWN = 10
_LINK_ERRORS = (("intent", "intent_error"), ("report", "report_error"))


def status_text(status: Mapping[str, Any]) -> str:
    """The agent's own state."""
    host = status["host"]
    failing = [plain(f"{s['name']} ({s['error']})") for s in status["sensors"] if not s["ok"]]
    lines = [
        f"xgos {status['version']}, mode {status['mode']}, up since {show_time(status['started'])}",
        f"ticks {status['ticks']}, late {status['late_ticks']}, failed {status['failed_ticks']}",
        f"host {host['cores']:g} cores: busy {show_cores(host['busy_cores'])}, instances {show_cores(host['instances_cores'])}, "
        f"overhead {show_cores(host['overhead_cores'])}, steal {show_cores(host['steal_cores'])}",
        f"reserved {show_cores(status['reserved_cpu_cores'])} of {show_cores(status['capacity_cpu_cores'])} cores that can be "
        f"guaranteed ({show_cores(status['host_reserved_cpu_cores'])} set aside for the host)",
        f"instances {status['instances']}, with SLO {status['instances_with_slo']}, open violations {status['open_violations']}",
        f"sensors {len(status['sensors'])}, failing: {', '.join(failing) or 'none'}",
    ]
    lines += _link_lines(status)
    lines += _intent_lines(status)
    lines += _capability_lines(status.get("capabilities") or {})
    lines += _uplink_lines(status)
    restarts = status.get("thread_restarts") or {}
    if restarts:
        counts = ", ".join(f"{plain(name)} {count}" for name, count in sorted(restarts.items()))
        lines.append(f"threads restarted after an error (see the log): {counts}")
    if not status["persisted"]:
        lines.append("ALARM: state cannot be written to disk and is kept in memory only")
    return "\n".join(lines)


def _link_lines(status: Mapping[str, Any]) -> list[str]:
    """The link to stella-api. Nothing where none is configured."""
    link = status.get("link")
    if not link:
        return []
    lines = [
        f"API {plain(link['url'])} as host {plain(link['host_name'])}: {'connected' if link['connected'] else 'NOT CONNECTED'}, "
        f"revision {link['revision']}, last intent {_when(link['last_intent_seconds'])}, "
        f"last report {_when(link['last_report_seconds'])}, {link['backlog_rows']} rows wait"
    ]
    lines += [f"API {what}: {plain(link[key])}" for what, key in _LINK_ERRORS if link[key]]
    if link["rejected_rows"]:
        lines.append(f"API: {link['rejected_rows']} rows will never be taken (see the log)")
    return [*lines, *_mode_lines(link["mode"], status)]


def _mode_lines(asked: str, status: Mapping[str, Any]) -> list[str]:
    """What the API's mode means here, where the agent does not simply do what it is configured to do."""
    if status.get("configured_mode", status["mode"]) == "observe":
        if asked in ("", "observe"):
            return []
        return [
            f'the API has this host in mode {plain(asked)}; its configuration (mode = "observe") allows no more than observe'
        ]
    if asked == "observe":
        return ["the API has this host in mode observe: SLOs are evaluated and reported, nothing is enforced"]
    if asked == "maintenance":
        return ["the API has this host in mode maintenance: what is enforced stays, no new SLO is accepted"]
    return []


def _when(seconds: float | None) -> str:
    return "never" if seconds is None else show_time(seconds)


def _intent_lines(status: Mapping[str, Any]) -> list[str]:
    """How many SLOs are in each state, and the last events of them. Nothing when the agent does not tell."""
    counts = {state: count for state, count in (status.get("intent_states") or {}).items() if count}
    lines = [f"SLOs: {', '.join(f'{count} {plain(state)}' for state, count in counts.items())}"] if counts else []
    for event in (status.get("intent_events") or [])[-_EVENTS_SHOWN:]:
        lines.append(f"{show_time(event['wall_seconds'])} {event['uuid']}: {plain(event['message'])}")
    return lines


def _uplink_lines(status: Mapping[str, Any]) -> list[str]:
    """The uplinks that are divided, and the links on which limits cannot act."""
    shared = [f"{plain(one['name'])} ({one['instances']} instances)" for one in status.get("uplinks") or []]
    lines = [f"uplinks: {', '.join(shared)}"] if shared else []
    told = status.get("links_not_limited") or []
    for one in told[:_LINKS_SHOWN]:
        whys: dict[str, list[str]] = {}
        for what, why in one["limits"].items():
            whys.setdefault(why, []).append(what)
        text = "; ".join(f"{', '.join(map(plain, what))}: {plain(why)}" for why, what in whys.items())
        lines.append(f"link {plain(one['link'])} of {plain(one['name'])} cannot be limited in {text}")
    if len(told) > _LINKS_SHOWN:
        lines.append(f"{len(told) - _LINKS_SHOWN} more links cannot be limited (xgos status --json)")
    return lines


def _capability_lines(capabilities: Mapping[str, str]) -> list[str]:
    """What this host can enforce, and each thing that it cannot with the reason. Nothing when the agent does not tell."""
    if not capabilities:
        return []
    available = sorted(plain(name) for name, missing in capabilities.items() if not missing)
    lines = [f"can enforce: {', '.join(available) or 'nothing'}"]
    lines += [f"cannot enforce {plain(name)}: {plain(why)}" for name, why in sorted(capabilities.items()) if why]
    return lines
