"""What was learned of costs: kept over restarts, and the priors that it shows."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from stella.control.cost import HISTORY_SECONDS, Prior, UnitCost, initial
from stella.control.memory import InstanceMemory, Memory
from stella.model.slo import Metric
from stella.xgos.process import learned_costs
from tests.unit.xgos.conftest import VM1, VM2


def learned(metric: Metric, unit_bytes: float, times: float) -> UnitCost:
    """A cost that was seen to be ``times`` the usual prior."""
    cost = initial(metric, unit_bytes, Prior())
    return replace(cost, vcpu=cost.vcpu * times, io=cost.io * times, seconds=HISTORY_SECONDS + 1)


def memory(*costs: UnitCost) -> Memory:
    """One instance for each of these costs."""
    uuids = (VM1, VM2)
    return Memory(instances={u: InstanceMemory(costs={c.metric: c}) for u, c in zip(uuids, costs, strict=False)})


def test_each_disk_is_compared_with_the_prior_for_its_own_request_size() -> None:
    small, large = learned(Metric.BLOCK_BYTES, 4096, 1.0), learned(Metric.BLOCK_BYTES, 65536, 2.0)
    for costs in ((small, large), (large, small)):
        found = learned_costs.calibrated(memory(*costs), Prior())
        assert found is not None
        assert found.io_per_byte == pytest.approx(2 * Prior().io_per_byte)
        assert found.vcpu_per_operation == pytest.approx(2 * Prior().vcpu_per_operation)


def test_a_prior_of_nothing_can_be_calibrated() -> None:
    nothing = replace(Prior(), vcpu_per_operation=0.0, vcpu_per_byte=0.0)
    found = learned_costs.calibrated(memory(learned(Metric.BLOCK_BYTES, 4096, 2.0)), nothing)
    assert found is not None and found.vcpu_per_byte == 0.0 and found.io_per_byte > 0


def test_without_history_there_is_nothing_to_calibrate() -> None:
    assert learned_costs.calibrated(memory(initial(Metric.BLOCK_BYTES, 4096, Prior())), Prior()) is None


def test_costs_come_back_and_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "costs.json"
    cost = learned(Metric.NETWORK_PACKETS, 64, 3.0)
    assert learned_costs.save(path, memory(cost), Prior())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    found = learned_costs.load(path)
    assert found.prior == Prior() and learned_costs.recall(found).instances[VM1].costs[Metric.NETWORK_PACKETS] == cost
    path.write_text(path.read_text()[:40])
    assert learned_costs.load(path).instances == {} and "set aside" in caplog.text
