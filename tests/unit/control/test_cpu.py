"""The division of CPU at its edges."""

import pytest

from stella.control.cpu import CpuClaim, LocalClaim, divide, divide_each, spread_ceiling
from stella.control.memory import Memory, Settings, capacity_for_floors, capacity_of_one_cpu


def local(uuid: str, cpu: int, *, reserved: float = 0.0, weight: float = 1.0) -> LocalClaim:
    return LocalClaim(uuid=uuid, cpu=cpu, reserved_cores=reserved, weight=weight)


def test_a_stage_without_a_part_alone_on_a_cpu_gets_nothing() -> None:
    granted = divide_each(0.9, [local("a", 4), local("a", 7, weight=0.0), local("b", 4)])
    assert granted == {"a": {4: pytest.approx(0.45), 7: 0.0}, "b": {4: pytest.approx(0.45)}}
    assert divide_each(0.9, [local("a", 511, weight=0.0)]) == {"a": {511: 0.0}}
    assert divide_each(0.9, []) == {}


def test_no_capacity_and_no_claims() -> None:
    claim = CpuClaim(uuid="a", reserved_cores=0.5, floor_cores=0.5, needed_cores=0.5, active=True)
    assert divide(0.0, []) == {}
    assert not divide(0.0, [claim])["a"].fits
    weightless = CpuClaim(uuid="a", reserved_cores=0.0, floor_cores=0.0, needed_cores=0.0, active=True, weight=0.0)
    assert divide(1.0, [weightless])["a"].allocation_cores == 0.0
    assert divide_each(0.0, [local("a", 0, reserved=0.2)]) == {"a": {0: 0.2}}
    assert spread_ceiling(0.5, [], []) == ()


def test_a_host_without_cpus_has_no_capacity() -> None:
    assert capacity_for_floors(Memory(), 0, Settings()) == 0.0
    assert 0.0 <= capacity_of_one_cpu(Memory(), 0, Settings()) <= 1.0
    assert capacity_of_one_cpu(Memory(overhead_cores=51.2), 512, Settings()) == pytest.approx(0.9)
