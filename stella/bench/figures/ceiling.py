"""A CPU ceiling of 1.5 cores over four vCPUs, judged by the kernel's account of the vCPU threads.

Four busy vCPUs must use the ceiling, not less and not more. One busy vCPU cannot use more than one core: it must have that core,
as a quota spread evenly over the vCPUs would leave it three eighths.
"""

from collections.abc import Mapping
from typing import Any

from stella.bench.figures.row import Bound, Facts, Row, rows_of_all
from stella.bench.figures.session import Family, Part, Session, in_turn, round_seconds, rounds, scenario_file
from stella.bench.policies import COMPARED
from stella.bench.results import Run

CEILING_CORES = 1.5
TOLERANCE_RATIO = 0.03
_SETTLE_SECONDS = 2.0


def _parts(repeat: int) -> list[Part]:
    return rounds(1, round_seconds(scenario_file("figures/ceiling")))


def _run(part: str, session: Session) -> Facts:
    scenario = scenario_file("figures/ceiling")

    def closer(run: Run) -> Mapping[str, Any]:
        used, start, change = (
            run.recording.instances["capped"].run["vcpu"],
            run.start_unix_seconds,
            scenario.events[0].at_seconds,
        )
        return {
            "one_busy_cores": used.rate(start, start + change),
            "four_busy_cores": used.rate(start + change + _SETTLE_SECONDS, start + scenario.duration_seconds),
        }

    return session.round(scenario, in_turn(COMPARED, part), title=f"ceiling {part}", closer=closer)


def _judge(parts: Mapping[str, Facts]) -> list[Row]:
    rows = []
    for key, title, middle in (
        ("one", "ceiling of 1.5 cores on four vCPUs, one busy: it has its whole core", 1.0),
        ("four", "ceiling of 1.5 cores on four vCPUs, four busy: mean", CEILING_CORES),
    ):
        bound = Bound(least=middle * (1 - TOLERANCE_RATIO), most=middle * (1 + TOLERANCE_RATIO))

        def read(facts: Facts, key: str = key) -> float:
            return float(facts[f"{key}_busy_cores"])

        bounds = {"stella": (bound, Bound())}
        rows += rows_of_all(parts, COMPARED, read, name=f"ceiling.{key}", title=title, bounds=bounds, kind="cores")
    return rows


FAMILY = Family(name="ceiling", title="a CPU ceiling over four vCPUs", parts=_parts, run=_run, judge=_judge)
