"""What an objective got, and what was asked for, between two moments: read from a `Recording`, never from the agent.

Everything here is in the metric's base unit and Unix seconds of the host's clock.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stella.bench.recording import Asked, InstanceRecording, Series
from stella.bench.scenario import Load, Scenario
from stella.model.attainment import TOLERANCE_RATIO
from stella.model.slo import Direction, Metric, Objective

CEILING_TOLERANCE_RATIO = 1.05
_WAYS = {"network": ("tx", "rx"), "block": ("read", "write")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One objective in force: ``kind`` is ``floor``, ``ceiling`` or ``target``, ``value`` its number."""

    instance: str
    objective: Objective
    kind: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One objective between two moments, as seen from outside.

    ``value`` is what counts there (a floor scaled to the requests seen); ``usage`` what the instance got; ``demand`` whether the
    objective could be claimed: the generator asked for at least the floor (or for more than the ceiling) all the time.
    """

    value: float
    usage: float
    demand: bool
    met_95: bool
    met_100: bool


def objectives_in_force(scenario: Scenario, instance: str, seconds: float) -> tuple[Judged, ...]:
    """The objectives of an instance in force ``seconds`` after the start. A bare weight guarantees nothing that can be judged."""
    slo = scenario.slo_at(instance, seconds)
    found = []
    for objective in slo.objectives if slo else ():
        for kind in ("floor", "ceiling", "target"):
            value = getattr(objective, kind)
            if value is not None:
                found.append(Judged(instance=instance, objective=objective, kind=kind, value=value))
    return tuple(found)


def signals(metric: Metric, direction: Direction) -> tuple[str, ...]:
    """The recorded signals that make up a metric."""
    if metric is Metric.CPU:
        return ("cpu",)
    ways = _WAYS[metric.resource] if direction is Direction.BOTH else (direction.value,)
    return tuple(f"{metric.value}.{way}" for way in ways)


def amount(series: Mapping[str, Series], names: Iterable[str], start: float, end: float) -> float:
    """The plain count of signals between two moments (core-seconds, packets, bytes, operations); 0 for those not recorded."""
    return sum(series[name].at(end) - series[name].at(start) for name in names if name in series)


def mean_unit_bytes(
    series: Mapping[str, Series], metric: Metric, direction: Direction, start: float, end: float
) -> float | None:
    """Mean size of the packets or requests between two moments; None when there were none or they were not counted."""
    units, data = {
        "network": (Metric.NETWORK_PACKETS, Metric.NETWORK_BYTES),
        "block": (Metric.BLOCK_OPERATIONS, Metric.BLOCK_BYTES),
    }.get(metric.resource, (None, None))
    if units is None or data is None:
        return None
    count = amount(series, signals(units, direction), start, end)
    size = amount(series, signals(data, direction), start, end)
    return size / count if count > 0 and size > 0 else None


def usage(series: Mapping[str, Series], objective: Objective, start: float, end: float) -> float:
    """What the instance got, as a rate; for latency the mean in seconds, infinite when nothing was completed.

    Operations are normalised as QEMU's ``iops-size`` does: one of n bytes counts max(1, n / unit).
    """
    metric, direction = objective.metric, objective.direction
    if metric is Metric.BLOCK_LATENCY:
        ways = tuple(name.removeprefix("block_latency.") for name in signals(metric, direction))
        done = amount(series, [f"block_operations.{way}" for way in ways], start, end)
        spent = amount(series, [f"block_seconds.{way}" for way in ways], start, end)
        return spent / done if done > 0 else math.inf
    rate = amount(series, signals(metric, direction), start, end) / (end - start)
    if metric is Metric.BLOCK_OPERATIONS and objective.unit_bytes:
        size = mean_unit_bytes(series, metric, direction, start, end)
        rate *= max(1.0, (size or 0.0) / objective.unit_bytes)
    return rate


def _moments(asked: list[Asked], start: float, end: float) -> Iterator[float]:
    yield start
    yield from (a.start for a in asked if start < a.start < end)


def _asked_at(asked: list[Asked], moment: float) -> dict[str, float]:
    now: dict[str, float] = {}
    for entry in sorted(asked, key=lambda a: a.start):
        if entry.start <= moment:
            now[entry.signal] = entry.rate
    return now


def _asked_in_metric(now: dict[str, float], objective: Objective, loads: tuple[Load, ...], vcpus: int) -> float:
    """What the generators ask for in the objective's metric: as recorded, else by the packets and blocks that the scenario has."""
    metric, direction = objective.metric, objective.direction
    if metric is Metric.CPU:
        threads = sum(load.threads for load in loads if load.kind == "cpu")
        return min(now["cpu"] if "cpu" in now else min(now.get("cpu_events", 0.0), threads), float(vcpus))
    if metric.resource == "network":
        size = next((float(load.packet_bytes) for load in loads if load.kind == "udp"), 0.0)
        data, units = Metric.NETWORK_BYTES, Metric.NETWORK_PACKETS
    else:
        size = next((float(load.block_bytes) for load in loads if load.kind == "disk"), 0.0)
        data, units = Metric.BLOCK_BYTES, Metric.BLOCK_OPERATIONS
    bytes_rate = _asked_sum(now, signals(data, direction))
    units_rate = _asked_sum(now, signals(units, direction))
    if bytes_rate is not None and units_rate and bytes_rate < math.inf:
        size = bytes_rate / units_rate
    if bytes_rate is None:
        bytes_rate = 0.0 if not units_rate else units_rate * size
    if units_rate is None:
        units_rate = bytes_rate / size if size else bytes_rate
    if metric is data or metric is Metric.BLOCK_LATENCY:
        return bytes_rate
    return (
        units_rate * max(1.0, size / objective.unit_bytes)
        if metric is Metric.BLOCK_OPERATIONS and objective.unit_bytes
        else units_rate
    )


def _asked_sum(now: dict[str, float], names: tuple[str, ...]) -> float | None:
    found = [now[name] for name in names if name in now]
    return sum(found) if found else None


def least_asked(
    record: InstanceRecording, objective: Objective, loads: tuple[Load, ...], vcpus: int, *, start: float, end: float
) -> float:
    """The least that the load generators asked for at any moment between two: infinite when unbounded, 0 when stopped."""
    return min(
        _asked_in_metric(_asked_at(record.asked, moment), objective, loads, vcpus)
        for moment in _moments(record.asked, start, end)
    )


def look(
    series: Mapping[str, Series],
    record: InstanceRecording,
    judged: Judged,
    *,
    loads: tuple[Load, ...],
    vcpus: int,
    start: float,
    end: float,
) -> Window:
    """One objective between two moments. ``series``: the recorded windows or the finer bins of the instance."""
    objective = judged.objective
    got = usage(series, objective, start, end)
    asked = least_asked(record, objective, loads, vcpus, start=start, end=end)
    if judged.kind == "target":
        met = (got <= judged.value / TOLERANCE_RATIO, got <= judged.value)
        return Window(value=judged.value, usage=got, demand=asked > 0, met_95=met[0], met_100=met[1])
    if judged.kind == "ceiling":
        met = (got <= judged.value * CEILING_TOLERANCE_RATIO, got <= judged.value)
        return Window(value=judged.value, usage=got, demand=asked > judged.value, met_95=met[0], met_100=met[1])
    size = mean_unit_bytes(series, objective.metric, objective.direction, start, end)
    floor = objective.effective_floor(size) or judged.value
    return Window(
        value=floor, usage=got, demand=asked >= floor, met_95=got >= floor * TOLERANCE_RATIO, met_100=got >= floor
    )
