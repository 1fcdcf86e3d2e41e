"""A CPU ceiling of 1.5 cores over four vCPUs, judged by the kernel's account of the vCPU threads.

Four busy vCPUs must use the ceiling, not less and not more. One busy vCPU cannot use more than one core: it must have that core,
as a quota spread evenly over the vCPUs would leave it three eighths.
"""

from collections.abc import Mapping
from functools import partial
from operator import itemgetter
from typing import Any

from stella.bench.figures.row import Bound, Figures
from stella.bench.figures.session import family, scenario_file
from stella.bench.policies import COMPARED
from stella.bench.results import Run
from stella.bench.scenario import Scenario

CEILING_CORES = 1.5
TOLERANCE_RATIO = 0.03
_SETTLE_SECONDS = 2.0
_FIGURES = Figures()


def _closer(run: Run, scenario: Scenario) -> Mapping[str, Any]:
    used, start = run.recording.instances["capped"].run["vcpu"], run.start_unix_seconds
    change = scenario.events[0].at_seconds
    return {
        "one_busy_cores": used.rate(start, start + change),
        "four_busy_cores": used.rate(start + change + _SETTLE_SECONDS, start + scenario.duration_seconds),
    }


for _key, _title, _middle in (
    ("one", "ceiling of 1.5 cores on four vCPUs, one busy: it has its whole core", 1.0),
    ("four", "ceiling of 1.5 cores on four vCPUs, four busy: mean", CEILING_CORES),
):
    _bound = Bound(least=_middle * (1 - TOLERANCE_RATIO), most=_middle * (1 + TOLERANCE_RATIO))
    _FIGURES.of_each(COMPARED, f"ceiling.{_key}", _title, bound=_bound, kind="cores")(itemgetter(f"{_key}_busy_cores"))

FAMILY = family(
    "ceiling", "a CPU ceiling over four vCPUs", partial(scenario_file, "figures/ceiling"), _FIGURES, closer=_closer
)
