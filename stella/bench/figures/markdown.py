"""docs/benchmarks.md, from figures.json alone. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from stella.bench.figures.row import FALLS_SHORT, INVALID, PASS

_INTRODUCTION = """\
Written by `make figures`; do not edit: explanations are kept under `analysis` in `{source}`, by the name of the row.

Every figure is measured from outside the agent. It is the median over the repeats, with the smallest and the largest of them in
brackets; a row passes only when **every** repeat keeps what is required. A run in which the machine lost more than 5 % of its CPU
to others (steal), or stalled in more than 5 % of the windows, does not count: it is repeated up to two times, which is said below.
Thresholds stand beside the figures in `stella/bench/figures/`.
"""
_HOW = """\
## How it is measured

- **Windows** are seconds of wall clock; a floor counts where the load generator itself asked for it, and is met from 95 % on.
- **Neighbours**: the work of each in parts of what its weighted max-min share of the rest would have done. The rest is the machine's
  cores less all that is not the guests' (receivers, host services, the agent), less what the floors cost: the work of each SLO
  instance up to its floor, at its cost per unit when alone. Everybody who wants more shares it, SLO instances too. Cost per unit
  and what each wants come from a run in which each load is alone on the machine.
- **Root-level command**: started in the root control groups, median of the run against the median with all guests idle.
- **Mixed instance**: wait and run time of its threads are the kernel's (`/proc/PID/task/TID/schedstat`), from the moment its own
  sysbench starts. Beside it stands a run under no policy whose outer weights (each instance's group and their parent) are fixed at
  the medians they had under Stella, with libvirt's default weights inside: the two differ in what Stella does *inside* an instance.
- **CPU ceiling**: vCPU time by the kernel's account. One busy vCPU cannot use more than a core, so there it must have that core.
- **Honesty**: the undersized instance (a CPU floor above what its vCPUs can do) computes alone: beside others it would be starved.
- **kill -9**: at ten moments from a seed; the agent stays dead for 2.5 s, and every quota of the guests' groups is read every 30 ms.
  At the end it is killed once more and `xgos release` is run. All knobs are read before the agent starts and compared as text.
- **Scenarios from a seed** reserve, as admission prices floors (margin included), 60 to 80 % of what the measured overhead leaves.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]


def _machine(machine: Mapping[str, Any]) -> str:
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB" if machine.get("memory_bytes") else ""
    facts = (
        f"{machine.get('cores', '?')} cores",
        machine.get("processor", ""),
        memory,
        f"Linux {machine.get('kernel', '?')}",
        f"guests under {machine['accelerator']}" if machine.get("accelerator") else "",
        f"cgroup {machine['cgroup']}" if machine.get("cgroup") else "",
    )
    return ", ".join(fact for fact in facts if fact)


def _loads(parts: Mapping[str, Any]) -> str:
    loads = [part["load_average"] for part in parts.values()]
    return f"{min(loads):.1f} to {max(loads):.1f}" if loads else "-"


def _runs(families: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            name,
            str(len(family["parts"])),
            min(part["started"] for part in family["parts"].values()),
            f"{sum(part['seconds'] for part in family['parts'].values()) / 60:.1f} min",
            _loads(family["parts"]),
        )
        for name, family in families.items()
        if family["parts"]
    ]
    return _table(("runs", "number", "first started", "took", "load average before each"), rows)


def page(document: Mapping[str, Any], *, source: str) -> str:
    """The page. ``source``: where figures.json lies, as a person is told."""
    families, analysis = document["families"], document.get("analysis", {})
    rows = [row for family in families.values() for row in family["rows"]]
    counts = {status: sum(row["status"] == status for row in rows) for status in (PASS, FALLS_SHORT, INVALID)}
    lines = ["# Benchmarks", "", _INTRODUCTION.format(source=source)]
    lines += [f"- Date: {document.get('started', '-')} to {document.get('finished', '-')}"]
    lines += [f"- Machine: {_machine(document.get('machine', {}))}"]
    lines += [f"- Command: `{document.get('command', 'make figures')}`", ""]
    lines += [f"**{counts[PASS]} pass, {counts[FALLS_SHORT]} fall short, {counts[INVALID]} without a valid run.**", ""]
    shown = [
        (
            row["title"],
            row["required"],
            row["figure"],
            "**FALLS SHORT**" if row["status"] == FALLS_SHORT else row["status"],
        )
        for row in rows
    ]
    lines += _table(("figure", "required", "measured", ""), shown)
    lines += _short(rows, analysis) + _notes(rows, families)
    return "\n".join([*lines, "", "## Runs", "", *_runs(families), "", _HOW])


def _short(rows: list[Mapping[str, Any]], analysis: Mapping[str, str]) -> list[str]:
    lines = []
    for row in rows:
        if row["status"] in (FALLS_SHORT, INVALID):
            why = analysis.get(row["name"]) or f"No explanation has been written yet (`analysis`, `{row['name']}`)."
            measured = row["missing"] or f"{row['figure']}, required {row['required']}"
            lines += [f"- **{row['title']}** (`{row['name']}`): {measured}. {why}"]
    return ["", "## What falls short, and why", "", *lines] if lines else []


def _notes(rows: list[Mapping[str, Any]], families: Mapping[str, Any]) -> list[str]:
    lines = [f"- {row['title']}: {row['note']}." for row in rows if row["note"]]
    for name, family in families.items():
        for part, kept in family["parts"].items():
            lines += [f"- {name} {part}: a run did not count and was repeated: {why}." for why in kept["discarded"]]
    return ["", "## Notes", "", *lines] if lines else []
