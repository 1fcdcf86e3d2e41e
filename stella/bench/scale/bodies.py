"""Reports of emulated hosts, byte for byte those of the real link (a test compares them), at a fraction of its CPU time.

What a host *is* was printed before the run, a few times with different usages; only rows, number and time are printed for each report.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stella.bench.scale.fleet import EmulatedHost, Guest, metrics_of
from stella.bench.scale.published import publish
from stella.model import wire
from stella.model.attainment import Cause
from stella.model.intent import IntentState, Mode
from stella.model.report import MinuteRow, Spread, StateRow, StatusCounts
from stella.xgos.link.sections import host_section, instances_section, standing_states, state_section

_VARIANTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """``now``: host and instances, as JSON text. ``states``: what is told of its SLOs now and then."""

    now: str
    states: Mapping[str, StateRow]


def prepare(host: EmulatedHost, chance: random.Random, *, revision: int) -> tuple[Printed, ...]:
    """What this host is, in a few variants."""
    made = [publish(host, chance, revision=revision) for _ in range(_VARIANTS)]
    return tuple(
        Printed(
            now=f'"host":{wire.dumps(host_section(one))},"instances":{wire.dumps(instances_section(one))}',
            states=standing_states(one),
        )
        for one in made
    )


def print_report(
    *,
    agent: str,
    epoch: str,
    sequence: int,
    sent_at: float,
    printed: Printed,
    minutes: Sequence[MinuteRow] = (),
    states: Mapping[str, StateRow],
) -> bytes:
    """The body of one report; its keys are sorted, as `stella.model.wire.dumps` sorts them."""
    shown = {uuid: state_section(row, Mode.ENFORCE) for uuid, row in states.items()}
    return (
        f'{{"agent":{wire.dumps(agent)},"epoch":{wire.dumps(epoch)},{printed.now},"minutes":{wire.dumps(minutes)}'
        f',"sent_at":{wire.dumps(sent_at)},"sequence":{sequence},"states":{wire.dumps(shown)},"violations":[]}}'
    ).encode()


def minute_rows(host: EmulatedHost, start: int, chance: random.Random) -> list[MinuteRow]:
    """What the host counted in the minute that began at ``start``: one row for each objective."""
    return [row for guest in host.guests for row in _rows(guest, start, chance)]


def _rows(guest: Guest, start: int, chance: random.Random) -> list[MinuteRow]:
    rows = []
    for metric in metrics_of(guest):
        violated = chance.choice((0, 0, 0, 0, 3))
        idle = chance.randrange(0, 40)
        floor = guest.terms.slo.floor(metric) if guest.terms else 0.0
        rows.append(
            MinuteRow(
                uuid=guest.uuid,
                metric=metric,
                start=start,
                counts=StatusCounts(met=60 - violated - idle, violated=violated, no_demand=idle),
                causes={Cause.CPU: violated} if violated else {},
                usage=Spread(mean=floor * chance.random(), min=0.0, max=floor * 1.5),
                demand_mean=floor * chance.random(),
            )
        )
    return rows


def acknowledged(revision: int) -> StateRow:
    """The host enforces what it was asked for in this revision."""
    return StateRow(revision=revision, state=IntentState.ENFORCED)
