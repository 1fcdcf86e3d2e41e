"""From decisions to knobs: what is written, what is not, and in which order."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.linux import cgroup
from stella.model.allocation import CpuAllocation, Decision, HostUsage, InstanceDecision, Write
from stella.model.snapshot import (
    GroupReading,
    HostReading,
    InstanceReading,
    Quota,
    Role,
    RunState,
    Snapshot,
    ThreadReading,
)
from stella.model.target import Target, cgroup_target, thread_policy_target
from stella.xgos.actuation.plan import INSTANCE_DEADBAND_RATIO, QUOTA_PERIOD_US, plan, weight_per_core

NO_QUOTA = Quota(quota_us=None, period_us=100_000)
MOUNT = "/sys/fs/cgroup/cpu"


def group(
    path: str, role: Role | None = None, index: int = 0, weight: int = 1024, quota: Quota = NO_QUOTA
) -> GroupReading:
    return GroupReading(path=path, role=role, index=index, weight=weight, quota=quota, throttled_seconds=0.0)


def instance(
    name: str = "a", *, vcpus: int = 2, weight: int = 1024, version: int = 1, quota: Quota = NO_QUOTA
) -> InstanceReading:
    inner = 1024 if version == 1 else 100
    own = f"/machine/{name}"
    thread = ThreadReading(tid=7, start_ticks=5, role=Role.EMULATOR, index=0, run_seconds=0, wait_seconds=0)
    return InstanceReading(
        uuid=name,
        name=name,
        pid=7,
        state=RunState.RUNNING,
        vcpus=vcpus,
        iothreads=1,
        threads=(thread,),
        links=(),
        disks=(),
        disks_monotonic_seconds=None,
        groups=(
            group(own, weight=weight),
            *(group(f"{own}/vcpu{n}", Role.VCPU, n, inner, quota) for n in range(vcpus)),
            group(f"{own}/emulator", Role.EMULATOR, 0, inner),
            group(f"{own}/iothread1", Role.IOTHREAD, 1, inner),
        ),
    )


def snapshot(*instances: InstanceReading, version: int = 1, cores: int = 2, parent_weight: int = 1024) -> Snapshot:
    host = HostReading(
        cores=cores,
        busy_seconds=0,
        idle_seconds=0,
        softirq_seconds=0,
        steal_seconds=0,
        cgroup_version=version,
        cgroup_mount=MOUNT,
        parents=(group("/machine", weight=parent_weight),),
    )
    return Snapshot(monotonic_seconds=1, wall_seconds=1, host=host, instances=instances)


def decision(
    *allocations: tuple[str, float],
    io_ratio: float = 0.0,
    ceilings: tuple[float | None, ...] = (),
    frozen: bool = False,
    factor: float | None = None,
) -> Decision:
    return Decision(
        monotonic_seconds=1,
        wall_seconds=1,
        host=HostUsage(cores=2, busy_cores=0, instances_cores=0, overhead_cores=0, softirq_cores=0, steal_cores=0),
        instances=tuple(
            InstanceDecision(
                uuid=name,
                name=name,
                managed=True,
                frozen=frozen,
                cpu=CpuAllocation(
                    reservation_cores=0, allocation_cores=cores, io_ratio=io_ratio, vcpu_ceilings_cores=ceilings
                ),
                usage_cores=0,
                demand_cores=0,
                starved_ratio=0,
                objectives=(),
                reason="",
            )
            for name, cores in allocations
        ),
        parent_weight_factor=factor,
    )


def path(write: Write) -> str:
    return f"{write.target.place}/{write.target.knob}"


def cgroup_originals(originals: dict[str, str]) -> dict[Target, str]:
    return {cgroup_target(*place.rsplit("/", 1)): text for place, text in originals.items()}


def by_path(writes: tuple[Write, ...]) -> dict[str, str]:
    assert all(write.value != write.previous and write.reason for write in writes)
    return {path(write).removeprefix(MOUNT): write.value for write in writes}


def test_weights_keep_the_ratio_of_allocations() -> None:
    found = by_path(plan(snapshot(instance("a"), instance("b")), decision(("a", 1.5), ("b", 0.25))))
    assert found == {"/machine/a/cpu.shares": "15360", "/machine/b/cpu.shares": "2560"}


@pytest.mark.parametrize("version", [1, 2])
@given(cores=st.integers(1, 512), parts=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5))
def test_weights_stay_in_range_and_in_order(version: int, cores: int, parts: list[float]) -> None:
    files = cgroup.files(version)
    names = [f"i{n}" for n in range(len(parts))]
    seen = snapshot(*(instance(name, version=version, weight=7777) for name in names), version=version, cores=cores)
    found = by_path(plan(seen, decision(*((name, part * cores) for name, part in zip(names, parts, strict=True)))))
    weights = [int(found.get(f"/machine/{name}/{files.weight}", "7777")) for name in names]
    assert all(files.smallest_weight <= weight <= files.largest_weight for weight in weights)
    for a, b, part_a, part_b in zip(weights, weights[1:], parts, parts[1:], strict=False):
        assert a == b or (a < b) == (part_a < part_b) or math.isclose(a, b, rel_tol=2 * INSTANCE_DEADBAND_RATIO)
    assert weight_per_core(files, cores) * cores <= files.largest_weight * 1.001


def test_noise_writes_nothing() -> None:
    assert plan(snapshot(instance("a", weight=10240)), decision(("a", 1.015))) == ()
    assert plan(snapshot(instance("a", weight=10240)), decision(("a", 1.05)))


def test_a_plan_carried_out_plans_nothing_more() -> None:
    seen = instance("a", weight=10240, quota=Quota(quota_us=25_000, period_us=QUOTA_PERIOD_US))
    assert plan(snapshot(seen), decision(("a", 1.0), ceilings=(0.5, 0.5))) == ()


def test_io_groups_can_take_their_part_beside_busy_vcpus() -> None:
    found = by_path(plan(snapshot(instance("a", weight=10240, vcpus=4)), decision(("a", 1.0), io_ratio=0.5)))
    for inner in ("emulator", "iothread1"):
        weight = int(found[f"/machine/a/{inner}/cpu.shares"])
        assert weight / (weight + 4 * 1024) >= 0.5
    assert plan(snapshot(instance("a", weight=10240)), decision(("a", 1.0), io_ratio=0.0)) == ()
    full = by_path(plan(snapshot(instance("a", weight=5000, version=2), version=2), decision(("a", 1.0), io_ratio=1.0)))
    assert int(full["/machine/a/emulator/cpu.weight"]) <= 10_000


def test_quotas_only_on_vcpus_and_temporary() -> None:
    writes = plan(snapshot(instance("a", weight=10240)), decision(("a", 1.0), ceilings=(0.75, None)))
    assert [(path(w).removeprefix(MOUNT), w.value, w.temporary) for w in writes] == [
        ("/machine/a/vcpu0/cpu.cfs_period_us", "50000", True),
        ("/machine/a/vcpu0/cpu.cfs_quota_us", "37500", True),
    ]
    (write,) = plan(snapshot(instance("a", weight=2500, version=2), version=2), decision(("a", 1.0), ceilings=(0.001,)))
    assert (write.value, write.previous, write.temporary) == ("1000 50000", "max 100000", True)


@pytest.mark.parametrize(
    ("version", "quota", "knobs"),
    [
        (1, Quota(quota_us=30_000, period_us=100_000), ("cpu.cfs_burst_us", "cpu.cfs_period_us", "cpu.cfs_quota_us")),
        (2, Quota(quota_us=30_000, period_us=100_000), ("cpu.max.burst", "cpu.max")),
    ],
)
def test_a_burst_above_the_quota_goes_first_and_comes_back_last(
    version: int, quota: Quota, knobs: tuple[str, ...]
) -> None:
    seen = instance("a", vcpus=1, weight=10240, version=version, quota=quota)

    def with_burst(burst_us: int, quota: Quota) -> Snapshot:
        groups = tuple(
            replace(g, burst_us=burst_us, quota=quota) if g.role is Role.VCPU else g for g in seen.groups or ()
        )
        return snapshot(replace(seen, groups=groups), version=version)

    def writes(found: tuple[Write, ...]) -> list[tuple[str, str]]:
        return [(write.target.knob, write.value) for write in found if "vcpu" in write.target.place]

    made = writes(plan(with_burst(16_000, quota), decision(("a", 1.0), ceilings=(0.2,))))
    assert tuple(knob for knob, _ in made) == knobs and dict(made)[knobs[0]] == "0"
    small = writes(plan(with_burst(9_000, quota), decision(("a", 1.0), ceilings=(0.2,))))
    assert tuple(knob for knob, _ in small) == knobs[1:], "the kernel takes a quota above it"
    originals = {
        knobs[0]: "16000",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "30000",
        "cpu.max": "30000 100000",
    }
    held = cgroup_originals({f"{MOUNT}/machine/a/vcpu0/{knob}": originals[knob] for knob in knobs})
    ours = with_burst(0, Quota(quota_us=10_000, period_us=QUOTA_PERIOD_US))
    lifted = writes(plan(ours, decision(("a", 1.0)), held))
    assert lifted[-1] == (knobs[0], "16000") and {knob for knob, _ in lifted} == set(knobs)


def test_an_administrators_quota_is_never_exceeded_and_comes_back() -> None:
    admin = Quota(quota_us=30_000, period_us=100_000)
    quota, period = f"{MOUNT}/machine/a/vcpu0/cpu.cfs_quota_us", f"{MOUNT}/machine/a/vcpu0/cpu.cfs_period_us"
    seen = snapshot(instance("a", vcpus=1, weight=10240, quota=admin))
    assert by_path(plan(seen, decision(("a", 1.0), ceilings=(0.8,))))["/machine/a/vcpu0/cpu.cfs_quota_us"] == "15000"
    ours = snapshot(instance("a", vcpus=1, weight=10240, quota=Quota(quota_us=15_000, period_us=50_000)))
    originals = cgroup_originals({quota: "30000", period: "100000"})
    back = plan(ours, decision(("a", 1.0), ceilings=(None,)), originals)
    assert [(path(w), w.value, w.temporary, w.lifts) for w in back] == [
        (period, "100000", True, True),
        (quota, "30000", True, True),
    ]
    assert plan(seen, decision(("a", 1.0), ceilings=()), originals) == ()
    assert plan(seen, decision(("a", 1.0))) == ()  # a quota that was never ours is left alone


@pytest.mark.parametrize("version", [1, 2])
def test_a_frozen_instance_is_given_back_what_restrains_it(version: int) -> None:
    files = cgroup.files(version)
    ours = Quota(quota_us=15_000, period_us=50_000)
    seen = instance("a", vcpus=1, weight=5, quota=ours, version=version)
    groups = tuple(replace(g, cpus=(1,) if g.role else None) for g in seen.groups or ())
    threads = tuple(replace(t, policy="batch") for t in seen.threads or ())
    host = snapshot(replace(seen, groups=groups, threads=threads), version=version)
    host = replace(host, host=replace(host.host, cpuset_mount=ON_TWO, cpus=(0, 1)))
    held = {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"} if version == 1 else {"cpu.max": "max 100000"}
    originals = cgroup_originals(
        {f"{MOUNT}/machine/a/vcpu0/{knob}": text for knob, text in held.items()}
        | {f"{ON_TWO}/machine/a/{g}/cpuset.cpus": "0-1" for g in ("vcpu0", "emulator", "iothread1")}
        | {f"{MOUNT}/machine/a/{files.weight}": "100"}
    )
    originals[thread_policy_target(7, 7)] = "other"
    decided = decision(("a", 2.0), frozen=True, ceilings=(0.1,))
    (each,) = decided.instances
    cpu = replace(each.cpu, batching=(Role.EMULATOR,), placement=((Role.EMULATOR, 0, (1,)),))
    decided = replace(decided, instances=(replace(each, cpu=cpu),))
    writes = plan(host, decided, originals)
    assert all(w.temporary and w.lifts for w in writes)
    restraints = {target: text for target, text in originals.items() if target.knob != files.weight}
    assert {w.target: w.value for w in writes} == restraints
    assert plan(host, decided) == (), "what was never ours stays"


def test_frozen_unseen_and_unread_instances_get_nothing() -> None:
    assert plan(snapshot(instance("a")), decision(("a", 2.0), frozen=True, ceilings=(0.1,))) == ()
    assert plan(snapshot(), decision(("a", 2.0))) == ()


def test_parents_first_then_gains_then_losses() -> None:
    seen = snapshot(instance("a", weight=20000), instance("b", weight=100))
    writes = plan(seen, decision(("a", 0.1), ("b", 1.0), factor=4.0))
    assert [path(w).removeprefix(MOUNT) for w in writes] == [
        "/machine/cpu.shares",
        "/machine/b/cpu.shares",
        "/machine/a/cpu.shares",
    ]
    assert writes[0].value == "4096" and writes[0].temporary and not writes[1].temporary
    raised = snapshot(instance("a", weight=10240), parent_weight=4096)
    original = cgroup_originals({f"{MOUNT}/machine/cpu.shares": "1024"})
    (back,) = plan(raised, decision(("a", 1.0), factor=1.0), original)
    assert (back.value, back.lifts) == ("1024", True)


ON_TWO = "/sys/fs/cgroup/cpuset"


def confined(*cpus: int, name: str = "a") -> Snapshot:
    """An instance whose inner groups may run on ``cpus``, on a host with cpusets."""
    seen = instance(name, weight=10240)
    groups = tuple(replace(g, cpus=cpus if g.role else None) for g in seen.groups or ())
    host = snapshot(replace(seen, groups=groups))
    return replace(host, host=replace(host.host, cpuset_mount=ON_TWO, cpus=(0, 1)))


def placed(*placement: tuple[Role, int, tuple[int, ...]], frozen: bool = False) -> Decision:
    decided = decision(("a", 1.0), frozen=frozen)
    (each,) = decided.instances
    return replace(decided, instances=(replace(each, cpu=replace(each.cpu, placement=placement)),))


def cpusets(writes: tuple[Write, ...]) -> dict[str, str]:
    assert all(write.temporary for write in writes if path(write).endswith(cgroup.CPUSET))
    found = {path(write): write.value for write in writes if path(write).endswith(cgroup.CPUSET)}
    return {name.removeprefix(f"{ON_TWO}/machine/a/").removesuffix(f"/{cgroup.CPUSET}"): v for name, v in found.items()}


EMULATOR_ON_1 = (Role.EMULATOR, 0, (1,))


def test_stages_are_confined_one_by_one() -> None:
    found = cpusets(plan(confined(0, 1), placed((Role.VCPU, 0, (0,)), EMULATOR_ON_1)))
    assert found == {"vcpu0": "0", "emulator": "1"}
    assert cpusets(plan(confined(1), placed(EMULATOR_ON_1))) == {}  # it is there already
    assert cpusets(plan(confined(0, 1), placed(EMULATOR_ON_1, frozen=True))) == {}


def test_never_outside_what_was_allowed() -> None:
    assert cpusets(plan(confined(0), placed(EMULATOR_ON_1))) == {}
    knob = cgroup_target(f"{ON_TWO}/machine/a/emulator", cgroup.CPUSET)
    assert cpusets(plan(confined(0), placed(EMULATOR_ON_1), {knob: "0"})) == {}
    assert cpusets(plan(confined(0), placed(EMULATOR_ON_1), {knob: "0-1"})) == {"emulator": "1"}
    assert cpusets(plan(confined(), placed(EMULATOR_ON_1))) == {"emulator": "1"}  # cgroup v2: as its parent


@pytest.mark.parametrize("original", ["0-1", "0,1", ""])
def test_lifted_when_there_is_no_placement_any_more(original: str) -> None:
    knob = cgroup_target(f"{ON_TWO}/machine/a/emulator", cgroup.CPUSET)
    assert cpusets(plan(confined(1), placed(), {knob: original})) == {"emulator": original}
    assert cpusets(plan(confined(1), placed())) == {}  # never ours
    assert cpusets(plan(confined(0, 1), placed(), {knob: "0-1"})) == {}


def test_without_cpusets_nothing_is_confined() -> None:
    seen = confined(0, 1)
    nowhere = replace(seen, host=replace(seen.host, cpuset_mount=""))
    assert cpusets(plan(nowhere, placed(EMULATOR_ON_1))) == {}
    assert cpusets(plan(snapshot(instance("a", weight=10240)), placed(EMULATOR_ON_1))) == {}


def policies(*, batching: tuple[Role, ...], policy: str | None, original: str | None = None) -> list[tuple[str, str]]:
    """What is planned for the emulator's thread, which has ``policy`` now."""
    seen = instance("a", weight=10240)
    (thread,) = seen.threads or ()
    seen = replace(seen, threads=(replace(thread, policy=policy),))
    decided = decision(("a", 1.0))
    (each,) = decided.instances
    decided = replace(decided, instances=(replace(each, cpu=replace(each.cpu, batching=batching)),))
    policy_of = thread_policy_target(7, 7)
    writes = plan(snapshot(seen), decided, {policy_of: original} if original else {})
    assert all(w.temporary and w.lifts == (w.value == original) for w in writes if w.target == policy_of)
    return [(w.value, w.previous) for w in writes if w.target == policy_of]


def test_threads_that_serve_io_batch_and_are_given_back() -> None:
    io = (Role.EMULATOR, Role.IOTHREAD)
    assert policies(batching=io, policy="other") == [("batch+reset-on-fork", "other")]
    assert policies(batching=io, policy="batch") == []
    assert policies(batching=(Role.IOTHREAD,), policy="other") == []
    assert policies(batching=(), policy="batch", original="other") == [("other", "batch")]


@pytest.mark.parametrize("policy", ["batch", "idle", None])
def test_a_policy_that_is_not_stellas_is_left_alone(policy: str | None) -> None:
    assert policies(batching=(), policy=policy) == []
    assert policies(batching=(Role.EMULATOR,), policy=policy) == []


def weighed(io_ratio: float, factors: tuple[float, ...]) -> Decision:
    made = decision(("a", 1.0), io_ratio=io_ratio)
    (one,) = made.instances
    return replace(made, instances=(replace(one, cpu=replace(one.cpu, vcpu_weight_factors=factors)),))


def test_vcpus_on_other_cpus_weigh_more_and_then_as_before_again() -> None:
    seen = snapshot(instance("a", weight=10240, vcpus=2))
    found = by_path(plan(seen, weighed(0.5, (1.0, 8.0))))
    assert found["/machine/a/vcpu1/cpu.shares"] == "8192" and "/machine/a/vcpu0/cpu.shares" not in found
    (own,) = seen.instances
    raised = tuple(
        replace(g, weight={"vcpu1": 8192, "emulator": 2048, "iothread1": 2048}.get(g.path.rpartition("/")[2], g.weight))
        for g in own.groups or ()
    )
    held = cgroup_originals({f"{MOUNT}/machine/a/vcpu1/cpu.shares": "1024"})
    again = by_path(plan(snapshot(replace(own, groups=raised)), weighed(0.5, ()), held))
    assert again == {
        "/machine/a/vcpu1/cpu.shares": "1024"
    }  # and its I/O threads weigh what they did beside unchanged vCPUs
