"""The question to `stella.control.admission`, asked of what is in the database. Nothing else knows its signature.

The answer holds for the generation that the host was read with; `stella.admission.changes` swaps on it.
"""

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stella.control.admission import Answer, InstanceShape, admit, fits
from stella.control.capabilities import missing
from stella.control.capacity import Held, HostCapacity
from stella.control.cost import Prior, UnitCost
from stella.control.memory import priced
from stella.control.reservation import reserve
from stella.db.models import Host, Instance
from stella.db.slos import Holding
from stella.model import wire
from stella.model.slo import Metric, Slo

_AMPLE_CPUS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Accepted with a reservation, or refused: then ``field`` and ``message`` say why and ``largest`` what would fit."""

    accepted: bool
    reserved_cpu_cores: float
    reserved_io_ratio: float
    estimated: bool
    field: str
    message: str
    largest: Mapping[str, float]


def unsupported(slo: Slo, host: Host) -> tuple[str, str] | None:
    """The first key of the SLO that the host cannot enforce, and the reason; None when there is none.

    What a host does not report, it is not taken to enforce.
    """
    reported = json.loads(host.reported).get("capabilities", {})
    lacking = missing(slo, {name: "" if found is True else str(found) for name, found in reported.items()})
    return (lacking[0], lacking[2]) if lacking else None


def unfit(slo: Slo, host: Host, silent_before: float) -> str:
    """Why the host takes no SLO such as this, whatever its values; empty where it does.

    Silent are hosts without a report since ``silent_before`` (Unix seconds).
    """
    if host.credential_sha256 is None:
        return "the host is no longer enrolled"
    if host.mode != "enforce":
        return f"the host is in mode {host.mode}"
    if host.capacity_cpu_cores is None or host.reported_at is None:
        return "the host has not reported its capacity yet"
    if host.reported_at < silent_before:
        return "the host is silent"
    missing = unsupported(slo, host)
    return f"{missing[0]}: {missing[1]}" if missing is not None else ""


def may_fit(slo: Slo, *, host: Host, instance: Instance, margin: float) -> bool:
    """Whether ``host`` has as much CPU left as ``slo`` needs, and can enforce it: what is cheap to know before `ask`."""
    if host.capacity_cpu_cores is None or unsupported(slo, host) is not None:
        return False
    costs, margin = priced_costs(instance, slo), host.reservation_margin_ratio or margin
    return reserve(slo, costs, vcpus=shape_of_text(instance.shape).vcpus, margin=margin).cores <= host.free_cpu_cores


def ask(
    slo: Slo,
    *,
    host: Host,
    instance: Instance,
    holdings: Sequence[Holding],
    margin: float,
    with_room: bool = False,
) -> Verdict:
    """Whether ``slo`` fits on ``host``, which has reported, beside the SLOs that it holds (that of the instance itself left out).

    ``margin`` is for hosts that report none. ``with_room``: an acceptance tells the largest floors, too.
    """
    verdict, _ = ask_shape(
        slo,
        learned_costs(instance),
        shape=shape_of_text(instance.shape),
        host=host,
        holdings=holdings,
        instance_id=instance.id,
        margin=margin,
        with_room=with_room,
    )
    return verdict


def ask_shape(
    slo: Slo,
    costs: Mapping[Metric, UnitCost],
    *,
    shape: InstanceShape,
    host: Host,
    holdings: Sequence[Holding],
    instance_id: int | None,
    margin: float,
    with_largest: bool = True,
    with_room: bool = False,
) -> tuple[Verdict, float]:
    """`ask` for an instance of ``shape``, and what the host may guarantee in all.

    ``instance_id`` is None where the instance does not exist yet. ``costs`` may be those of another size, or none.
    """
    costs, margin = priced(costs, Prior(), slo), host.reservation_margin_ratio or margin
    capacity = _capacity(host, [one for one in holdings if one.instance_id != instance_id])
    answer = admit(
        slo,
        costs,
        shape=shape,
        margin=margin,
        capacity=capacity,
        held_before_cores=sum(one.reserved_cpu_cores for one in holdings if one.instance_id == instance_id),
        with_largest=with_largest,
        with_room=with_room,
    )
    return _verdict(slo, costs, shape, margin, answer), capacity.sellable_cores


def estimate(slo: Slo, *, vcpus: int, margin: float) -> Verdict:
    """What ``slo`` takes for an instance with ``vcpus`` on a host that has room for everything; refused: no host could hold it."""
    costs, shape = priced({}, Prior(), slo), InstanceShape(vcpus=vcpus)
    ample = HostCapacity(capacity_cores=_AMPLE_CPUS, cpus=tuple(range(_AMPLE_CPUS)), one_cpu_cores=1.0, held=())
    return _verdict(slo, costs, shape, margin, admit(slo, costs, shape=shape, margin=margin, capacity=ample))


def _verdict(
    slo: Slo, costs: Mapping[Metric, UnitCost], shape: InstanceShape, margin: float, answer: Answer
) -> Verdict:
    return Verdict(
        accepted=answer.accepted,
        reserved_cpu_cores=answer.reserved_cpu_cores,
        reserved_io_ratio=reserve(slo, costs, vcpus=shape.vcpus, margin=margin).io_ratio,
        estimated=answer.estimated,
        field=answer.field or "objectives",
        message=answer.message,
        largest={metric.value: value for metric, value in answer.largest},
    )


def would_fit(slo: Slo, *, host: Host, instance: Instance, holdings: Sequence[Holding], margin: float) -> bool:
    """Whether `ask` would accept it on another host than its own."""
    return fits(
        slo,
        priced_costs(instance, slo),
        shape=shape_of_text(instance.shape),
        margin=host.reservation_margin_ratio or margin,
        capacity=_capacity(host, holdings),
    )


def short_cores(slo: Slo, *, host: Host, instance: Instance, holdings: Sequence[Holding], margin: float) -> float:
    """How much more CPU in all ``slo`` needs than ``host`` has beside ``holdings``, in cores; 0 or less where it has enough."""
    costs, margin = priced_costs(instance, slo), host.reservation_margin_ratio or margin
    need = reserve(slo, costs, vcpus=shape_of_text(instance.shape).vcpus, margin=margin)
    return need.cores - _capacity(host, holdings).free_cores


def free_cores(host: Host, holdings: Sequence[Holding]) -> float:
    """What ``host`` may still guarantee in all beside ``holdings``, in cores."""
    return _capacity(host, holdings).free_cores


def _capacity(host: Host, holdings: Sequence[Holding]) -> HostCapacity:
    return HostCapacity(
        capacity_cores=host.capacity_cpu_cores or 0.0,
        cpus=tuple(json.loads(host.cpus)),
        one_cpu_cores=host.one_cpu_capacity_cores or 0.0,
        held=tuple(_held(one) for one in holdings),
    )


@functools.lru_cache(maxsize=4096)
def shape_of_text(text: str) -> InstanceShape:
    """What the host told of an instance; keys that this release does not know are ignored. Many instances have the same."""
    return wire.decode(InstanceShape, json.loads(text))


def _held(holding: Holding) -> Held:
    shape = shape_of_text(holding.shape)
    return Held(
        cores=holding.reserved_cpu_cores,
        vcpus=shape.vcpus,
        io_ratio=holding.reserved_io_ratio,
        allowed_cpus=shape.allowed_cpus,
    )


def priced_costs(instance: Instance, slo: Slo) -> Mapping[Metric, UnitCost]:
    """What a unit of each floor of ``slo`` costs, as learned of the instance, else as the general prior has it."""
    return priced(learned_costs(instance), Prior(), slo)


def learned_costs(instance: Instance) -> dict[Metric, UnitCost]:
    """What the host learned of the instance; what cannot be read is left out, and then comes from the general prior."""
    found: dict[Metric, UnitCost] = {}
    for name, reported in json.loads(instance.costs).items():
        with contextlib.suppress(wire.InvalidWire):
            cost = wire.decode(UnitCost, {**reported, "metric": name})
            found[cost.metric] = cost
    return found
