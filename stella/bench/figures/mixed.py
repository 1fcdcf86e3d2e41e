"""An instance with floors for CPU, packets and disk at once that computes for itself as well, beside a hog."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from stella.bench.figures.host import Reservation
from stella.bench.figures.row import AGENT, Bound, Facts, Row, row_of, rows_of_all
from stella.bench.figures.session import (
    Family,
    Part,
    Session,
    floors_met,
    in_turn,
    round_seconds,
    rounds,
    scenario_file,
)
from stella.bench.policies import COMPARED
from stella.bench.results import Run

NAME = "mixed"
_SETTLE_SECONDS = 3.0


def _parts(repeat: int) -> list[Part]:
    return rounds(1, round_seconds(scenario_file("figures/mixed")))


def wait_ratio(run: Run, instance: str, role: str, first: float, last: float) -> float | None:
    """The part of its runnable time that threads of a role waited, between two moments; None when they were never runnable. Pure."""
    record = run.recording.instances[instance]
    if role not in record.run:
        return None
    ran, waited = record.run[role].rate(first, last), record.wait[role].rate(first, last)
    return waited / (ran + waited) if ran + waited > 0 else None


def _run(part: str, session: Session) -> Facts:
    scenario = scenario_file("figures/mixed")
    event = scenario.events[0].at_seconds

    def closer(run: Run) -> Mapping[str, Any]:
        first, last = run.start_unix_seconds + event, run.start_unix_seconds + scenario.duration_seconds
        met = floors_met(run)
        waits = {role: wait_ratio(run, "mixed", role, first, last) for role in ("main", "iothread", "vcpu")}
        return {"floors_met_ratio": sum(met) / len(met), "event_seconds": event, "wait_ratio_computing": waits}

    return session.round(
        scenario,
        in_turn(COMPARED, part),
        title=f"mixed {part}",
        probes=lambda policy: (Reservation("mixed"),) if policy == "stella" else (),
        closer=closer,
    )


def reservation_rise(samples: Sequence[Sequence[float]], event_seconds: float) -> float | None:
    """How much the reservation rose when the instance's own computing began: mean after it had settled, against before. Pure."""
    before = [cores for t, cores in samples if t < event_seconds]
    after = [cores for t, cores in samples if t >= event_seconds + _SETTLE_SECONDS]
    if not before or not after or statistics.fmean(before) <= 0:
        return None
    return statistics.fmean(after) / statistics.fmean(before) - 1.0


def _judge(parts: Mapping[str, Facts]) -> list[Row]:
    rows = rows_of_all(
        parts,
        COMPARED,
        lambda f: float(f["floors_met_ratio"]),
        name="mixed.floors",
        title="floors of 80 % CPU, packets and disk in one instance with its own sysbench, windows with all",
        bounds={"stella": (Bound(least=0.85), Bound(least=0.97))},
    )
    rows.append(
        row_of(
            parts,
            "stella",
            lambda f: reservation_rise(f["reservation"], f["event_seconds"]),
            name="mixed.reservation",
            title="its reservation's rise when its own sysbench starts",
            aim=Bound(most=0.10),
            source=AGENT,
        )
    )
    for role, shown in (("main", "main loop"), ("iothread", "iothread")):

        def read(facts: Facts, role: str = role) -> float | None:
            ratio: float | None = facts["wait_ratio_computing"][role]
            return ratio

        title = f"time that its {shown} waited for a CPU, of the time it could have run, while it computes"
        bounds = {"stella": (Bound(), Bound(most=0.10))}
        rows += rows_of_all(parts, COMPARED, read, name=f"mixed.{role}-wait", title=title, bounds=bounds)
    return rows


FAMILY = Family(name=NAME, title="CPU, network and disk floors in one instance", parts=_parts, run=_run, judge=_judge)
