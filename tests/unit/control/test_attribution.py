"""Each status and cause, on rates as they look on a real host (shapes from the laboratory)."""

import pytest

from stella.control.attribution import EvaluationContext, evaluate
from stella.control.rates import BlockRates, CpuRates, InstanceRates, NetworkRates, StageRate
from stella.model.attainment import Cause, Status
from stella.model.slo import Metric, parse_slo
from stella.model.snapshot import Role

HERE = EvaluationContext(baseline_latency_seconds=0.0004)


def stage(role: Role, run: float, wait: float, index: int = 0) -> StageRate:
    return StageRate(role=role, index=index, run_ratio=run, wait_ratio=wait)


def rates(*stages: StageRate, packets: float = 0.0, block: BlockRates | None = None, vcpus: int = 1) -> InstanceRates:
    return InstanceRates(
        start_seconds=0.0,
        end_seconds=1.0,
        vcpus=vcpus,
        cpu=CpuRates(stages=stages),
        network=NetworkRates(
            tx_packets=packets, tx_bytes=packets * 106, tx_drops=0, rx_packets=0, rx_bytes=0, rx_drops=0
        ),
        block=block,
    )


def disk(rate: float, in_flight: float, size: float = 65536.0) -> BlockRates:
    return BlockRates(
        read_operations=rate / size,
        read_bytes=rate,
        read_seconds=in_flight,
        write_operations=0,
        write_bytes=0,
        write_seconds=0,
    )


def status(
    slo: dict[str, object], seen: InstanceRates | None, here: EvaluationContext = HERE
) -> tuple[Status, Cause | None]:
    reports = evaluate(parse_slo(slo).objectives[0], seen, here)
    assert len(reports) == 1
    return reports[0].status, reports[0].cause


NET = {"network_packets": {"floor": "20kpps", "direction": "tx"}}
DISK = {"block_bytes": {"floor": "300MB/s"}}
CPU = {"cpu": {"floor": "20%"}}
CASES = {
    "packets flow": (NET, rates(stage(Role.VCPU, 0.5, 0.1), packets=19_100), Status.MET, None),
    "sender starved beside a hog": (
        NET,
        rates(stage(Role.VCPU, 0.25, 0.7), stage(Role.EMULATOR, 0.2, 0.3), packets=9_000),
        Status.VIOLATED,
        Cause.CPU,
    ),
    "main loop starved, vCPU asleep behind it": (
        NET,
        rates(stage(Role.VCPU, 0.3, 0.2), stage(Role.EMULATOR, 0.35, 0.6), packets=12_000),
        Status.VIOLATED,
        Cause.CPU,
    ),
    "idle guest": (NET, rates(stage(Role.VCPU, 0.01, 0.01), packets=2), Status.NO_DEMAND, None),
    "idle guest on a full host": (NET, rates(stage(Role.VCPU, 0.01, 0.3), packets=2), Status.NO_DEMAND, None),
    "paced sender below its floor": (
        NET,
        rates(stage(Role.VCPU, 0.2, 0.1), stage(Role.EMULATOR, 0.15, 0.1), packets=8_000),
        Status.NO_DEMAND,
        None,
    ),
    "one vCPU is too little for the floor": (
        {"network_packets": {"floor": "200kpps", "direction": "tx"}},
        rates(stage(Role.VCPU, 0.97, 0.01), stage(Role.EMULATOR, 0.7, 0.02), packets=60_000),
        Status.SELF_LIMITED,
        None,
    ),
    "too little even if it were not starved": (
        {"network_packets": {"floor": "200kpps", "direction": "tx"}},
        rates(stage(Role.VCPU, 0.3, 0.68), stage(Role.EMULATOR, 0.2, 0.3), packets=15_000),
        Status.SELF_LIMITED,
        None,
    ),
    "the main loop fills its core": (
        {"network_packets": {"floor": "200kpps", "direction": "tx"}},
        rates(stage(Role.VCPU, 0.5, 0.0), stage(Role.EMULATOR, 0.98, 0.01), packets=80_000),
        Status.VIOLATED,
        Cause.HOST,
    ),
    "disk starved of CPU": (
        DISK,
        rates(stage(Role.VCPU, 0.2, 0.5), stage(Role.IOTHREAD, 0.2, 0.6), block=disk(120e6, 3.0)),
        Status.VIOLATED,
        Cause.CPU,
    ),
    "disk back end slow": (
        DISK,
        rates(stage(Role.VCPU, 0.1, 0.0), stage(Role.IOTHREAD, 0.1, 0.0), block=disk(100e6, 15.0)),
        Status.VIOLATED,
        Cause.BLOCK,
    ),
    "queue depth of one is its own limit": (
        DISK,
        rates(stage(Role.VCPU, 0.3, 0.01), stage(Role.IOTHREAD, 0.3, 0.01), block=disk(100e6, 0.9)),
        Status.SELF_LIMITED,
        None,
    ),
    "small requests are promised less": (
        DISK,
        rates(stage(Role.VCPU, 0.5, 0.0), block=disk(80e6, 2.0, size=16384.0)),
        Status.MET,
        None,
    ),
    "computing and starved": (CPU, rates(stage(Role.VCPU, 0.1, 0.89)), Status.VIOLATED, Cause.CPU),
    "computing little by choice": (CPU, rates(stage(Role.VCPU, 0.1, 0.4)), Status.NO_DEMAND, None),
    "computing enough": (CPU, rates(stage(Role.VCPU, 0.2, 0.79)), Status.MET, None),
}


@pytest.mark.parametrize("name", CASES)
def test_status_and_cause(name: str) -> None:
    slo, seen, expected, cause = CASES[name]
    assert status(slo, seen) == (expected, cause)


def test_lost_sensor_is_unknown_never_met() -> None:
    assert status(NET, None) == (Status.UNKNOWN, Cause.SENSOR)
    assert status(DISK, rates(stage(Role.VCPU, 0.5, 0.0))) == (Status.UNKNOWN, Cause.SENSOR)


def test_a_floor_that_does_not_fit_is_degraded() -> None:
    seen = rates(stage(Role.VCPU, 0.25, 0.7), packets=9_000)
    assert status(NET, seen, EvaluationContext(reservation_fits=False)) == (Status.DEGRADED, Cause.CAPACITY)


ALTOGETHER = rates(stage(Role.VCPU, 0.0, 0.0), stage(Role.EMULATOR, 0.0, 1.0))
"""Nothing of it ran: the main loop waits for a CPU, the vCPU for the main loop's lock."""


def test_one_that_is_starved_altogether_asked_for_what_it_asked_before() -> None:
    before = EvaluationContext(demands={Metric.NETWORK_PACKETS: 40_000.0})
    assert status(NET, ALTOGETHER, before) == (Status.VIOLATED, Cause.CPU)


def test_one_that_computes_on_some_vcpus_while_the_one_that_feeds_its_io_starves_is_not_its_own_limit() -> None:
    seen = rates(
        *(stage(Role.VCPU, 0.5, 0.48, n) for n in (0, 1)),
        stage(Role.VCPU, 0.02, 0.96, 2),
        stage(Role.EMULATOR, 0.1, 0.05),
        packets=120,
        vcpus=4,
    )
    before = EvaluationContext(demands={Metric.NETWORK_PACKETS: 21_000.0})
    assert status(NET, seen, before) == (Status.VIOLATED, Cause.CPU)
    assert status(NET, seen) == (Status.SELF_LIMITED, None)  # nothing tells that it ever asked for so many


def test_one_that_asked_for_nothing_is_not_missed_while_it_is_starved() -> None:
    idle = EvaluationContext(demands={Metric.NETWORK_PACKETS: 2.0})
    assert status(NET, ALTOGETHER, idle)[0] in (Status.NO_DEMAND, Status.SELF_LIMITED)


def test_a_block_ceiling_is_evaluated_by_what_got_through() -> None:
    seen = rates(stage(Role.VCPU, 0.5, 0.0), packets=50_000, block=disk(80e6, 2.0))
    assert status({"block_bytes": {"ceiling": "1MB/s"}}, seen) == (Status.VIOLATED, Cause.HOST)
    assert status({"block_bytes": {"ceiling": "78MB/s"}}, seen) == (Status.MET, None)


def test_what_its_own_throttle_takes_is_blamed_on_no_back_end() -> None:
    seen = rates(stage(Role.VCPU, 0.5, 0.0), block=disk(80e6, 20.0))
    for here, expected in (
        (EvaluationContext(), (Status.VIOLATED, Cause.BLOCK)),
        (EvaluationContext(reaches_throttle=True), (Status.SELF_LIMITED, None)),
        (EvaluationContext(reaches_throttle=True, restrained=True), (Status.VIOLATED, Cause.BLOCK)),
    ):
        (found,) = evaluate(parse_slo({"block_latency": {"target": "1ms"}}).objectives[0], seen, here)
        assert (found.status, found.cause) == expected


def test_a_floor_missed_on_a_full_back_end_is_blamed_on_it() -> None:
    seen = rates(stage(Role.VCPU, 0.5, 0.0), block=disk(80e6, 20.0))
    (found,) = evaluate(
        parse_slo({"block_bytes": {"floor": "100MB/s"}}).objectives[0], seen, EvaluationContext(backend_full=True)
    )
    assert (found.status, found.cause) == (Status.VIOLATED, Cause.BLOCK)


def test_a_network_ceiling_is_evaluated_by_what_got_through() -> None:
    slo: dict[str, object] = {"network_packets": {"ceiling": "20kpps"}}
    busy = stage(Role.VCPU, 0.95, 0.0)
    assert status(slo, rates(busy, packets=20_400)) == (Status.MET, None)
    assert status(slo, rates(busy, packets=30_000)) == (Status.VIOLATED, Cause.HOST)


def test_a_cpu_ceiling_is_evaluated() -> None:
    assert status({"cpu": {"ceiling": "20%"}}, rates(stage(Role.VCPU, 0.5, 0.0))) == (Status.VIOLATED, Cause.HOST)
