"""Loads and SLOs that change: a hog arrives, an SLO comes late, a floor is raised, a load pauses and comes back, a byte costs more."""

from collections.abc import Mapping, Sequence
from typing import Any

from stella.bench.figures.row import Bound, Facts, Row, row_against, row_of, rows_of_all, windows_met
from stella.bench.figures.session import Family, Part, Session, in_turn, round_seconds, rounds, scenario_file
from stella.bench.policies import COMPARED
from stella.bench.results import Run

LATE = "vm4"
_STARVED_SECONDS = 4
_STARVED_RATIO = 0.95


def _parts(repeat: int) -> list[Part]:
    return rounds(1, round_seconds(scenario_file("figures/changes")))


def starved_before(run: Run, scenario_event: tuple[str, float, float]) -> float | None:
    """What an instance got before its late SLO, in parts of the floor: below 1 it was starved. Pure.

    ``scenario_event``: instance, second of the event, and the floor in packets/s.
    """
    instance, second, floor = scenario_event
    sent = run.recording.instances[instance].windows.get("network_packets.tx")
    start = run.start_unix_seconds + second
    return None if sent is None else sent.rate(start - _STARVED_SECONDS, start) / floor


def _run(part: str, session: Session) -> Facts:
    scenario = scenario_file("figures/changes")
    late = next(e for e in scenario.events if e.what == "slo" and e.instance == LATE)
    floor = late.slo.objectives[0].floor if late.slo else None
    what = (LATE, late.at_seconds, floor or 1.0)

    def closer(run: Run) -> Mapping[str, Any]:
        return {"late_before_ratio": starved_before(run, what)}

    return session.round(scenario, in_turn(COMPARED, part), title=f"changes {part}", closer=closer)


def _events(facts: Facts, suffix: str, key: str) -> list[float | None]:
    return [event.get(key) for event in facts["result"]["events"] if event["what"].endswith(suffix)]


def windows_lost(facts: Facts) -> float:
    """Windows lost from the first change on. Pure."""
    return float(sum(event["windows_lost"] for event in facts["result"]["events"]))


def lost_ratio(ours: float, theirs: float) -> float:
    """Windows lost by us in parts of those that another lost, who counts as losing one at least. Pure."""
    return ours / max(1.0, theirs)


def late_seconds(facts: Facts) -> list[float | None] | str:
    """Seconds until a late SLO held; None: not until the next change. A text where the instance was not starved before. Pure."""
    before = facts["late_before_ratio"]
    if before is None or before >= _STARVED_RATIO:
        got = "nothing is known of it" if before is None else f"it got {before:.1f} times its floor"
        return f"the instance was not starved before its SLO was set: {got}"
    return _events(facts, f"{LATE} slo", "recovered_seconds")


def back_seconds(facts: Facts) -> Sequence[float | None]:
    """Seconds until all floors held again after a guaranteed load started. Pure."""
    events = [e for e in facts["result"]["events"] if e["what"].endswith(" start") and not e["what"].startswith("hog")]
    return [event["recovered_seconds"] for event in events]


def _judge(parts: Mapping[str, Facts]) -> list[Row]:
    rows = rows_of_all(
        parts, COMPARED, windows_met, name="changes", title="loads that change, windows with all floors", bounds={}
    )
    rows += rows_of_all(
        parts,
        COMPARED,
        windows_lost,
        name="changes.lost",
        title="loads that change, windows lost",
        bounds={},
        kind="count",
    )
    for other in ("static", "gos"):
        rows.append(
            row_against(
                parts,
                other,
                lambda ours, theirs: lost_ratio(windows_lost(ours), windows_lost(theirs)),
                name=f"changes.against-{other}",
                title=f"loads that change, windows lost by stella in parts of those that {other} lost",
                bound=Bound(most=0.2),
            )
        )
    timed = (
        (
            "hog.windows-lost",
            "a hog arrives: windows lost",
            1.0,
            "count",
            lambda f: _events(f, "hog start", "windows_lost"),
        ),
        (
            "stop.lent",
            "a load pauses: until others use its share",
            1.0,
            "seconds",
            lambda f: _events(f, " stop", "others_used_seconds"),
        ),
        ("start.back", "a load comes back: until all floors hold", 1.5, "seconds", back_seconds),
        (
            "late-slo.holds",
            "an SLO set on a running, starved instance: until all floors hold",
            2.0,
            "seconds",
            late_seconds,
        ),
    )
    for name, title, most, kind, read in timed:
        rows.append(row_of(parts, "stella", read, name=name, title=title, bound=Bound(most=most), kind=kind))
    return rows


FAMILY = Family(name="changes", title="loads and SLOs that change", parts=_parts, run=_run, judge=_judge)
