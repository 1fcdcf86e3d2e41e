"""The demonstration under five policies, and what keeping it costs: the agent, the neighbours, the host's own services."""

from collections.abc import Mapping, Sequence
from typing import Any

from stella.bench.figures.host import AgentMemory, RootCommands
from stella.bench.figures.knobs import Knobs
from stella.bench.figures.row import AGENT, Bound, Facts, Row, row_against, row_of, rows_of_all, windows_met
from stella.bench.figures.session import (
    Family,
    Part,
    Session,
    agent_against_outside,
    in_turn,
    round_seconds,
    rounds,
    scenario_file,
)
from stella.bench.policies import COMPARED
from stella.bench.probes import Probe
from stella.bench.scenario import Scenario

SECONDS, WARMUP_SECONDS = 30, 6.0
_IDLE_SECONDS = 6.0  # in which the root-level commands are timed beside idle guests
_MOST_RSS_BYTES = 100 * 2**20


def _scenario() -> Scenario:
    return scenario_file("demonstration", duration_seconds=SECONDS, warmup_seconds=WARMUP_SECONDS)


def _parts(repeat: int) -> list[Part]:
    first, *later = rounds(repeat, round_seconds(_scenario()) + _IDLE_SECONDS)
    without_solo = round_seconds(_scenario(), with_solo=False) + _IDLE_SECONDS
    return [first, *(Part(name=part.name, seconds=without_solo) for part in later)]


def _probes(policy: str) -> Sequence[Probe]:
    return (AgentMemory(), RootCommands(), Knobs()) if policy == "stella" else ()


def _run(part: str, session: Session) -> Facts:
    return session.round(
        _scenario(),
        in_turn(COMPARED, part),
        title=f"demonstration {part}",
        probes=_probes,
        closer=lambda run: {"agent_against_outside": agent_against_outside(run)},
    )


def neighbour_ratio(facts: Facts, name: str) -> float | None:
    """What a neighbour without an SLO got done, of what its max-min share of the rest would have done. Pure."""
    return next((b["share_of_fair"] for b in facts["result"]["best_effort"] if b["instance"] == name), None)


def largest_difference(facts: Facts) -> float | None:
    """The largest relative difference of the agent's mean from the outside one, over the objectives. Pure."""
    pairs = [(x["agent"], x["outside"]) for x in facts["agent_against_outside"] if x["outside"] > 0]
    return max((abs(agent / outside - 1) for agent, outside in pairs), default=None)


def command_factor(facts: Facts, name: str, key: str = "loaded_seconds") -> float | None:
    """Time of a root-level command beside the load (median, or 95th percentile), in parts of its median idle time. Pure."""
    found = facts["root_commands"].get(name)
    return found[key] / found["idle_seconds"] if found else None


def _agent(facts: Facts) -> Mapping[str, Any]:
    agent: Mapping[str, Any] = facts["result"]["agent"]
    return agent


def _judge(parts: Mapping[str, Facts]) -> list[Row]:
    broken = Bound(most=0.5)
    rows = rows_of_all(
        parts,
        COMPARED,
        windows_met,
        name="demonstration",
        title="demonstration, windows with all three floors",
        bounds={"none": (broken, Bound()), "stella": (Bound(least=0.95), Bound(least=0.995))},
    )
    rows.append(
        row_of(
            parts,
            "gos",
            lambda f: f["result"]["second_half_met_95_ratio"],
            name="demonstration.gos-second-half",
            title="the same, the second half alone, when its feedback has settled: gos",
        )
    )
    rows.append(
        row_against(
            parts,
            "static",
            lambda ours, theirs: windows_met(ours) - windows_met(theirs),
            name="demonstration.against-static",
            title="windows met under stella less those under static, in the same round",
            aim=Bound(least=0.0),
        )
    )
    for name in ("hog", "noisy"):

        def read(facts: Facts, name: str = name) -> float | None:
            return neighbour_ratio(facts, name)

        rows += rows_of_all(
            parts,
            COMPARED,
            read,
            name=f"neighbours.{name}",
            title=f"neighbour {name}, work of its fair share",
            bounds={"stella": (Bound(least=0.6), Bound(least=0.9))},
        )
    return rows + _costs(parts)


def _costs(parts: Mapping[str, Facts]) -> list[Row]:
    rows = []
    for command, shown in (("true", "/bin/true"), ("python", "python3 -c pass")):
        for key, word, bound in (
            ("loaded_seconds", "median", Bound(most=2.0)),
            ("loaded_p95_seconds", "95th percentile", Bound()),
        ):

            def read(facts: Facts, command: str = command, key: str = key) -> float | None:
                return command_factor(facts, command, key)

            title = f"root-level command {shown}, {word} of its time beside the load against its idle median"
            name = f"root-command.{command}" + ("" if word == "median" else "-p95")
            rows.append(row_of(parts, "stella", read, name=name, title=title, bound=bound, kind="factor"))
    return [
        *rows,
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
            source=AGENT,
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


FAMILY = Family(
    name="demonstration", title="the demonstration, and what it costs", parts=_parts, run=_run, judge=_judge
)
