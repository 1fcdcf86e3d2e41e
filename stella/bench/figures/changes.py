"""Loads and SLOs that change: a hog arrives, an SLO comes late, a floor is raised, a load pauses and comes back, a byte costs more."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from stella.bench.figures.row import Bound, Facts, Figures, windows_met
from stella.bench.figures.session import family, scenario_file
from stella.bench.policies import COMPARED
from stella.bench.results import Run
from stella.bench.scenario import Scenario

LATE = "vm4"
_STARVED_SECONDS = 4
_STARVED_RATIO = 0.95
_FIGURES = Figures()


def starved_before(run: Run, scenario_event: tuple[str, float, float]) -> float | None:
    """What an instance got before its late SLO, in parts of the floor: below 1 it was starved. Pure.

    ``scenario_event``: instance, second of the event, and the floor in packets/s.
    """
    instance, second, floor = scenario_event
    sent = run.recording.instances[instance].windows.get("network_packets.tx")
    start = run.start_unix_seconds + second
    return None if sent is None else sent.rate(start - _STARVED_SECONDS, start) / floor


def _closer(run: Run, scenario: Scenario) -> Mapping[str, Any]:
    late = next(e for e in scenario.events if e.what == "slo" and e.instance == LATE)
    floor = late.slo.objectives[0].floor if late.slo else None
    return {"late_before_ratio": starved_before(run, (LATE, late.at_seconds, floor or 1.0))}


def _events(facts: Facts, suffix: str, key: str) -> list[float | None]:
    return [event.get(key) for event in facts["result"]["events"] if event["what"].endswith(suffix)]


_FIGURES.of_each(COMPARED, "changes", "loads that change, windows with all floors")(windows_met)


@_FIGURES.of_each(COMPARED, "changes.lost", "loads that change, windows lost", kind="count")
def windows_lost(facts: Facts) -> float:
    """Windows lost from the first change on. Pure."""
    return float(sum(event["windows_lost"] for event in facts["result"]["events"]))


def lost_ratio(ours: float, theirs: float) -> float:
    """Windows lost by us in parts of those that another lost, who counts as losing one at least. Pure."""
    return ours / max(1.0, theirs)


for _other in ("static", "gos"):
    _FIGURES.against(
        _other,
        f"changes.against-{_other}",
        f"loads that change, windows lost by stella in parts of those that {_other} lost",
        bound=Bound(most=0.2),
    )(lambda ours, theirs: lost_ratio(windows_lost(ours), windows_lost(theirs)))


@_FIGURES.of("hog.windows-lost", "a hog arrives: windows lost", Bound(most=1.0), kind="count")
def _hog_windows_lost(facts: Facts) -> list[float | None]:
    return _events(facts, "hog start", "windows_lost")


@_FIGURES.of("stop.lent", "a load pauses: until others use its share", Bound(most=1.0), kind="seconds")
def _lent_seconds(facts: Facts) -> list[float | None]:
    return _events(facts, " stop", "others_used_seconds")


@_FIGURES.of("start.back", "a load comes back: until all floors hold", Bound(most=1.5), kind="seconds")
def back_seconds(facts: Facts) -> Sequence[float | None]:
    """Seconds until all floors held again after a guaranteed load started. Pure."""
    events = [e for e in facts["result"]["events"] if e["what"].endswith(" start") and not e["what"].startswith("hog")]
    return [event["recovered_seconds"] for event in events]


@_FIGURES.of(
    "late-slo.holds",
    "an SLO set on a running, starved instance: until all floors hold",
    Bound(most=2.0),
    kind="seconds",
)
def late_seconds(facts: Facts) -> list[float | None] | str:
    """Seconds until a late SLO held; None: not until the next change. A text where the instance was not starved before. Pure."""
    before = facts["late_before_ratio"]
    if before is None or before >= _STARVED_RATIO:
        got = "nothing is known of it" if before is None else f"it got {before:.1f} times its floor"
        return f"the instance was not starved before its SLO was set: {got}"
    return _events(facts, f"{LATE} slo", "recovered_seconds")


FAMILY = family(
    "changes", "loads and SLOs that change", partial(scenario_file, "figures/changes"), _FIGURES, closer=_closer
)
