"""Costs before there is history are priced for what an SLO guarantees; I/O threads get priority by what runs beside them."""

from dataclasses import replace

import pytest

from stella.control.cost import HISTORY_SECONDS, Prior
from stella.control.memory import fresh_costs, priced
from stella.control.reservation import IO_WEIGHT_FACTOR, io_has_priority, io_weight_factor
from stella.model.slo import Metric, parse_slo

PRIOR = Prior()
SMALL = parse_slo({"block_bytes": {"floor": "30MB/s", "unit": "4KiB"}})


def test_a_byte_in_small_requests_is_dearer_than_in_large_ones() -> None:
    small, usual = fresh_costs(PRIOR, SMALL)[Metric.BLOCK_BYTES], fresh_costs(PRIOR)[Metric.BLOCK_BYTES]
    assert small.unit_bytes == 4096
    assert small.io == pytest.approx(PRIOR.io_per_operation / 4096 + PRIOR.io_per_byte)
    assert small.io + small.vcpu > 5 * (usual.io + usual.vcpu)


def test_an_slo_that_comes_later_prices_what_rests_on_the_prior_only() -> None:
    before = fresh_costs(PRIOR)
    assert priced(before, PRIOR, SMALL) == fresh_costs(PRIOR, SMALL)
    learned = replace(before[Metric.BLOCK_BYTES], seconds=HISTORY_SECONDS, io=1e-9)
    costs = {**before, Metric.BLOCK_BYTES: learned}
    again = priced(costs, PRIOR, SMALL)[Metric.BLOCK_BYTES]
    assert again.unit_bytes == 4096 and 10e-9 < again.io < 15e-9  # a byte in 4 KiB requests, though 64 KiB were seen
    assert priced({**costs, Metric.BLOCK_BYTES: again}, PRIOR, None)[Metric.BLOCK_BYTES].io == pytest.approx(1e-9)
    assert priced(before, PRIOR, None) is before


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
