"""Floors against limits: nothing that a limit allows is refused, and what is refused can by no use of the devices be had."""

from hypothesis import given
from hypothesis import strategies as st

from stella.model.limits import Limit, Source, contradictions, from_text, of_flavor, of_port, of_volume, reach, to_text
from stella.model.slo import Direction, Metric, Objective, Slo

_WAYS = (Direction.READ, Direction.WRITE)
_AMOUNTS = st.integers(1, 10**9).map(float)
_DEVICES = ("a", "b", "c")


@st.composite
def _limits(draw: st.DrawFn) -> list[Limit]:
    devices = draw(st.integers(1, 3))
    return [
        Limit(
            source=Source.CINDER,
            name=f"limit {number}",
            metric=Metric.BLOCK_BYTES,
            direction=draw(st.sampled_from([*_WAYS, Direction.BOTH])),
            value=draw(_AMOUNTS),
            device=draw(st.sampled_from(_DEVICES[:devices])),
            devices=devices,
        )
        for number in range(draw(st.integers(1, 6)))
    ]


def _slo(floor: float, direction: Direction) -> Slo:
    return Slo((Objective(metric=Metric.BLOCK_BYTES, direction=direction, floor=floor),))


@given(limits=_limits(), floor=_AMOUNTS, direction=st.sampled_from([*_WAYS, Direction.BOTH]), data=st.data())
def test_what_is_refused_cannot_be_had(
    limits: list[Limit], floor: float, direction: Direction, data: st.DataObject
) -> None:
    """Any traffic within all limits stays below a floor that is not reachable."""
    found = contradictions(_slo(floor, direction), limits)
    if all(one.is_reachable for one in found):
        return
    used = 0.0
    for device in _DEVICES[: limits[0].devices]:
        own = [one for one in limits if one.device == device]
        ways = _WAYS if direction is Direction.BOTH else (direction,)
        left = min((one.value for one in own if one.direction is Direction.BOTH), default=1e12)
        for way in ways:
            most = min([left, *(one.value for one in own if one.direction is way)])
            sent = data.draw(st.sampled_from([0.0, most / 2, most]))
            used, left = used + sent, left - sent
    assert used <= floor


@given(limits=_limits(), floor=_AMOUNTS, direction=st.sampled_from([*_WAYS, Direction.BOTH]))
def test_a_floor_below_every_limit_contradicts_none(limits: list[Limit], floor: float, direction: Direction) -> None:
    smallest = min(one.value for one in limits)
    assert contradictions(_slo(min(floor, smallest), direction), limits) == []
    found = contradictions(_slo(floor, direction), limits)
    assert all(one.limit.value < floor for one in found)
    if found:
        assert found == contradictions(_slo(floor, direction), list(reversed(limits))) or len(
            {one.limit.value for one in found}
        ) < len(found), "the order of the limits does not matter"


@given(limits=_limits(), more=_limits(), direction=st.sampled_from([*_WAYS, Direction.BOTH]))
def test_another_limit_never_leaves_more(limits: list[Limit], more: list[Limit], direction: Direction) -> None:
    objective = Objective(metric=Metric.BLOCK_BYTES, direction=direction, floor=1.0)

    def touching(found: list[Limit]) -> list[Limit]:
        same = [Limit(**{**_fields(one), "devices": 3}) for one in found]
        return [one for one in same if Direction.BOTH in (one.direction, direction) or one.direction is direction]

    one = touching(limits)
    if one:
        assert reach(objective, touching(limits + more)) <= reach(objective, one)


def _fields(limit: Limit) -> dict[str, object]:
    return {name: getattr(limit, name) for name in Limit.__dataclass_fields__}


@given(amount=st.integers(1, 2**31 - 1), vcpus=st.integers(1, 64))
def test_units(amount: int, vcpus: int) -> None:
    """Kilobytes of Nova are 1000 bytes, kilobits of Neutron 125, and each vCPU has the quota for itself."""
    specs = {"quota:vif_inbound_average": str(amount), "quota:cpu_quota": str(amount), "quota:cpu_period": "1000"}
    cpu, vif = of_flavor(specs, vcpus=vcpus)
    assert vif.value == amount * 1000
    assert cpu.value == vcpus * amount / 1000
    (port,) = of_port([{"type": "bandwidth_limit", "max_kbps": amount, "direction": "egress"}], device="p", nics=1)
    assert port.value * 8 == amount * 1000
    (per_gb,) = of_volume({"read_iops_sec_per_gb": str(amount)}, size_gb=vcpus, device="v", disks=1)
    assert per_gb.value == amount * vcpus


@given(limits=_limits())
def test_text_and_back(limits: list[Limit]) -> None:
    text = to_text(limits)
    assert sorted(from_text(text), key=str) == sorted(limits, key=str)
    assert to_text(from_text(text)) == text
