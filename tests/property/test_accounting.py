"""Whatever the ticks and the clock do: each objective gets one verdict for each accounted second."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stella.control.memory import Memory, Settings
from stella.control.tick import decide
from stella.control.windows import GRACE_SECONDS, Window
from stella.model.allocation import Intent
from stella.model.attainment import Cause, Status
from stella.model.slo import parse_slo
from stella.model.snapshot import (
    GroupReading,
    HostReading,
    InstanceReading,
    Quota,
    Role,
    RunState,
    SensorReading,
    Snapshot,
    ThreadReading,
)

VM = "00000000-0000-4000-8000-000000000001"
HOG = "00000000-0000-4000-8000-000000000002"
WALL = 1_790_000_000.0


def instance(uuid: str, run: float, wait: float) -> InstanceReading:
    thread = ThreadReading(tid=7, start_ticks=1, role=Role.VCPU, index=0, run_seconds=run, wait_seconds=wait)
    group = GroupReading(
        path=f"/{uuid}",
        role=None,
        index=0,
        weight=1024,
        quota=Quota(quota_us=None, period_us=100000),
        throttled_seconds=0.0,
    )
    return InstanceReading(
        uuid=uuid,
        name=uuid[-1],
        pid=7,
        state=RunState.RUNNING,
        vcpus=1,
        iothreads=0,
        threads=(thread,),
        links=(),
        disks=(),
        disks_monotonic_seconds=None,
        groups=(group,),
    )


def snapshot(monotonic: float, step: float) -> Snapshot:
    """One CPU: the hog has nine tenths of it, the other one waits."""
    host = HostReading(
        cores=1,
        busy_seconds=monotonic,
        idle_seconds=0.0,
        softirq_seconds=0.0,
        steal_seconds=0.0,
        cgroup_version=1,
        cpus=(0,),
    )
    return Snapshot(
        monotonic_seconds=monotonic,
        wall_seconds=WALL + monotonic + step,
        host=host,
        instances=(
            instance(VM, 0.1 * monotonic, 0.9 * monotonic),
            instance(HOG, 0.9 * monotonic, 0.1 * monotonic),
        ),
    )


def intent(generation: int) -> Intent:
    return Intent(
        uuid=VM,
        slo=parse_slo({"cpu": {"floor": "50%"}}),
        generation=generation,
        reserved_cpu_cores=0.6,
        estimated=False,
    )


ticks = st.lists(
    st.tuples(
        st.one_of(st.floats(0.2, 0.3), st.floats(0.01, 4.0), st.floats(5.0, 200.0)),
        st.sampled_from([0.0] * 12 + [0.2, -0.3, 3600.0, -3600.0, 90 * 86400.0, -90 * 86400.0]),
    ),
    min_size=3,
    max_size=60,
)


def replay(sequence: list[tuple[float, float]]) -> tuple[list[Window], Memory, float]:
    memory, monotonic, step = Memory(), 1000.0, 0.0
    windows: list[Window] = []
    for apart, jump in [(0.25, 0.0), *sequence]:
        monotonic += apart
        step += jump
        _, closed, memory = decide(snapshot(monotonic, step), {VM: intent(1)}, memory, Settings())
        windows += closed
    return windows, memory, monotonic


@given(ticks)
@settings(max_examples=60, deadline=None)
def test_one_verdict_for_each_second(sequence: list[tuple[float, float]]) -> None:
    windows, memory, monotonic = replay(sequence)
    labels = [w.start_unix_seconds + i for w in windows for i in range(w.seconds)]
    assert len(labels) == len(set(labels))
    assert memory.clock is not None and memory.clock.start not in labels
    elapsed = monotonic - GRACE_SECONDS - 1001.25
    assert abs(len(labels) - elapsed) <= 1 + 0.006 * elapsed + 1
    end = None
    for window in windows:  # one follows the other without a gap or an overlap
        if end is not None:
            assert abs(window.end_monotonic_seconds - end - window.seconds) <= 0.0051 * window.seconds
        end = window.end_monotonic_seconds
        (one,) = window.instances
        (report,) = one.objectives
        assert report.status is not Status.PENDING
        if window.seconds > 1:
            assert (report.status, report.cause) == (Status.UNKNOWN, Cause.SENSOR)


def test_an_outage_of_thirty_seconds_is_thirty_unknown_windows() -> None:
    windows, _, _ = replay([(0.25, 0.0)] * 40 + [(30.0, 0.0)] + [(0.25, 0.0)] * 40)
    statuses = [w.instances[0].objectives[0].status for w in windows]
    assert all(w.seconds == 1 for w in windows)
    assert 29 <= statuses.count(Status.UNKNOWN) <= 32
    assert set(statuses) == {Status.UNKNOWN, Status.VIOLATED}


def test_without_the_hypervisor_what_is_promised_is_unknown() -> None:
    memory, statuses = Memory(), []
    for number in range(20):
        blind = 8 <= number < 16
        seen = snapshot(1000.0 + number * 0.5, 0.0)
        if blind:
            sensor = SensorReading(name="hypervisor", ok=False, duration_seconds=0.0, error="connection refused")
            seen = replace(seen, instances=(), sensors=(sensor,))
        _, closed, memory = decide(seen, {VM: intent(1)}, memory, Settings())
        statuses += [one.objectives[0].status for w in closed for one in w.instances]
    assert len(statuses) == 8 and statuses.count(Status.UNKNOWN) in (4, 5, 6)


def test_ticks_two_seconds_apart_lose_nothing() -> None:
    windows, _, _ = replay([(2.0, 0.0)] * 30)
    reports = [w.instances[0].objectives[0] for w in windows[2:]]
    assert len(reports) >= 54 and {r.status for r in reports} == {Status.VIOLATED}
    assert {r.offender for r in reports} == {HOG}


def test_a_window_begun_before_acceptance_is_pending() -> None:
    memory = Memory()
    monotonic, statuses = 1000.0, {}
    for number in range(80):
        monotonic += 0.25
        generation = 1 if number < 41 else 2
        intents = {VM: intent(generation)} if number >= 20 else {}
        _, closed, memory = decide(snapshot(monotonic, 0.0), intents, memory, Settings())
        for window in closed:
            for one in window.instances:
                begun = window.end_monotonic_seconds - 1.0
                statuses[round(begun - 1000.25, 2)] = one.objectives[0].status
    accepted = {1: 5.0, 2: 10.25}
    for begun, status in statuses.items():
        decided_at = begun + 1.0 + GRACE_SECONDS
        latest = accepted[2] if decided_at >= accepted[2] else accepted[1]
        assert (status is Status.PENDING) == (begun < latest), begun
    assert list(statuses.values()).count(Status.PENDING) >= 2
    assert replace(memory, previous=None).accepted[VM][0] == 2
