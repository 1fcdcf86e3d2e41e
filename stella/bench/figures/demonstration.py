"""The demonstration under four policies, and what keeping it costs: the agent, the neighbours, the host's own services."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stella.bench.fair import max_min
from stella.bench.figures import solo
from stella.bench.figures.host import AgentMemory, RootCommands
from stella.bench.figures.knobs import Knobs
from stella.bench.figures.row import Bound, Facts, Row, row_of
from stella.bench.figures.session import (
    Family,
    Part,
    Session,
    agent_against_outside,
    part_seconds,
    scenario_file,
)
from stella.bench.figures.threads import Threads
from stella.bench.scenario import Scenario

POLICIES = ("none", "stella", "static", "gos")
SECONDS = {"none": 120, "stella": 120, "static": 60, "gos": 60}
"""Of measured time. Those of other policies are reported beside ours, without a bound: they are given less."""
_MOST_RSS_BYTES = 100 * 2**20
_WORK_OF_METRIC = {
    "network_packets": ("network_packets.tx", "network_packets.rx"),
    "block_bytes": ("block_bytes.read", "block_bytes.write"),
}


def _scenario(policy: str) -> Scenario:
    return replace(scenario_file("demonstration"), duration_seconds=SECONDS[policy])


def _parts(repeat: int) -> list[Part]:
    rounds = range(1, repeat + 1)
    return [
        Part(name=f"{p}-{n}", seconds=part_seconds(_scenario(p)) + 5 * (p == "stella"))
        for n in rounds
        for p in POLICIES
    ]


def _run(part: str, session: Session) -> Facts:
    policy = part.rpartition("-")[0]
    probes = [Threads(), *([AgentMemory(), RootCommands(), Knobs()] if policy == "stella" else [])]
    run, facts = session.run(_scenario(policy), policy, title=f"demonstration {part}", probes=probes)
    work = {name: sum(rates) / len(rates) for name, rates in run.verdict.work_series.items()}
    return {**facts, "work_per_second": work, "agent_against_outside": agent_against_outside(run)}


def neighbours_ratio(facts: Facts, alone: Facts) -> dict[str, float]:
    """What each neighbour without an SLO got done, of what its max-min share of the rest would have done. Pure.

    The rest: the machine's cores less whatever is not the guests' (receivers, host services, the agent: measured in this run),
    less what the floors cost: the work of each SLO instance, up to its floor, at its cost per unit when alone. It is divided
    among all who want more, SLO instances too, at equal weights: nobody has been given another. An instance of several loads
    has done the mean of what each has, in parts of its work when alone.
    """
    result = facts["result"]
    overhead = max(0.0, result["host_cpu_cores"] - result["instances_cpu_cores"])
    floors: dict[str, float] = {}
    for objective in result["objectives"]:
        if objective["kind"] == "floor":
            done = min(objective["mean"] or 0.0, objective["value"])
            floors[objective["instance"]] = floors.get(objective["instance"], 0.0) + done * _unit_cores(
                alone, objective
            )
    names = [*{*floors, *(b["instance"] for b in result["best_effort"])}]
    wants = {n: max(0.0, (alone["alone"].get(n, {}).get("cores") or 0.0) - floors.get(n, 0.0)) for n in names}
    shares = max_min(alone["cores"] - overhead - sum(floors.values()), wants)
    found = {}
    for neighbour in (b["instance"] for b in result["best_effort"]):
        own = alone["alone"].get(neighbour, {"cores": 0.0, "work": {}})
        parts = [_part(facts, neighbour, series, own) for series, rate in own["work"].items() if rate > 0]
        if parts and own["cores"] and shares[neighbour] > 0:
            found[neighbour] = (sum(parts) / len(parts)) / (shares[neighbour] / own["cores"])
    return found


def _part(facts: Facts, neighbour: str, series: str, own: Mapping[str, Any]) -> float:
    """A load's work in parts of its work when alone.

    sysbench's late reports (it starves too) can tell of more than was done: what its CPU time allows is the most that counts.
    """
    done = float(facts["work_per_second"].get(f"{neighbour}.{series}", 0.0) / own["work"][series])
    used = facts.get("threads", {}).get(neighbour, {}).get("cores")
    return min(done, used / own["cores"]) if series == "cpu_events" and used is not None and own["cores"] else done


def _unit_cores(alone: Facts, objective: Mapping[str, Any]) -> float:
    if objective["metric"] == "cpu":
        return 1.0
    costs = [solo.cost_of(alone, objective["instance"], s) for s in _WORK_OF_METRIC.get(objective["metric"], ())]
    return next((c for c in costs if c is not None), 0.0)


def largest_difference(facts: Facts) -> float | None:
    """The largest relative difference of the agent's mean from the outside one, over the objectives. Pure."""
    pairs = [(x["agent"], x["outside"]) for x in facts["agent_against_outside"] if x["outside"] > 0]
    return max((abs(agent / outside - 1) for agent, outside in pairs), default=math.inf)


def command_factor(facts: Facts, name: str) -> float | None:
    """Median time of a root-level command beside the load, in parts of its idle time. Pure."""
    found = facts["root_commands"].get(name)
    return found["loaded_seconds"] / found["idle_seconds"] if found else None


def _agent(facts: Facts) -> Mapping[str, Any]:
    agent: Mapping[str, Any] = facts["result"]["agent"]
    return agent


def _judge(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    rows = [
        row_of(
            parts,
            "none",
            lambda f: 1.0 - f["result"]["all_met_95_ratio"],
            name="demonstration.none",
            title="demonstration, policy none: windows in which an SLO is broken",
            bound=Bound(more_than=0.5),
        )
    ]
    for policy, bound in (("stella", Bound(least=0.97)), ("static", Bound()), ("gos", Bound())):
        title = f"demonstration, policy {policy}, {SECONDS[policy]} s: windows with all three >= 95 % of their floor"
        if policy == "stella":
            title += " (aim 99.5 %)"
        rows.append(
            row_of(
                parts,
                policy,
                lambda f: float(f["result"]["all_met_95_ratio"]),
                name=f"demonstration.{policy}",
                title=title,
                bound=bound,
            )
        )
    return rows + _neighbours(parts, needed) + _costs(parts)


def _neighbours(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    alone = solo.facts_of(needed)
    rows = []
    for name in ("hog", "noisy"):
        title = f"neighbour {name}: useful work against its max-min share of the rest (aim 80 %)"
        key = f"neighbours.{name}"
        if alone is None:
            missing = "the solo run is missing or invalid"
            rows.append(Row(name=key, title=title, bound=Bound(least=0.6), kind="ratio", values=(), missing=missing))
            continue

        def read(facts: Facts, name: str = name, alone: Facts = alone) -> float:
            return neighbours_ratio(facts, alone).get(name, 0.0)

        rows.append(row_of(parts, "stella", read, name=key, title=title, bound=Bound(least=0.6)))
    return rows


def _costs(parts: Mapping[str, Facts]) -> list[Row]:
    rows = [
        row_of(
            parts,
            "stella",
            lambda f, c=command: command_factor(f, c),  # type: ignore[misc]
            name=f"root-command.{command}",
            title=f"root-level command {shown}: median time beside the load against idle",
            bound=Bound(most=2.0),
            kind="factor",
        )
        for command, shown in (("true", "/bin/true"), ("python", "python3 -c pass"))
    ]
    rows += [
        row_of(
            parts,
            "stella",
            largest_difference,
            name="agent.figures",
            title="agent's mean against the outside one, the objective that differs most",
            bound=Bound(most=0.02),
        ),
        row_of(
            parts,
            "stella",
            lambda f: _agent(f)["cpu_cores"] + _agent(f)["libvirtd_cpu_cores_over_idle"],
            name="agent.cpu",
            title="CPU of the agent with its children, plus libvirtd above its idle",
            bound=Bound(most=0.03),
            kind="cores",
        ),
        row_of(
            parts,
            "stella",
            lambda f: float(f["agent_rss_bytes"]),
            name="agent.rss",
            title="peak resident set of the agent with its children (guard included)",
            bound=Bound(most=_MOST_RSS_BYTES, more_than=0),
            kind="bytes",
        ),
        row_of(
            parts,
            "stella",
            lambda f: _agent(f)["late_ticks"] / _agent(f)["ticks"] if _agent(f)["ticks"] else None,
            name="agent.late",
            title="late ticks",
            bound=Bound(less_than=0.01),
        ),
        row_of(
            parts,
            "stella",
            lambda f: float(len(f["knobs"]["not_restored"])) if f["knobs"]["changed"] else None,
            name="agent.restore",
            title="knobs not restored bit for bit when the agent is stopped",
            bound=Bound(most=0),
            kind="count",
        ),
    ]
    return rows


FAMILY = Family(
    name="demonstration",
    title="the demonstration under none, static, gos and stella",
    parts=_parts,
    run=_run,
    judge=_judge,
    needs=(solo.NAME,),
)
