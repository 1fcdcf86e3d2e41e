"""I/O threads get priority by what runs beside them, and every CPU carries its part of an instance's weight."""

import pytest

from stella.control.inner_weights import (
    IO_WEIGHT_FACTOR,
    LARGEST_VCPU_FACTOR,
    io_has_priority,
    io_weight,
    io_weight_factor,
    vcpu_weight_factors,
)
from stella.control.placement import Stage
from stella.model.snapshot import Role

MAIN: Stage = (Role.EMULATOR, 0)
IOTHREAD: Stage = (Role.IOTHREAD, 1)


def vcpu(index: int) -> Stage:
    return Role.VCPU, index


def test_io_threads_are_eager_only_against_vcpus_that_compute() -> None:
    assert io_weight_factor([], io_priority=False) == 1.0
    assert io_weight_factor([0.9], io_priority=False) == 1.0
    assert io_weight_factor([0.9, 0.1], io_priority=False) == pytest.approx(
        0.5
    )  # an idle vCPU is nobody to compete with
    assert io_weight_factor([0.9, 0.8], io_priority=False) == pytest.approx(0.85)
    assert io_weight_factor([0.9, 0.8], io_priority=True) == pytest.approx(0.85 * IO_WEIGHT_FACTOR)


def test_io_threads_are_eager_only_beside_vcpus_that_never_sleep() -> None:
    assert not io_has_priority([0.9], computes=True)
    assert not io_has_priority([0.9, 0.8], computes=False)
    assert io_has_priority([0.9, 0.8], computes=True)
    assert io_has_priority([1.0, 1.0, 1.0, 0.2], computes=False)


def test_io_threads_weigh_their_part_beside_busy_vcpus() -> None:
    for ratio in (0.1, 0.5, 0.8):
        weight = io_weight(ratio, 1.0, vcpus=8)
        assert weight == 1.0 or weight / (weight + 8) == pytest.approx(ratio)
    assert io_weight(0.0, IO_WEIGHT_FACTOR, vcpus=4) == 1.0


def test_the_load_on_each_cpu_is_as_what_the_instance_is_entitled_to_there() -> None:
    homes = {MAIN: 0, IOTHREAD: 0, vcpu(0): 0, vcpu(1): 0, vcpu(2): 1, vcpu(3): 1}
    busy = {MAIN: 0.4, IOTHREAD: 0.2, vcpu(0): 1.0, vcpu(1): 1.0, vcpu(2): 1.0, vcpu(3): 0.5}
    entitled = {0: 0.8, 1: 0.4}
    weight = 30.0
    factors = vcpu_weight_factors(homes, busy, entitled, weight)
    assert factors.keys() == {2, 3}
    on_io_cpu = 0.6 * weight + 2.0
    elsewhere = 1.0 * factors[2] + 0.5 * factors[3]
    assert elsewhere / on_io_cpu == pytest.approx(0.4 / 0.8)


@pytest.mark.parametrize(
    ("homes", "busy", "weight"),
    [
        ({MAIN: 0, vcpu(0): 0, vcpu(1): 0}, {MAIN: 0.5, vcpu(0): 1.0, vcpu(1): 1.0}, 30.0),  # on one CPU
        (
            {MAIN: 0, vcpu(0): 0, vcpu(1): 1},
            {MAIN: 0.5, vcpu(0): 1.0, vcpu(1): 1.0},
            1.0,
        ),  # its I/O weighs as a vCPU does
        ({MAIN: 0, vcpu(0): 1}, {MAIN: 0.0, vcpu(0): 1.0}, 30.0),  # its I/O is idle
        ({vcpu(0): 0, vcpu(1): 1}, {vcpu(0): 1.0, vcpu(1): 1.0}, 30.0),  # no I/O has a home
    ],
)
def test_nothing_is_done_where_nothing_is_drawn_away(
    homes: dict[Stage, int], busy: dict[Stage, float], weight: float
) -> None:
    assert all(factor == 1.0 for factor in vcpu_weight_factors(homes, busy, {0: 0.5, 1: 0.5}, weight).values())


def test_factors_are_bounded_and_never_lower_a_vcpu() -> None:
    homes = {MAIN: 0, vcpu(0): 0, vcpu(1): 1, vcpu(2): 2}
    busy = {MAIN: 1.0, vcpu(0): 1.0, vcpu(1): 0.1, vcpu(2): 0.01}
    factors = vcpu_weight_factors(homes, busy, {0: 0.1, 1: 0.9, 2: 0.9}, 300.0)
    assert factors == {1: LARGEST_VCPU_FACTOR}
    assert vcpu_weight_factors(homes, busy, {0: 0.9, 1: 0.0}, 30.0)[1] == 1.0
