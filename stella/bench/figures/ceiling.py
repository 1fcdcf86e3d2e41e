"""A CPU ceiling of 1.5 cores over four vCPUs, judged by the kernel's account of the vCPU threads.

Four busy vCPUs must use the ceiling, not less and not more. One busy vCPU cannot use more than one core: it must have that core,
as a quota spread evenly over the vCPUs would leave it three eighths.
"""

from collections.abc import Mapping

from stella.bench.figures.row import Bound, Facts, Row, row_of
from stella.bench.figures.session import Family, Part, Session, part_seconds, scenario_file
from stella.bench.figures.threads import Threads, cores

CEILING_CORES = 1.5
TOLERANCE_RATIO = 0.03
_SETTLE_SECONDS = 2.0


def _parts(repeat: int) -> list[Part]:
    seconds = part_seconds(scenario_file("figures/ceiling"))
    return [Part(name=f"stella-{n}", seconds=seconds) for n in range(1, repeat + 1)]


def _run(part: str, session: Session) -> Facts:
    scenario = scenario_file("figures/ceiling")
    threads = Threads()
    run, facts = session.run(scenario, "stella", title=f"ceiling {part}", probes=[threads])
    start, change = run.start_unix_seconds, scenario.events[0].at_seconds
    return {
        **facts,
        "one_busy_cores": cores(threads.samples, "capped", start, start + change, ("vcpu",)),
        "four_busy_cores": cores(
            threads.samples, "capped", start + change + _SETTLE_SECONDS, start + scenario.duration_seconds, ("vcpu",)
        ),
    }


def _judge(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    return [
        row_of(
            parts,
            "stella",
            lambda f: f["one_busy_cores"],
            name="ceiling.one",
            title="ceiling of 1.5 cores on four vCPUs, one busy: it has its whole core",
            bound=Bound(least=1.0 - TOLERANCE_RATIO, most=1.0 + TOLERANCE_RATIO),
            kind="cores",
        ),
        row_of(
            parts,
            "stella",
            lambda f: f["four_busy_cores"],
            name="ceiling.four",
            title="ceiling of 1.5 cores on four vCPUs, four busy: mean",
            bound=Bound(least=CEILING_CORES * (1 - TOLERANCE_RATIO), most=CEILING_CORES * (1 + TOLERANCE_RATIO)),
            kind="cores",
        ),
    ]


FAMILY = Family(name="ceiling", title="a CPU ceiling over four vCPUs", parts=_parts, run=_run, judge=_judge)
