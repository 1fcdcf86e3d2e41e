"""Service level objectives: what an instance is promised."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from stella.model import units


class Metric(enum.StrEnum):
    """What an objective speaks of."""

    CPU = "cpu"
    NETWORK_PACKETS = "network_packets"
    NETWORK_BYTES = "network_bytes"
    BLOCK_BYTES = "block_bytes"
    BLOCK_OPERATIONS = "block_operations"
    BLOCK_LATENCY = "block_latency"

    @property
    def unit(self) -> str:
        """The base unit, as `stella.model.units` names it."""
        return _UNITS[self]

    @property
    def resource(self) -> str:
        """``cpu``, ``network`` or ``block``."""
        return _RESOURCES[self]


_UNITS = {
    Metric.CPU: "cores",
    Metric.NETWORK_PACKETS: "packets/s",
    Metric.NETWORK_BYTES: "bytes/s",
    Metric.BLOCK_BYTES: "bytes/s",
    Metric.BLOCK_OPERATIONS: "operations/s",
    Metric.BLOCK_LATENCY: "seconds",
}


_RESOURCES = {metric: metric.value.split("_", maxsplit=1)[0] for metric in Metric}


class Direction(enum.StrEnum):
    """The way of the data, seen from the guest."""

    TX = "tx"
    RX = "rx"
    READ = "read"
    WRITE = "write"
    BOTH = "both"


_DIRECTIONS = {
    "cpu": (Direction.BOTH,),
    "network": (Direction.TX, Direction.RX, Direction.BOTH),
    "block": (Direction.READ, Direction.WRITE, Direction.BOTH),
}
_SMALLEST_UNITS = {
    Metric.NETWORK_PACKETS: 64.0,
    Metric.NETWORK_BYTES: 64.0,
    Metric.BLOCK_BYTES: 64.0 * 1024,
    Metric.BLOCK_OPERATIONS: 16.0 * 1024,
}
LARGEST_WEIGHT = 10_000.0
LARGEST_PRIORITY = 100


class InvalidSlo(ValueError):
    """An SLO cannot be: ``field`` names the offending key, the message is one line for a person."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One number of an SLO. All quantities are in the metric's base unit.

    ``floor`` is guaranteed when asked for, ``ceiling`` never exceeded, ``weight`` (above 0, default 1) shares what is left,
    ``target`` is for latency alone. ``unit_bytes`` is the smallest packet or request that the floor promises
    (for `Metric.BLOCK_OPERATIONS` the request size that counts as one operation). Of two floors that do not both fit,
    the higher ``priority`` (0 to 100) is kept.
    """

    metric: Metric
    direction: Direction = Direction.BOTH
    floor: float | None = None
    ceiling: float | None = None
    weight: float | None = None
    target: float | None = None
    priority: int = 0
    unit_bytes: float = 0.0

    def effective_floor(self, mean_unit_bytes: float | None) -> float | None:
        """The floor, scaled down where packets or requests are smaller than the unit it promises.

        ``mean_unit_bytes``: mean size in bytes of the packets or requests seen; None when there were none.
        Operations are normalised where they are counted and so are not scaled here; neither are packets, which have no size
        below the smallest frame.
        """
        if (
            self.floor is None
            or mean_unit_bytes is None
            or self.metric not in (Metric.NETWORK_BYTES, Metric.BLOCK_BYTES)
        ):
            return self.floor
        return self.floor * min(1.0, mean_unit_bytes / self.unit_bytes) if self.unit_bytes else self.floor


@dataclass(frozen=True, slots=True)
class Slo:
    """All objectives of one instance, at most one for a metric, in the order of `Metric`."""

    objectives: tuple[Objective, ...]

    def objective(self, metric: Metric) -> Objective | None:
        """The objective for ``metric``, if there is one."""
        return next((o for o in self.objectives if o.metric is metric), None)

    def floor(self, metric: Metric) -> float:
        """The floor for ``metric`` in its base unit; 0 where none is promised."""
        objective = self.objective(metric)
        return (objective.floor or 0.0) if objective else 0.0


_KEYS = {"direction", "floor", "ceiling", "weight", "target", "priority", "unit"}


def _quantity(field: str, value: object, unit: str) -> float:
    if not isinstance(value, str | int | float):
        raise InvalidSlo(field, f"must be a quantity in {unit}, such as {units.EXAMPLES[unit]}")
    try:
        return units.parse(value, unit)
    except units.InvalidQuantity as error:
        raise InvalidSlo(field, str(error)) from None


def _number(field: str, value: object, largest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise InvalidSlo(field, f"must be a number from 0 to {largest:g}")
    return float(value)


def parse_objective(metric_name: str, keys: object) -> Objective:
    """Read one objective from the mapping that stands under ``metric_name`` in a file or a request.

    Raises `InvalidSlo` that names the field.
    """
    try:
        metric = Metric(metric_name)
    except ValueError:
        raise InvalidSlo(metric_name, f"no such metric (there are: {', '.join(Metric)})") from None
    if not isinstance(keys, Mapping):
        raise InvalidSlo(metric_name, "must be a mapping with floor, ceiling, weight or target")
    unknown = sorted(str(key) for key in keys if key not in _KEYS)
    if unknown:
        raise InvalidSlo(f"{metric_name}.{unknown[0]}", "unknown key")
    given = {key: value for key, value in keys.items() if value is not None}

    def quantity(key: str, unit: str) -> float | None:
        return _quantity(f"{metric_name}.{key}", given[key], unit) if key in given else None

    latency = metric is Metric.BLOCK_LATENCY
    for key in ("floor", "ceiling", "weight") if latency else ("target",):
        if key in given:
            raise InvalidSlo(
                f"{metric_name}.{key}",
                "latency takes a target only" if latency else "only latency takes a target",
            )
    if not given.keys() & {"floor", "ceiling", "weight", "target"}:
        raise InvalidSlo(metric_name, "needs a target" if latency else "needs a floor, a ceiling or a weight")
    direction_text = str(given.get("direction", "both"))
    allowed = _DIRECTIONS[metric.resource]
    if direction_text not in allowed:
        raise InvalidSlo(f"{metric_name}.direction", f"must be one of {', '.join(allowed)}")
    weight = _number(f"{metric_name}.weight", given["weight"], LARGEST_WEIGHT) if "weight" in given else None
    if weight == 0:
        raise InvalidSlo(f"{metric_name}.weight", "must be greater than zero")
    floor, ceiling = quantity("floor", metric.unit), quantity("ceiling", metric.unit)
    if floor is not None and ceiling is not None and floor > ceiling:
        raise InvalidSlo(f"{metric_name}.floor", "is above the ceiling")
    if "unit" in given and metric not in _SMALLEST_UNITS:
        raise InvalidSlo(f"{metric_name}.unit", "this metric has no smallest unit")
    return Objective(
        metric=metric,
        direction=Direction(direction_text),
        floor=floor,
        ceiling=ceiling,
        weight=weight,
        target=quantity("target", metric.unit),
        priority=int(_number(f"{metric_name}.priority", given.get("priority", 0), LARGEST_PRIORITY)),
        unit_bytes=quantity("unit", "bytes") or _SMALLEST_UNITS.get(metric, 0.0),
    )


def parse_slo(keys: object) -> Slo:
    """Read an SLO from a mapping of metric names to objectives. Raises `InvalidSlo` that names the field."""
    if not isinstance(keys, Mapping) or not keys:
        raise InvalidSlo("slo", "must be a mapping of metrics to objectives")
    found = [parse_objective(str(name), value) for name, value in keys.items()]
    return Slo(tuple(sorted(found, key=lambda o: list(Metric).index(o.metric))))


def show_objective(objective: Objective) -> dict[str, object]:
    """The mapping that `parse_objective` reads, in base units, without defaults."""
    shown: dict[str, object] = {}
    for key in ("floor", "ceiling", "weight", "target"):
        value = getattr(objective, key)
        if value is not None:
            shown[key] = value
    if objective.direction is not Direction.BOTH:
        shown["direction"] = objective.direction.value
    if objective.priority:
        shown["priority"] = objective.priority
    if objective.unit_bytes != _SMALLEST_UNITS.get(objective.metric, 0.0):
        shown["unit"] = objective.unit_bytes
    return shown


def show_slo(slo: Slo) -> dict[str, dict[str, object]]:
    """The mapping that `parse_slo` reads."""
    return {o.metric.value: show_objective(o) for o in slo.objectives}
