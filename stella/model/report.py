"""What a host reports upwards, as it goes over the wire: minute rows, violations, and the states of intents.

A report is named by (agent, epoch, sequence). Its rows are facts under keys of their own, so that one that comes twice does no
harm: a minute by (uuid, metric, start), a violation by its id, a state by its uuid. Unknown keys are ignored (`stella.model.wire`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stella.model import wire
from stella.model.attainment import Cause
from stella.model.intent import IntentState
from stella.model.slo import Metric
from stella.model.wire import Json

MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCounts:
    """Seconds by what became of an objective. ``pending`` seconds are reported, and counted nowhere."""

    met: int = 0
    violated: int = 0
    degraded: int = 0
    no_demand: int = 0
    self_limited: int = 0
    unknown: int = 0
    pending: int = 0

    @property
    def seconds(self) -> int:
        """All seconds that count."""
        return self.met + self.violated + self.degraded + self.no_demand + self.self_limited + self.unknown

    @property
    def attainment_ratio(self) -> float | None:
        """Met seconds among those with demand; None when there was no demand. Unknown seconds are reported separately, not counted."""
        demand = self.met + self.violated + self.degraded
        return self.met / demand if demand else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean, least and most of the seconds in which a quantity was known, in the metric's base unit."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteRow:
    """One objective in the minute that begins at ``start`` (Unix seconds).

    A later row of the same key with more seconds replaces it. ``span_seconds`` above 60: nothing is known of that stretch but the
    seconds in ``counts.unknown``; such a row stands only for minutes that have no row of their own.
    """

    uuid: str
    metric: Metric
    start: int
    counts: StatusCounts
    causes: Mapping[Cause, int] = field(default_factory=dict)
    usage: Spread | None = None
    demand_mean: float | None = None
    span_seconds: int = MINUTE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ViolationRow:
    """One violation as far as it is known; times are Unix seconds. A later row of the same ``id`` replaces it.

    ``offender`` is an instance's uuid or ``host``; ``evidence`` holds figures by name, each with its unit in the name.
    """

    id: str
    uuid: str
    metric: Metric
    opened_at: int
    closed_at: int | None = None
    cause: Cause | None = None
    offender: str | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """The acknowledgement of one intent: ``revision`` is its source's; ``reason`` is one sentence where it is not enforced.

    ``largest`` is, of a refused one, the largest value that would fit, by metric and in its base unit.
    """

    revision: int
    state: IntentState
    reason: str = ""
    largest: Mapping[Metric, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows not acknowledged yet, oldest first. ``sequence`` is that of its last row: acknowledge it when they were taken."""

    agent: str
    epoch: str
    sequence: int
    minutes: tuple[MinuteRow, ...] = ()
    violations: tuple[ViolationRow, ...] = ()
    states: Mapping[str, StateRow] = field(default_factory=dict)


def encode(batch: Batch) -> Json:
    """The JSON value of a batch."""
    return wire.encode(batch)


def decode(data: object) -> Batch:
    """A batch from its JSON value. Raises `stella.model.wire.InvalidWire` that names the field."""
    return wire.decode(Batch, data)
