"""The demonstration through stella-api: what it answers as attainment against what was measured outside, over the same minutes."""

from collections.abc import Mapping

from stella.bench.figures.row import AGENT, Bound, Facts, Row, row_of, windows_met
from stella.bench.figures.session import Family, Part, Session, round_seconds, rounds, scenario_file
from stella.bench.policies.tenant import MINUTE_SECONDS
from stella.bench.policies.through_api import ApiPolicy
from stella.bench.scenario import Scenario

SECONDS = 60
_SERVICES_SECONDS = 25.0  # starting API and engine, and a client for each SLO
POLICY = ApiPolicy.name


def _scenario() -> Scenario:
    return scenario_file("demonstration", duration_seconds=SECONDS)


def _parts(repeat: int) -> list[Part]:
    own = round_seconds(_scenario(), policies=1, with_solo=False)
    return rounds(1, own + _SERVICES_SECONDS + MINUTE_SECONDS / 2)  # of waiting for the minute


def _run(part: str, session: Session) -> Facts:
    return session.round(
        _scenario(),
        [POLICY],
        title=f"attainment {part}",
        with_solo=False,
        on_the_minute=True,
        make=lambda name, directory: ApiPolicy(directory),
    )


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


def _judge(parts: Mapping[str, Facts]) -> list[Row]:
    return [
        row_of(
            parts,
            POLICY,
            largest_difference,
            name="attainment.difference",
            title=f"demonstration through stella-api, {SECONDS} s: its attainment against the outside, where it differs most",
            bound=Bound(most=0.01),
        ),
        row_of(
            parts,
            POLICY,
            unknown_seconds,
            name="attainment.unknown",
            title="seconds of the demonstration that the API has as unknown",
            kind="count",
            source=AGENT,
        ),
        row_of(
            parts,
            POLICY,
            windows_met,
            name="attainment.all",
            title="demonstration through stella-api: windows with all three >= 95 % of their floor",
        ),
        row_of(
            parts,
            POLICY,
            lambda f: f["result"].get("control_plane_cpu_cores"),
            name="attainment.control-plane",
            title="CPU of stella-api and stella-engine beside one host",
            kind="cores",
        ),
    ]


FAMILY = Family(
    name="attainment", title="the API's attainment against the outside", parts=_parts, run=_run, judge=_judge
)
