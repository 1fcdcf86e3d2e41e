"""The offender is who took most above its entitlement where the missed instance runs, not the largest user."""

from stella.control.offender import HOST, Offender, Taker, cpus_of, find, takers
from stella.control.rates import CpuRates, InstanceRates, StageRate
from stella.control.windows import InstanceWindow, blamed
from stella.model.allocation import CpuAllocation, Decision, HostUsage, InstanceDecision, ObjectiveReport
from stella.model.attainment import Cause, Status
from stella.model.slo import Metric
from stella.model.snapshot import GroupReading, InstanceReading, Quota, Role, RunState

VICTIM = Taker(uuid="victim", used_cores=0.1, entitled_cores=0.5)


def taker(uuid: str, used: float, entitled: float, *cpus: int) -> Taker:
    return Taker(uuid=uuid, used_cores=used, entitled_cores=entitled, cpus=frozenset(cpus) or None)


def test_not_the_largest_user() -> None:
    found = find("victim", [VICTIM, taker("large", 3.0, 3.0), taker("hog", 0.6, 0.1)])
    assert found == Offender(uuid="hog", used_cores=0.6, entitled_cores=0.1, cpus=None)


def test_nobody_exceeded() -> None:
    assert find("victim", [VICTIM, taker("large", 3.0, 3.0), taker("small", 0.11, 0.1)]) is None
    assert find("victim", [taker("victim", 1.0, 0.1)]) is None


def test_only_who_shares_a_cpu_with_it() -> None:
    here = taker("victim", 0.1, 0.5, 0, 1)
    far, near = taker("far", 2.0, 0.1, 2, 3), taker("near", 0.3, 0.1, 1, 2)
    found = find("victim", [here, far, near])
    assert found is not None and found.uuid == "near" and found.cpus == (1,)
    assert find("victim", [here, far]) is None
    assert find("victim", [VICTIM, far, near]) == Offender(uuid="far", used_cores=2.0, entitled_cores=0.1, cpus=(2, 3))


def rates(run: float) -> InstanceRates:
    stage = StageRate(role=Role.VCPU, index=0, run_ratio=run, wait_ratio=0.0)
    return InstanceRates(
        start_seconds=0.0, end_seconds=1.0, vcpus=1, cpu=CpuRates(stages=(stage,)), network=None, block=None
    )


def decision(overhead: float, **allocations: float) -> Decision:
    return Decision(
        monotonic_seconds=1.0,
        wall_seconds=1.0,
        host=HostUsage(
            cores=2.0,
            busy_cores=2.0,
            instances_cores=2.0 - overhead,
            overhead_cores=overhead,
            softirq_cores=0.0,
            steal_cores=0.0,
        ),
        instances=tuple(
            InstanceDecision(
                uuid=uuid,
                name=uuid,
                managed=False,
                frozen=False,
                cpu=CpuAllocation(reservation_cores=0.0, allocation_cores=cores, io_ratio=0.0),
                usage_cores=0.0,
                demand_cores=0.0,
                starved_ratio=0.0,
                objectives=(),
                reason="",
            )
            for uuid, cores in allocations.items()
        ),
        parent_weight_factor=None,
    )


def test_the_host_may_be_it() -> None:
    seen = {"a": rates(0.2), "b": rates(0.5)}
    all_of_them = takers(
        decision(1.2, a=0.5, b=0.5), seen, cpus={"a": frozenset({0, 1})}, lasting_cores={}, host_reserved_cores=0.1
    )
    assert [t.uuid for t in all_of_them] == ["a", "b", HOST]
    assert all_of_them[0].cpus == frozenset({0, 1})
    found = find("a", all_of_them)
    assert found is not None and (found.uuid, found.used_cores, found.entitled_cores) == (HOST, 1.2, 0.1)
    calm = takers(decision(0.15, a=0.5, b=0.5), {"a": rates(0.2)}, cpus={}, lasting_cores={}, host_reserved_cores=0.1)
    assert find("a", calm) is None


def test_what_feedback_takes_from_a_neighbour_for_a_while_makes_it_no_offender() -> None:
    made, seen = decision(0.1, victim=1.5, busy=0.05, hog=0.05), {"busy": rates(0.2), "hog": rates(0.4)}
    lasting = {"victim": 0.9, "busy": 0.25, "hog": 0.25}
    all_of_them = takers(made, seen, cpus={}, lasting_cores=lasting, host_reserved_cores=0.1)
    found = find("victim", all_of_them)
    assert found is not None and (found.uuid, found.entitled_cores) == ("hog", 0.25)
    assert find("victim", [t for t in all_of_them if t.uuid != "hog"]) is None


def group(role: Role | None, cpus: tuple[int, ...] | None) -> GroupReading:
    quota = Quota(quota_us=None, period_us=100_000)
    return GroupReading(path="", role=role, index=0, weight=100, quota=quota, throttled_seconds=0.0, cpus=cpus)


def test_where_it_runs_is_what_is_in_force() -> None:
    def seen(*groups: GroupReading) -> InstanceReading:
        return InstanceReading(
            uuid="a",
            name="a",
            pid=7,
            state=RunState.RUNNING,
            vcpus=1,
            iothreads=0,
            threads=(),
            links=(),
            disks=(),
            disks_monotonic_seconds=None,
            groups=groups,
        )

    confined = (group(None, (0, 1, 2)), group(Role.VCPU, (1,)), group(Role.EMULATOR, (0,)))
    assert cpus_of(seen(*confined)) == frozenset({0, 1})
    assert cpus_of(seen(*confined, group(Role.IOTHREAD, None))) is None
    assert cpus_of(seen()) is None


def test_a_window_missed_for_want_of_cpu_names_it() -> None:
    def window(status: Status, cause: Cause | None) -> InstanceWindow:
        one = ObjectiveReport(
            metric=Metric.CPU, kind="floor", value=0.5, usage=0.1, demand=1.0, status=status, cause=cause
        )
        return blamed(InstanceWindow(uuid="victim", objectives=(one,)), [VICTIM, taker("hog", 0.6, 0.1)])

    named = window(Status.VIOLATED, Cause.CPU)
    assert named.objectives[0].offender == "hog" and named.offender is not None and named.offender.uuid == "hog"
    assert window(Status.VIOLATED, Cause.BLOCK).offender is None
    assert window(Status.MET, None).objectives[0].offender is None
