"""What must hold of costs, reservations, feedback and admission."""

from hypothesis import given
from hypothesis import strategies as st

from stella.control.cost import Prior, initial, learn
from stella.control.feedback import LARGEST_DEBT_SECONDS, LARGEST_GAIN, Feedback, step
from stella.control.rates import CpuRates, InstanceRates, NetworkRates, StageRate
from stella.control.reservation import reserve
from stella.model.slo import Metric, Objective, Slo, parse_slo, show_slo
from stella.model.snapshot import Role

COSTS = {m: initial(m, 65536.0 if m is Metric.BLOCK_BYTES else 64.0, Prior()) for m in Metric}


def rates(packets: float, vcpu: float, emulator: float, wait: float = 0.0) -> InstanceRates:
    return InstanceRates(
        start_seconds=0.0,
        end_seconds=0.25,
        vcpus=1,
        cpu=CpuRates(
            stages=(
                StageRate(role=Role.VCPU, index=0, run_ratio=vcpu, wait_ratio=wait),
                StageRate(role=Role.EMULATOR, index=0, run_ratio=emulator, wait_ratio=wait),
            )
        ),
        network=NetworkRates(
            tx_packets=packets, tx_bytes=packets * 106, tx_drops=0, rx_packets=0, rx_bytes=0, rx_drops=0
        ),
        block=None,
    )


@given(st.floats(1e-6, 1e-4), st.floats(1e-6, 1e-4), st.lists(st.floats(5e3, 5e4), min_size=30, max_size=60))
def test_cost_of_a_guest_that_does_nothing_else_is_found(vcpu: float, io: float, seen: list[float]) -> None:
    cost = COSTS[Metric.NETWORK_PACKETS]
    for packets in seen:
        cost = learn(cost, rates(packets, packets * vcpu, packets * io))
    assert abs(cost.vcpu - vcpu) <= 0.02 * vcpu
    assert abs(cost.io - io) <= 0.02 * io
    assert not cost.estimated


@given(st.floats(0.5, 3.0))
def test_own_computing_is_not_taken_for_io(own: float) -> None:
    cost = COSTS[Metric.NETWORK_PACKETS]
    pattern = [18e3, 20e3, 22e3, 19e3]
    for i in range(80):
        cost = learn(cost, rates(pattern[i % 4], pattern[i % 4] * 12e-6, 0.2))
    before = cost.vcpu
    for i in range(80):
        cost = learn(cost, rates(pattern[i % 4], pattern[i % 4] * 12e-6 + own, 0.2))
    assert cost.vcpu <= before * 1.25


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 3)), st.booleans(), st.floats(0, 40)), max_size=50))
def test_feedback_stays_bounded_whatever_happens(steps: list[tuple[float | None, bool, float]]) -> None:
    state = Feedback()
    for attained, starved, seconds in steps:
        state = step(state, attained_ratio=attained, starved=starved, seconds=seconds)
        assert 0 <= state.debt_seconds <= LARGEST_DEBT_SECONDS
        assert 0 <= state.gain <= LARGEST_GAIN
        assert state.factor >= 1


def test_debt_is_paid_back_and_gain_decays() -> None:
    state = Feedback()
    for _ in range(4):
        state = step(state, attained_ratio=0.6, starved=True, seconds=0.25)
    assert state.factor > 1.2
    for _ in range(400):
        state = step(state, attained_ratio=1.1, starved=False, seconds=0.25)
    assert state.factor == 1.0


floors = st.floats(100, 1e5)


@given(floors, floors, st.floats(0.01, 2), st.integers(1, 8))
def test_a_larger_floor_never_needs_less(a: float, b: float, cpu: float, vcpus: int) -> None:
    def need(packets: float) -> float:
        slo = Slo((Objective(metric=Metric.CPU, floor=cpu), Objective(metric=Metric.NETWORK_PACKETS, floor=packets)))
        return reserve(slo, COSTS, vcpus=vcpus, margin=1.1).cores

    low, high = sorted((a, b))
    assert need(low) <= need(high) + 1e-9


@given(
    st.dictionaries(
        st.sampled_from(["cpu", "network_packets", "network_bytes", "block_bytes", "block_operations"]),
        st.fixed_dictionaries(
            {"floor": st.floats(0.01, 1e12)},
            optional={"priority": st.integers(0, 100), "weight": st.floats(0.1, 100)},
        ),
        min_size=1,
    )
)
def test_an_slo_survives_being_printed_and_read(keys: dict[str, dict[str, float]]) -> None:
    assert parse_slo(show_slo(parse_slo(keys))) == parse_slo(keys)
