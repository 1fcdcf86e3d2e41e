"""Whether the agent tells the truth when it may change nothing: its word on each window against what was seen outside."""

from collections.abc import Mapping

from stella.bench.figures.row import Bound, Facts, Row, row_of
from stella.bench.figures.session import Family, Part, Session, part_seconds, scenario_file, windows_said
from stella.model.attainment import Status

STARVED = ("starved-net", "starved-disk")


def _parts(repeat: int) -> list[Part]:
    seconds = part_seconds(scenario_file("figures/honesty"))
    return [Part(name=f"observe-{n}", seconds=seconds) for n in range(1, repeat + 1)]


def _run(part: str, session: Session) -> Facts:
    scenario = scenario_file("figures/honesty")
    run, facts = session.run(scenario, "stella-observe", title=f"honesty {part}")
    return {**facts, "windows_said": windows_said(run)}


def starved(facts: Facts) -> int:
    """Windows in which a starved instance asked for its floor and did not get it, as seen outside. Pure."""
    return sum(w["demand"] and not w["met_95"] for w in facts["windows_said"] if w["instance"] in STARVED)


def cause_ratio(facts: Facts) -> float | None:
    """The part of the starved windows (as seen outside) of which the agent says: missed, for want of CPU. Pure."""
    windows = [w for w in facts["windows_said"] if w["instance"] in STARVED and w["demand"] and not w["met_95"]]
    named = sum(w["status"] in (Status.VIOLATED, Status.DEGRADED) and w["cause"] == "cpu" for w in windows)
    return named / len(windows) if windows else None


def self_limited(facts: Facts) -> float | None:
    """Starved windows that the agent calls SELF_LIMITED; None when nothing was starved. Pure."""
    return (
        float(
            sum(
                w["status"] == Status.SELF_LIMITED
                for w in facts["windows_said"]
                if w["instance"] in STARVED and w["demand"] and not w["met_95"]
            )
        )
        if starved(facts)
        else None
    )


def said_missed(facts: Facts, instance: str) -> float | None:
    """Windows of an instance that the agent calls VIOLATED; None when it said nothing of it at all. Pure."""
    words = [w["status"] for w in facts["windows_said"] if w["instance"] == instance and w["status"] is not None]
    return float(sum(word == Status.VIOLATED for word in words)) if words else None


def _judge(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    rows = [
        row_of(
            parts,
            "observe",
            lambda f: f["result"]["agent"]["status_agreement_ratio"],
            name="honesty.agreement",
            title="actuation off: windows in which the agent's status agrees with the outside",
            bound=Bound(least=0.98),
        ),
        row_of(
            parts,
            "observe",
            cause_ratio,
            name="honesty.cause",
            title="actuation off: starved windows for which it names the CPU",
            bound=Bound(least=0.95),
        ),
        row_of(
            parts,
            "observe",
            self_limited,
            name="honesty.starved",
            title="windows in which it calls a starved instance SELF_LIMITED",
            bound=Bound(most=0),
            kind="count",
        ),
    ]
    for instance, what in (("idle", "an idle instance"), ("undersized", "an undersized instance")):

        def read(facts: Facts, instance: str = instance) -> float | None:
            return said_missed(facts, instance)

        rows.append(
            row_of(
                parts,
                "observe",
                read,
                name=f"honesty.{instance}",
                title=f"windows in which it calls {what} VIOLATED",
                bound=Bound(most=0),
                kind="count",
            )
        )
    return rows


FAMILY = Family(name="honesty", title="the agent's word, with actuation off", parts=_parts, run=_run, judge=_judge)
