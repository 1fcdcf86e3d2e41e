"""The demonstration through stella-api: what it answers as attainment against what was measured outside, over the same minutes."""

from functools import partial

from stella.bench.figures.row import AGENT, Bound, Facts, Figures, windows_met
from stella.bench.figures.session import family, scenario_file
from stella.bench.policies.tenant import MINUTE_SECONDS
from stella.bench.policies.through_api import ApiPolicy

SECONDS = 60
_SERVICES_SECONDS = 25.0  # starting API and engine, and a client for each SLO
POLICY = ApiPolicy.name
_FIGURES = Figures(POLICY)


@_FIGURES.of(
    "attainment.difference",
    f"demonstration through stella-api, {SECONDS} s: its attainment against the outside, where it differs most",
    Bound(most=0.01),
)
def largest_difference(facts: Facts) -> float | None:
    """The largest difference of the two ratios over the objectives; None where one is missing. Pure."""
    result = facts["result"]
    differences = [row["difference_ratio"] for row in result.get("api", ())]
    if None in differences or len(differences) < len(result["objectives"]):
        return None
    return max((abs(value) for value in differences), default=None)


@_FIGURES.of(
    "attainment.unknown", "seconds of the demonstration that the API has as unknown", kind="count", source=AGENT
)
def unknown_seconds(facts: Facts) -> float:
    """Seconds that the API has as unknown, over all objectives. Pure."""
    return float(sum(row["seconds"]["unknown"] for row in facts["result"].get("api", ())))


_FIGURES.of("attainment.all", "demonstration through stella-api: windows with all three >= 95 % of their floor")(
    windows_met
)


@_FIGURES.of("attainment.control-plane", "CPU of stella-api and stella-engine beside one host", kind="cores")
def _control_plane_cores(facts: Facts) -> float | None:
    cores: float | None = facts["result"].get("control_plane_cpu_cores")
    return cores


FAMILY = family(
    "attainment",
    "the API's attainment against the outside",
    partial(scenario_file, "demonstration", duration_seconds=SECONDS),
    _FIGURES,
    policies=[POLICY],
    extra_seconds=_SERVICES_SECONDS + MINUTE_SECONDS / 2,  # of waiting for the minute
    with_solo=False,
    on_the_minute=True,
    make=lambda name, directory: ApiPolicy(directory),
)
