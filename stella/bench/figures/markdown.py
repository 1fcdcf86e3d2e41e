"""docs/benchmarks.md, from figures.json alone. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from stella.bench.figures.row import FALLS_SHORT, INVALID, OUTSIDE, PASS
from stella.bench.policies import COMPARED, WHAT_THEY_ARE

INTRODUCTION = """\
Written by `stella-bench figures` alone; do not edit. All of it was measured on one commit.

Each figure is the median over the rounds, with the smallest and the largest of them in brackets; a row passes only when **every**
round keeps what is required. *Aim* is what is wanted, and decides nothing. In a round the policies run one after the other on the
same guests, for the same time, in an order that moves on from round to round; between them every knob is put back and compared. A
run in which the machine lost more than 5 % of its CPU to others (steal), stalled in more than 5 % of the windows, or in which
processes that have no part in it used more than half a core in more than 20 % of them, does not count and is repeated once. A
guest that dies or an agent that does not start is not repeated: its rows have no valid run.

Everything is measured from outside the agent, except the rows marked `agent`: they rest on what the agent or stella-api says of
itself (late ticks, the reservation, seconds unknown to the API). Thresholds stand beside the figures in `stella/bench/figures/`.
"""
_HOW = """\
## How it is measured

- **Policies**: {policies}.
- **Windows** are seconds of wall clock; a floor counts where the load generator itself asked for it, and is met from 95 % on.
- **Windows lost** to a change: all that are missed until the next change.
- **Fair share of a neighbour**: what its max-min share of the rest would have done. The rest is the host's cores less all that is not
  the guests' (receivers, host services, the agent), less what the floors cost: the work of each instance with an SLO up to its floor,
  at its cost when alone. All that want more share it, instances with an SLO too. Costs come from runs of each load alone.
- **Root-level command**: started in the root control groups, against its median with all guests idle.
- **Waiting threads**: run and wait time by the kernel's account (`/proc/PID/task/TID/schedstat`), from the moment the instance's own
  sysbench starts.
- **CPU ceiling**: vCPU time by the kernel's account. One busy vCPU cannot use more than a core, so there it must have that core.
- **The agent's word**: a window of which it says nothing does not agree. The undersized instance (a CPU floor above what its vCPUs
  can do) computes alone: beside others it would be starved.
- **The offender**: starved windows as seen outside; the name alone is the agent's word. A window for which it names none does not
  count as right. The three neighbours have paced loads; that they are busy is measured outside.
- **kill -9**: at moments from a seed, the journal left intact, cut, garbled or removed in turn; the agent stays dead for 2.5 s, and
  the quotas of the guests' groups are read every 30 ms. At the end it is killed once more and `xgos release` is run. All knobs are
  read before the agent starts and compared as text.
- **Scenarios from a seed**: the loads are drawn; the floors need 45 to 60 % of the host by what each load cost alone on this machine.
- **Emulation**: guests under `tcg` are emulated. A packet or a byte costs tens of times the CPU that it does under KVM, and its cost
  jitters by tens of per cent from second to second. Compare policies, not absolute rates.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]


def _machine(machine: Mapping[str, Any]) -> str:
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB" if machine.get("memory_bytes") else ""
    cores, used = machine.get("cores", "?"), machine.get("cores_used")
    facts = (
        f"{cores} cores" if used in (None, cores) else f"{used} of {cores} cores",
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
            f"{sum(part['planned_seconds'] for part in family['parts'].values()) / 60:.1f} min",
            f"{sum(part['seconds'] for part in family['parts'].values()) / 60:.1f} min",
            _loads(family["parts"]),
        )
        for name, family in families.items()
        if family["parts"]
    ]
    return _table(("family", "rounds", "first started", "planned", "took", "load average before each"), rows)


def page(document: Mapping[str, Any]) -> str:
    """The page."""
    families = document["families"]
    rows = [row for family in families.values() for row in family["rows"]]
    counts = {status: sum(row["status"] == status for row in rows) for status in (PASS, FALLS_SHORT, INVALID)}
    spent = sum(part["seconds"] for family in families.values() for part in family["parts"].values())
    lines = ["# Benchmarks", "", INTRODUCTION]
    started = min((part["started"] for family in families.values() for part in family["parts"].values()), default="-")
    lines += [f"- Date: {started} to {document.get('finished', '-')}, {spent / 60:.0f} minutes of runs"]
    lines += [f"- Machine: {_machine(document.get('machine', {}))}"]
    lines += [f"- Commit: {document.get('commit') or 'unknown'}"]
    lines += [f"- Command: `{document.get('command', 'make figures')}`", ""]
    lines += [f"**{counts[PASS]} pass, {counts[FALLS_SHORT]} fall short, {counts[INVALID]} without a valid run.**", ""]
    if not rows:
        lines += ["Nothing has been measured yet: `make figures` (as root, 42 minutes)."]
    shown = [(row["title"], row["required"], row["aim"], row["figure"], _status(row)) for row in rows]
    lines += _table(("figure", "required", "aim", "measured", ""), shown) if shown else []
    lines += _notes(rows, families)
    return "\n".join([*lines, "", "## Rounds", "", *_runs(families), "", how()])


def how() -> str:
    """The end of the page."""
    return _HOW.format(policies="; ".join(f"`{name}`: {WHAT_THEY_ARE[name]}" for name in COMPARED))


def _status(row: Mapping[str, Any]) -> str:
    status = "**FALLS SHORT**" if row["status"] == FALLS_SHORT else str(row["status"])
    return status if row["source"] == OUTSIDE else f"{status} (`agent`)"


def _notes(rows: list[Mapping[str, Any]], families: Mapping[str, Any]) -> list[str]:
    lines = [f"- {row['title']}: {row['note']}." for row in rows if row["note"]]
    lines += [f"- {row['title']}: no valid run: {row['missing']}." for row in rows if row["missing"]]
    for name, family in families.items():
        for part, kept in family["parts"].items():
            for policy, facts in kept["facts"].get("policies", {}).items():
                lines += [
                    f"- {name} {part}, {policy}: a run did not count: {why}." for why in facts.get("discarded", ())
                ]
    return ["", "## Notes", "", *lines] if lines else []
