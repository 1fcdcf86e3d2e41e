"""What a run found, as sentences and tables of a few columns, for the terminal and the page alike. Pure.

Policies stand below one another, never beside one another: a table has the same width for two policies as for six.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stella.bench.policies import WHAT_THEY_ARE
from stella.bench.report.series import Table
from stella.model import units

KEPT_RATIO = 0.97
MOSTLY_RATIO = 0.90
_WORK_SUFFIX = {"packets": "packets/s", "bytes": "bytes/s"}
_NAMES = {
    "none": "without Stella",
    "nova": "with what Nova and libvirt offer",
    "static": "with the best static arrangement",
    "gos": "with the original's feedback",
    "gos-110": "with the original's feedback, aimed 10 % higher",
    "stella": "with Stella",
}
EMULATION = (
    "These guests are emulated (TCG): a packet or a byte costs tens of times the CPU that it does under KVM, and its cost jitters by "
    "tens of per cent from second to second. Compare the policies with one another, not the rates with those of other machines."
)

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table with its title. ``words``: how many columns from the left are words and not figures."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 2
    note: str = ""


def metric_name(metric: str) -> str:
    """A metric as people say it."""
    return metric.replace("_", " ")


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
    return f"{percent:.0f}%" if percent == 0.0 or percent >= 100.0 else f"{min(percent, 99.9):.1f}%"


def verdict(ratio: float | None) -> str:
    """An objective in one word, by its share of windows met."""
    if ratio is None:
        return "not asked for"
    if ratio >= KEPT_RATIO:
        return "kept"
    return "mostly kept" if ratio >= MOSTLY_RATIO else "broken"


def _seconds_met(policy: Mapping[str, Any]) -> int:
    return round(float(policy["all_met_95_ratio"]) * int(policy["windows"]))


def headline(document: Document) -> str:
    """The result in a sentence: ``Without Stella 0 of 60 seconds, with Stella 58.``"""
    parts: list[str] = []
    for name, policy in document["policies"].items():
        seconds = f" of {policy['windows']} seconds" if not parts else ""
        parts.append(f"{_NAMES.get(name, f'under {name}')} {_seconds_met(policy)}{seconds}")
    if not parts:
        return ""
    text = "Every objective was met at once: " + ", ".join(parts) + "."
    return text[0].upper() + text[1:]


def objective_of(policy: Mapping[str, Any], like: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The same objective under another policy."""
    keys = ("instance", "metric", "kind")
    return next((o for o in policy["objectives"] if all(o[k] == like[k] for k in keys)), None)


def all_objectives(document: Document) -> list[Mapping[str, Any]]:
    """Every objective of any policy, once."""
    shown: list[Mapping[str, Any]] = []
    for policy in document["policies"].values():
        shown += [o for o in policy["objectives"] if objective_of({"objectives": shown}, o) is None]
    return shown


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


def _verdicts(document: Document) -> Section:
    rows = []
    for name, policy in document["policies"].items():
        low, high = policy.get("all_met_95_spread", (None, None))
        spread = f"{share(low)} to {share(high)} in {len(policy['repeats'])}" if low is not None else "one run"
        ratio = policy["all_met_95_ratio"]
        word = "invalid" if policy["invalid"] else verdict(ratio)
        met = f"{_seconds_met(policy)} of {policy['windows']}"
        second_half = share(policy.get("second_half_met_95_ratio"))
        rows.append((name, WHAT_THEY_ARE.get(name, ""), word, met, second_half, spread))
    return Section(
        title="Verdict",
        head=("policy", "what it is", "verdict", "seconds with every objective met", "second half", "spread of runs"),
        rows=tuple(rows),
        words=3,
        note="A second counts for an objective when the load asked for it all through it; it is met from 95 % on. Kept: at least 97 % "
        "of the seconds; mostly kept: 90 %. Of several runs the median one is shown.",
    )


def _objectives(document: Document) -> Section:
    rows = []
    for like in all_objectives(document):
        what = (
            f"{like['instance']}: {metric_name(like['metric'])} {like['kind']} {quantity(like['value'], like['unit'])}"
        )
        for name, policy in document["policies"].items():
            got = objective_of(policy, like)
            if got is None:
                rows.append((what, name, "-", "-", "-", "-", "-"))
                continue
            figures = (quantity(got[key], got["unit"]) for key in ("mean", "p5", "stdev"))
            rows.append((what, name, *figures, share(got["met_95_ratio"]), verdict(got["met_95_ratio"])))
    head = ("objective", "policy", "mean", "5th percentile", "standard deviation", "seconds met", "verdict")
    return Section(title="Objectives", head=head, rows=_grouped(rows))


def _grouped(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The first cell only where it changes."""
    before = [""] + [row[0] for row in rows]
    return tuple((row[0] if row[0] != last else "", *row[1:]) for row, last in zip(rows, before, strict=False))


def _neighbours(document: Document) -> Section:
    rows = []
    names = dict.fromkeys(b["instance"] for policy in document["policies"].values() for b in policy["best_effort"])
    for instance in names:
        for name, policy in document["policies"].items():
            got = next((b for b in policy["best_effort"] if b["instance"] == instance), None)
            if got:
                cores = quantity(got.get("cpu_cores"), "cores")
                fair = (quantity(got.get("fair_cores"), "cores"), share(got.get("share_of_fair")))
                rows.append((instance, name, work_rate(got, policy["windows"]), cores, *fair))
    return Section(
        title="Best-effort instances",
        head=("instance", "policy", "work", "CPU", "fair share of CPU", "work of its fair share"),
        rows=_grouped(rows),
        note="The fair share is the max-min share of the CPU that the floors leave; it needs solo runs (--solo).",
    )


def _work(document: Document) -> Section:
    rows = []
    for name, policy in document["policies"].items():
        work, seconds = policy["useful_work"], policy["windows"]
        rates = [
            units.show(work[key] / seconds, unit)
            for key, unit in (("packets", "packets/s"), ("block_bytes", "bytes/s"))
        ]
        events, cores = (
            f"{work['cpu_events'] / seconds:,.0f} events/s",
            quantity(policy.get("instances_cpu_cores"), "cores"),
        )
        rows.append((name, *rates, events, cores))
    head = ("policy", "packets", "disk", "sysbench", "CPU of all guests")
    return Section(title="Total useful work of all guests", head=head, rows=tuple(rows), words=1)


def _said(document: Document, tables: Mapping[str, Table]) -> Section:
    rows = []
    for name, table in tables.items():
        for objective in table.objectives:
            statuses, causes = table.columns[f"{objective}.status"], table.columns[f"{objective}.cause"]
            if not any(statuses):
                continue
            told = ", ".join(f"{status} {n}" for status, n in Counter(s or "nothing" for s in statuses).most_common())
            why = ", ".join(f"{cause} {n}" for cause, n in Counter(c for c in causes if c).most_common()) or "-"
            rows.append((metric_name(objective).replace(".", ": "), name, told.replace("_", " "), why))
    agreed = "; ".join(
        f"{name}: {share(policy['agent']['status_agreement_ratio'])}"
        for name, policy in document["policies"].items()
        if policy["agent"]["status_agreement_ratio"] is not None
    )
    return Section(
        title="What the agent said",
        head=("objective", "policy", "status, seconds", "cause of what was missed, seconds"),
        rows=_grouped(rows),
        words=4,
        note=f"Seconds in which its word agrees with what was measured outside: {agreed}." if agreed else "",
    )


def _attainment(document: Document) -> Section:
    rows = [(*row[:2], name, *row[2:]) for name, policy in document["policies"].items() for row in api_rows(policy)]
    return Section(
        title="Attainment: what the API answers, and what was measured outside",
        head=("instance", "objective", "policy", "stella-api", "measured outside", "difference"),
        rows=tuple(rows),
        words=3,
        note="The same whole minutes of the clock on both sides. Each side says over how many seconds with demand.",
    )


def _on_page(document: Document) -> Section:
    rows = [
        (
            row["instance"],
            metric_name(row["metric"]),
            name,
            f"{share(row['agreed'] / row['seconds'] if row['seconds'] else None)} ({row['agreed']} of {row['seconds']} s)",
            f"{row['green_when_broken']} s",
        )
        for name, policy in document["policies"].items()
        for row in policy.get("page", ())
    ]
    return Section(
        title="What the page in the browser showed, and what was measured outside",
        head=("instance", "objective", "policy", "same status", "shown as met when it was not"),
        rows=tuple(rows),
        words=3,
        note="Each second with demand: the table that the page offers as CSV, read in the browser when the measured time was over.",
    )


def _events(document: Document) -> Section:
    rows = []
    policies = document["policies"]
    for n, event in enumerate(next(iter(policies.values()))["events"] if policies else ()):
        for name, policy in policies.items():
            got = policy["events"][n]
            again = "never" if got["recovered_seconds"] is None else f"{got['recovered_seconds']:.1f} s"
            rows.append((f"{event['at_seconds']:g} s: {event['what']}", name, str(got["windows_lost"]), again))
    head = ("event", "policy", "seconds lost until the next", "all hold again after")
    return Section(title="Events", head=head, rows=_grouped(rows))


def _cost(document: Document) -> Section:
    rows = []
    for name, p in document["policies"].items():
        agent = p["agent"]
        used = [p["host_cpu_cores"], p["other_cpu_cores"], p["receiver_cpu_cores"], agent["cpu_cores"]]
        used += [p.get("control_plane_cpu_cores"), agent["libvirtd_cpu_cores_over_idle"], p["steal_cores"]]
        late = f"{agent['late_ticks']} of {agent['ticks']}" if agent["ticks"] else "-"
        rows.append((name, *(quantity(cores, "cores") for cores in used), late, str(p["disturbed_windows"])))
    return Section(
        title="What it cost, and how far to trust it",
        head=(
            *("policy", "machine", "not of the experiment", "receivers", "agent", "API and engine"),
            *("libvirtd above idle", "steal", "late ticks (its word)", "disturbed seconds"),
        ),
        rows=tuple(rows),
        words=1,
        note="In cores. A run is invalid above 5 % of steal or of disturbed seconds.",
    )


def sections(document: Document, tables: Mapping[str, Table]) -> list[Section]:
    """All tables that have rows."""
    found = [make(document) for make in (_verdicts, _objectives, _neighbours, _work)]
    found += [_said(document, tables), *(make(document) for make in (_attainment, _on_page, _events, _cost))]
    return [section for section in found if section.rows]


def remarks(document: Document) -> Iterator[str]:
    """What policies refused, noted, and why runs do not count."""
    for name, policy in document["policies"].items():
        yield from (f"{name}: INVALID RUN: {reason}" for reason in policy.get("invalid", []))
        yield from (f"{name}: refused {r['instance']}: {r['message']}" for r in policy.get("refused", []))
        yield from (f"{name}: {note}" for note in policy.get("notes", []))


def _grid(section: Section) -> list[str]:
    rows = [section.head, *section.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(section.head))]
    lines = []
    for n, row in enumerate(rows):
        cells = [
            c.ljust(w) if i < section.words else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if n == 0:
            lines.append("  ".join("─" * w for w in widths))
    return lines


def text_table(document: Document) -> str:
    """The run for the terminal: the sentence, objectives, best-effort instances, the API's answer, the page's, remarks."""
    lines = [headline(document)]
    for section in (_objectives(document), _neighbours(document), _attainment(document), _on_page(document)):
        if section.rows:
            lines += ["", *_grid(section)]
    return "\n".join([*lines, "", *remarks(document)]).rstrip()
