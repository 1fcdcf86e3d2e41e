"""The demonstration through stella-api: what it answers as attainment against what was measured outside, over the same minutes."""

from collections.abc import Mapping
from dataclasses import replace

from stella.bench.figures.row import Bound, Facts, Row, row_of
from stella.bench.figures.session import Family, Part, Session, part_seconds, scenario_file
from stella.bench.policies.tenant import MINUTE_SECONDS
from stella.bench.policies.through_api import ApiPolicy
from stella.bench.scenario import Scenario

SECONDS = 120
MOST_REPEATS = 2
"""All figures together take at most an hour and a half; each repeat compares 360 seconds."""
_SERVICES_SECONDS = 25.0  # starting API and engine, and a client for each SLO


def _scenario() -> Scenario:
    return replace(scenario_file("demonstration"), duration_seconds=SECONDS)


def _parts(repeat: int) -> list[Part]:
    seconds = part_seconds(_scenario()) + _SERVICES_SECONDS + MINUTE_SECONDS / 2  # of waiting for the minute
    return [Part(name=f"api-{n}", seconds=seconds) for n in range(1, min(repeat, MOST_REPEATS) + 1)]


def _run(part: str, session: Session) -> Facts:
    _, facts = session.run(_scenario(), ApiPolicy.name, title=f"attainment {part}", make=ApiPolicy, on_the_minute=True)
    return facts


def largest_difference(facts: Facts) -> float | None:
    """The largest difference of the two ratios over the objectives; None where one is missing. Pure."""
    result = facts["result"]
    differences = [row["difference_ratio"] for row in result.get("api", ())]
    if None in differences or len(differences) < len(result["objectives"]):
        return None
    return max((abs(value) for value in differences), default=None)


def unknown_seconds(facts: Facts) -> float:
    """Seconds that the API has as unknown, over all objectives. Pure."""
    return float(sum(row["seconds"]["unknown"] for row in facts["result"].get("api", ())))


def _judge(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    return [
        row_of(
            parts,
            "api",
            largest_difference,
            name="attainment.difference",
            title=f"demonstration through stella-api, {SECONDS} s: its attainment against the outside, where it differs most",
            bound=Bound(most=0.01),
        ),
        row_of(
            parts,
            "api",
            unknown_seconds,
            name="attainment.unknown",
            title="seconds of the demonstration that the API has as unknown",
            kind="count",
        ),
        row_of(
            parts,
            "api",
            lambda f: float(f["result"]["all_met_95_ratio"]),
            name="attainment.all",
            title="demonstration through stella-api: windows with all three >= 95 % of their floor",
        ),
        row_of(
            parts,
            "api",
            lambda f: f["result"].get("control_plane_cpu_cores"),
            name="attainment.control-plane",
            title="CPU of stella-api and stella-engine beside one host",
            kind="cores",
        ),
    ]


FAMILY = Family(
    name="attainment", title="the API's attainment against the outside", parts=_parts, run=_run, judge=_judge
)
