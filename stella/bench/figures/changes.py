"""What changes cost: a hog arrives, an SLO is set late, an instance with a promise stops its load and starts it again."""

from collections.abc import Mapping

from stella.bench.figures.row import Bound, Facts, Row, row_of
from stella.bench.figures.session import Family, Part, Session, part_seconds, scenario_file


def _events(facts: Facts, suffix: str, key: str) -> list[float | None]:
    return [event.get(key) for event in facts["result"]["events"] if event["what"].endswith(suffix)]


def windows_lost(facts: Facts) -> list[float | None]:
    """Windows lost until all floors held again, for each start of the hog. Pure."""
    return _events(facts, "hog start", "windows_lost")


def slo_seconds(facts: Facts) -> list[float | None]:
    """Seconds until a late SLO held; None: not until the next event or the end. Pure."""
    return _events(facts, " slo", "recovered_seconds")


def lent_seconds(facts: Facts) -> list[float | None]:
    """Seconds until the others used what a stopped instance left, for each stop. Pure."""
    return _events(facts, " stop", "others_used_seconds")


def back_seconds(facts: Facts) -> list[float | None]:
    """Seconds until all floors held again after a promised load started, for each start but the hog's. Pure."""
    return [
        event["recovered_seconds"]
        for event in facts["result"]["events"]
        if event["what"].endswith(" start") and not event["what"].startswith("hog")
    ]


def _run_changes(part: str, session: Session) -> Facts:
    return session.run(scenario_file("figures/changes"), "stella", title=f"changes {part}")[1]


def _run_late(part: str, session: Session) -> Facts:
    return session.run(scenario_file("figures/late-slo"), "stella", title=f"late-slo {part}")[1]


def _parts_changes(repeat: int) -> list[Part]:
    seconds = part_seconds(scenario_file("figures/changes"))
    return [Part(name=f"stella-{n}", seconds=seconds) for n in range(1, repeat + 1)]


def _parts_late(repeat: int) -> list[Part]:
    seconds = part_seconds(scenario_file("figures/late-slo"))
    return [Part(name=f"stella-{n}", seconds=seconds) for n in range(1, repeat + 1)]


def _judge_changes(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    return [
        row_of(
            parts,
            "stella",
            windows_lost,
            name="hog.windows-lost",
            title="a hog of four vCPUs starts: windows lost until all floors hold again",
            bound=Bound(most=1),
            kind="count",
        ),
        row_of(
            parts,
            "stella",
            lent_seconds,
            name="stop.lent",
            title="an SLO instance stops its load: until others use its share",
            bound=Bound(most=1.0),
            kind="seconds",
        ),
        row_of(
            parts,
            "stella",
            back_seconds,
            name="start.back",
            title="an SLO instance starts its load again: until all floors hold",
            bound=Bound(most=1.5),
            kind="seconds",
        ),
    ]


def _judge_late(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    return [
        row_of(
            parts,
            "stella",
            slo_seconds,
            name="late-slo.holds",
            title="an SLO set on a running, starved instance: until all floors hold",
            bound=Bound(most=2.0),
            kind="seconds",
        )
    ]


CHANGES = Family(
    name="changes",
    title="a hog arrives; SLO instances stop and start",
    parts=_parts_changes,
    run=_run_changes,
    judge=_judge_changes,
)
LATE = Family(name="late-slo", title="an SLO set late", parts=_parts_late, run=_run_late, judge=_judge_late)
