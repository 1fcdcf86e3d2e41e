"""An instance promised CPU, packets and storage at once that computes for itself as well, beside a hog.

Beside it stands a run with libvirt's default weights *inside* the instance: no policy, but the instances' own groups and their
parent have the weights, fixed, that they had under Stella (medians). So the two differ in what Stella does inside an instance.
"""

import statistics
from collections.abc import Mapping, Sequence

from stella.bench.figures.host import Reservation
from stella.bench.figures.knobs import OuterWeights, SetOuterWeights
from stella.bench.figures.probes import Probe
from stella.bench.figures.row import Bound, Facts, Row, row_of, valid
from stella.bench.figures.session import Family, Part, Session, floors_met, part_seconds, scenario_file
from stella.bench.figures.threads import Threads, wait_ratio
from stella.bench.run import InvalidRun

NAME = "mixed"
DEFAULTS = "defaults"
_SETTLE_SECONDS = 3.0


def _parts(repeat: int) -> list[Part]:
    seconds = part_seconds(scenario_file("figures/mixed"))
    return [
        *(Part(name=f"stella-{n}", seconds=seconds) for n in range(1, repeat + 1)),
        Part(name=DEFAULTS, seconds=seconds),
    ]


def _run(part: str, session: Session) -> Facts:
    scenario = scenario_file("figures/mixed")
    threads = Threads()
    probes: list[Probe] = [threads]
    if part == DEFAULTS:
        before = valid(session.kept(NAME), "stella")
        if not before:
            raise InvalidRun("there is no valid run under stella to take the outer weights from")
        probes.append(SetOuterWeights(before[-1]["outer_weights"]))
    else:
        probes += [Reservation("mixed"), OuterWeights()]
    run, facts = session.run(scenario, "none" if part == DEFAULTS else "stella", title=f"mixed {part}", probes=probes)
    event = scenario.events[0].at_seconds
    first, last = run.start_unix_seconds + event, run.start_unix_seconds + scenario.duration_seconds
    met = floors_met(run)
    return {
        **facts,
        "event_seconds": event,
        "floors_met_ratio": sum(met) / len(met),
        "wait_ratio_computing": {
            role: wait_ratio(threads.samples, "mixed", role, first, last) for role in ("main", "iothread", "vcpu")
        },
    }


def reservation_rise(samples: Sequence[Sequence[float]], event_seconds: float) -> float | None:
    """How much the reservation rose when the instance's own computing began: mean after it had settled, against before. Pure."""
    before = [cores for t, cores in samples if t < event_seconds]
    after = [cores for t, cores in samples if t >= event_seconds + _SETTLE_SECONDS]
    if not before or not after or statistics.fmean(before) <= 0:
        return None
    return statistics.fmean(after) / statistics.fmean(before) - 1.0


def _waits(parts: Mapping[str, Facts], role: str, shown: str) -> list[Row]:
    def read(facts: Facts) -> float | None:
        ratio: float | None = facts["wait_ratio_computing"][role]
        return ratio

    title = f"mixed instance: {shown}'s wait of its runnable time while it computes"
    return [
        row_of(parts, "stella", read, name=f"mixed.{role}-wait", title=title, bound=Bound(most=0.10)),
        row_of(
            parts,
            DEFAULTS,
            read,
            name=f"mixed.{role}-wait-defaults",
            title=f"the same with libvirt's default inner weights: {shown}",
        ),
    ]


def _judge(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    return [
        row_of(
            parts,
            "stella",
            lambda f: float(f["floors_met_ratio"]),
            name="mixed.floors",
            title="instance with floors of 80 % CPU, packets and disk, own sysbench, beside a hog: windows with all floors",
            bound=Bound(least=0.97),
        ),
        row_of(
            parts,
            DEFAULTS,
            lambda f: float(f["floors_met_ratio"]),
            name="mixed.floors-defaults",
            title="the same with libvirt's default inner weights: windows with all floors",
        ),
        row_of(
            parts,
            "stella",
            lambda f: reservation_rise(f["reservation"], f["event_seconds"]),
            name="mixed.reservation",
            title="its reservation's rise when its own sysbench starts",
            bound=Bound(most=0.10),
        ),
        *_waits(parts, "main", "main loop"),
        *_waits(parts, "iothread", "iothread"),
    ]


FAMILY = Family(name=NAME, title="CPU, network and disk floors in one instance", parts=_parts, run=_run, judge=_judge)
