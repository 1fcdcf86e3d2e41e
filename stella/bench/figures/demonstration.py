"""The demonstration under five policies, and what keeping it costs: the agent, the neighbours, the host's own services."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from stella.bench.figures.host import AgentMemory, RootCommands
from stella.bench.figures.knobs import Knobs
from stella.bench.figures.row import AGENT, Bound, Facts, Figures, windows_met
from stella.bench.figures.session import Part, agent_against_outside, family, round_seconds, rounds, scenario_file
from stella.bench.policies import COMPARED
from stella.bench.probes import Probe

SECONDS, WARMUP_SECONDS = 30, 6.0
_IDLE_SECONDS = 6.0  # in which the root-level commands are timed beside idle guests
_MOST_RSS_BYTES = 100 * 2**20
_FIGURES = Figures()
_scenario = partial(scenario_file, "demonstration", duration_seconds=SECONDS, warmup_seconds=WARMUP_SECONDS)


def _parts(repeat: int) -> list[Part]:
    first, *later = rounds(repeat, round_seconds(_scenario()) + _IDLE_SECONDS)
    without_solo = round_seconds(_scenario(), with_solo=False) + _IDLE_SECONDS
    return [first, *(replace(part, seconds=without_solo) for part in later)]


def _probes(policy: str) -> Sequence[Probe]:
    return (AgentMemory(), RootCommands(), Knobs()) if policy == "stella" else ()


_FIGURES.of_each(
    COMPARED,
    "demonstration",
    "demonstration, windows with all three floors",
    bound=Bound(least=0.95),
    aim=Bound(least=0.995),
    others={"none": Bound(most=0.5)},
)(windows_met)


@_FIGURES.of(
    "demonstration.gos-second-half",
    "the same, the second half alone, when its feedback has settled: gos",
    policy="gos",
)
def _second_half_met(facts: Facts) -> float:
    return float(facts["result"]["second_half_met_95_ratio"])


@_FIGURES.against(
    "static",
    "demonstration.against-static",
    "windows met under stella less those under static, in the same round",
    aim=Bound(least=0.0),
)
def _more_met(ours: Facts, theirs: Facts) -> float:
    return windows_met(ours) - windows_met(theirs)


def neighbour_ratio(facts: Facts, name: str) -> float | None:
    """What a neighbour without an SLO got done, of what its max-min share of the rest would have done. Pure."""
    return next((b["share_of_fair"] for b in facts["result"]["best_effort"] if b["instance"] == name), None)


for _name in ("hog", "noisy"):
    _FIGURES.of_each(
        COMPARED,
        f"neighbours.{_name}",
        f"neighbour {_name}, work of its fair share",
        bound=Bound(least=0.6),
        aim=Bound(least=0.9),
    )(partial(neighbour_ratio, name=_name))


def command_factor(facts: Facts, name: str, key: str) -> float | None:
    """Time of a root-level command beside the load (median, or 95th percentile), in parts of its median idle time. Pure."""
    found = facts["root_commands"].get(name)
    return found[key] / found["idle_seconds"] if found else None


for _command, _shown in (("true", "/bin/true"), ("python", "python3 -c pass")):
    for _key, _end, _word, _bound in (
        ("loaded_seconds", "", "median", Bound(most=2.0)),
        ("loaded_p95_seconds", "-p95", "95th percentile", Bound()),
    ):
        _FIGURES.of(
            f"root-command.{_command}{_end}",
            f"root-level command {_shown}, {_word} of its time beside the load against its idle median",
            _bound,
            kind="factor",
        )(partial(command_factor, name=_command, key=_key))


@_FIGURES.of("agent.figures", "agent's mean against the outside one, the objective that differs most", Bound(most=0.02))
def largest_difference(facts: Facts) -> float | None:
    """The largest relative difference of the agent's mean from the outside one, over the objectives. Pure."""
    pairs = [(x["agent"], x["outside"]) for x in facts["agent_against_outside"] if x["outside"] > 0]
    return max((abs(agent / outside - 1) for agent, outside in pairs), default=None)


def _agent(facts: Facts) -> Mapping[str, Any]:
    agent: Mapping[str, Any] = facts["result"]["agent"]
    return agent


@_FIGURES.of(
    "agent.cpu",
    "CPU of the agent with its children, plus libvirtd above its idle",
    Bound(most=0.03),
    kind="cores",
)
def _agent_cores(facts: Facts) -> float:
    return float(_agent(facts)["cpu_cores"] + _agent(facts)["libvirtd_cpu_cores_over_idle"])


@_FIGURES.of(
    "agent.rss",
    "peak resident set of the agent with its children (guard included)",
    Bound(most=_MOST_RSS_BYTES, more_than=0),
    kind="bytes",
)
def _agent_bytes(facts: Facts) -> float:
    return float(facts["agent_rss_bytes"])


@_FIGURES.of("agent.late", "late ticks", Bound(less_than=0.01), source=AGENT)
def _late_ratio(facts: Facts) -> float | None:
    return _agent(facts)["late_ticks"] / _agent(facts)["ticks"] if _agent(facts)["ticks"] else None


@_FIGURES.of("agent.restore", "knobs not restored bit for bit when the agent is stopped", Bound(most=0), kind="count")
def _not_restored(facts: Facts) -> float | None:
    return float(len(facts["knobs"]["not_restored"])) if facts["knobs"]["changed"] else None


FAMILY = replace(
    family(
        "demonstration",
        "the demonstration, and what it costs",
        _scenario,
        _FIGURES,
        probes=_probes,
        closer=lambda run, scenario: {"agent_against_outside": agent_against_outside(run)},
    ),
    parts=_parts,
)
