"""The run as a table for the terminal: objectives, how often each policy met them, and what was left for best-effort instances."""

from collections.abc import Mapping, Sequence
from typing import Any

from stella.model import units

KEPT_RATIO = 0.97
MOSTLY_RATIO = 0.90
_WORK_SUFFIX = {"packets": "packets/s", "bytes": "bytes/s"}
_MANY_POLICIES = 3


def metric_name(metric: str, direction: str = "") -> str:
    """A metric as people say it."""
    return " ".join(word for word in (metric.replace("_", " "), direction) if word)


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit; a dash for none."""
    return "-" if value is None else units.show(value, unit)


def work_rate(work: Mapping[str, Any], seconds: float) -> str:
    """Best-effort work as a rate."""
    rate = float(work["work"] or 0.0) / max(1.0, seconds)
    unit = str(work.get("unit", ""))
    return units.show(rate, _WORK_SUFFIX[unit]) if unit in _WORK_SUFFIX else f"{rate:,.0f} {unit or 'units'}/s"


def share(ratio: float | None) -> str:
    """A ratio as percent; a dash when there was nothing to judge."""
    if ratio is None:
        return "-"
    percent = ratio * 100
    return f"{percent:.0f}%" if percent in (0.0, 100.0) else f"{min(percent, 99.9):.1f}%"


def verdict(ratio: float | None) -> str:
    """An objective in one word, by its share of windows met."""
    if ratio is None:
        return "not asked for"
    if ratio >= KEPT_RATIO:
        return "kept"
    return "mostly kept" if ratio >= MOSTLY_RATIO else "broken"


def api_rows(policy: Mapping[str, Any]) -> list[list[str]]:
    """The API's attainment beside the outside measurement: instance, metric, both with the seconds they are over, the difference.

    Empty for a policy without an API.
    """
    rows = []
    for row in policy.get("api", ()):
        seconds = row["seconds"]
        demand = seconds["met"] + seconds["violated"] + seconds["degraded"]
        apart = row["difference_ratio"]
        rows.append(
            [
                row["instance"],
                metric_name(row["metric"]),
                f"{share(row['attainment_ratio'])} ({seconds['met']} of {demand} s)",
                f"{share(row['outside_ratio'])} ({row['outside_windows_met']} of {row['outside_windows_with_demand']} s)",
                "-" if apart is None else f"{apart * 100:+.2f} %",
            ]
        )
    return rows


def page_rows(policy: Mapping[str, Any]) -> list[list[str]]:
    """The page's status beside the outside measurement: instance, metric, in how many seconds both agree, and how many it showed as
    met that were not. Empty where no page was read."""
    return [
        [
            row["instance"],
            metric_name(row["metric"]),
            f"{share(row['agreed'] / row['seconds'] if row['seconds'] else None)} ({row['agreed']} of {row['seconds']} s)",
            f"{row['green_when_broken']} s",
        ]
        for row in policy.get("page", ())
    ]


def objective_of(policy: Mapping[str, Any], like: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The same objective under another policy."""
    keys = ("instance", "metric", "kind")
    return next((o for o in policy["objectives"] if all(o[k] == like[k] for k in keys)), None)


def _grid(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for n, row in enumerate(rows):
        cells = [
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if n == 0:
            lines.append("  ".join("─" * w for w in widths))
    return lines


def text_table(document: Mapping[str, Any]) -> str:
    """The table of a results document. With one or two policies it says how well each did and the verdict on the last."""
    policies: dict[str, Any] = document["policies"]
    names = list(policies)
    rows = [["objective", "", *(text for n in names for text in (n, "seconds met")), "verdict"]]
    first = policies[names[0]] if names else {"objectives": [], "best_effort": []}
    shown: list[Mapping[str, Any]] = []
    for policy in policies.values():
        shown += [o for o in policy["objectives"] if objective_of({"objectives": shown}, o) is None]
    for like in shown:
        row = [
            like["instance"],
            f"{metric_name(like['metric'])} {like['kind']} {quantity(like['value'], like['unit'])}",
        ]
        last: Mapping[str, Any] | None = None
        for name in names:
            last = objective_of(policies[name], like)
            row += [quantity(last["mean"], last["unit"]), share(last["met_95_ratio"])] if last else ["-", "-"]
        rows.append([*row, verdict(last["met_95_ratio"] if last else None)])
    row = ["all", "all of them together"]
    for name in names:
        row += ["", share(policies[name]["all_met_95_ratio"])]
    rows.append([*row, verdict(policies[names[-1]]["all_met_95_ratio"]) if names else ""])
    for like in first["best_effort"]:
        row = [like["instance"], "best effort"]
        for name in names:
            work = next((b for b in policies[name]["best_effort"] if b["instance"] == like["instance"]), None)
            row += [work_rate(work, policies[name]["windows"]), ""] if work else ["-", ""]
        rows.append([*row, ""])
    right = {i for i in range(2, 2 + 2 * len(names))}
    lines = _grid(rows, right)
    for name in names:
        rows = api_rows(policies[name])
        if rows:
            title = ["attainment", "", "stella-api", "measured outside", "difference"]
            lines += ["", *_grid([title, *rows], {2, 3, 4})]
        rows = page_rows(policies[name])
        if rows:
            lines += ["", *_grid([["the page", "", "agrees with outside", "met when missed"], *rows], {2, 3})]
        lines += [f"{name}: refused {r['instance']}: {r['message']}" for r in policies[name].get("refused", [])]
        lines += [f"{name}: INVALID RUN: {reason}" for reason in policies[name].get("invalid", [])]
    return "\n".join(lines)
