"""What others set is respected, weights are not fought for, and nothing is written to the wrong process or without a guard."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stella.linux import cgroup, cpuset
from stella.model.allocation import Decision, Outcome, WriteResult
from stella.model.snapshot import GroupReading, InstanceReading, Role, Snapshot
from stella.model.target import cgroup_target
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.guard_process import Guard
from stella.xgos.actuation.host import NO_GUARD, HostActuation
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.reassertion import MOST_TIMES, REST_SECONDS
from stella.xgos.host_files import HostFiles, WriteFailed
from tests.unit.xgos.actuation.test_plan import MOUNT, ON_TWO, decision, instance, snapshot

VCPU, OWN = "/machine/a/vcpu0", "/machine/a"


class FakeGuard(Guard):
    """A guard that is there or not, as the test says."""

    def __init__(self) -> None:
        super().__init__("/", "/nowhere")
        self.there = True
        self.told: list[str] = []

    @property
    def alive(self) -> bool:
        return self.there

    def ensure(self, monotonic_seconds: float) -> bool:
        return self.there

    def beat(self) -> bool:
        return self.there


class Host:
    """A tree with one instance (cgroup v1, two CPUs), its snapshot as its files say, and actuation on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.seconds = 100.0
        self.uuid, self.pid, self.start_ticks = "a", 7, 50
        self.make_groups()
        self.write("/machine", "cpu.shares", "1024")
        self.start_process(7, 50)
        self.guard = FakeGuard()
        self.open()

    def open(self) -> None:
        self.files = HostFiles(str(self.root))
        self.journal = Journal.load(str(self.directory / "run" / "journal"))
        self.audit = Audit(str(self.directory / "state" / "audit.jsonl"))
        self.apply = Apply(actuators(self.files), self.journal, self.audit)
        self.actuation = HostActuation(self.apply, self.guard, observe=False)

    def make_groups(self) -> None:
        for group in (OWN, VCPU, "/machine/a/emulator", "/machine/a/iothread1"):
            self.write(group, "cpu.shares", "1024")
            self.write(group, "cpu.cfs_quota_us", "-1")
            self.write(group, "cpu.cfs_period_us", "100000")
            self.write(group, "cpuset.cpus", "0-1", mount=ON_TWO)

    def start_process(self, pid: int, start_ticks: int) -> None:
        path = self.root / f"proc/{pid}/task/{pid}/stat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{pid} (qemu) S " + " ".join(["0"] * 18) + f" {start_ticks} " + " ".join(["0"] * 30))

    def write(self, group: str, knob: str, text: str, *, mount: str = MOUNT) -> None:
        path = self.root / f"{mount[1:]}{group}/{knob}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def read(self, group: str, knob: str, *, mount: str = MOUNT) -> str:
        return (self.root / f"{mount[1:]}{group}/{knob}").read_text().rstrip("\n")

    def seen_group(self, group: GroupReading) -> GroupReading:
        quota = cgroup.parse_quota_v1(
            self.read(group.path, "cpu.cfs_quota_us"), self.read(group.path, "cpu.cfs_period_us")
        )
        cpus = cpuset.parse_cpus(self.read(group.path, "cpuset.cpus", mount=ON_TWO)) if group.role else None
        return replace(group, weight=int(self.read(group.path, "cpu.shares")), quota=quota, cpus=cpus)

    def seen(self) -> InstanceReading:
        seen = instance("a", vcpus=1)
        groups = tuple(self.seen_group(group) for group in seen.groups or ())
        return replace(seen, uuid=self.uuid, pid=self.pid, start_ticks=self.start_ticks, groups=groups)

    def sense(self, *instances: InstanceReading) -> Snapshot:
        self.seconds += 0.25
        host = snapshot(*(instances or (self.seen(),)), parent_weight=int(self.read("/machine", "cpu.shares")))
        reading = replace(host.host, cpuset_mount=ON_TWO, cpus=(0, 1))
        return replace(host, host=reading, monotonic_seconds=self.seconds)

    def tick(self, decided: Decision, *instances: InstanceReading) -> tuple[Snapshot, tuple[Outcome, ...], int]:
        bounded = self.actuation.bounds(self.sense(*instances))
        return (bounded, *self.actuation.act(bounded, decided))


def restraining(
    ceiling: float | None = 0.5, cpus: tuple[int, ...] = (1,), weight: float = 0.2, **more: float
) -> Decision:
    decided = decision(("a", weight), ceilings=(ceiling,), **more)  # type: ignore[arg-type]  # factor alone
    (each,) = decided.instances
    placement = ((Role.VCPU, 0, cpus),) if cpus else ()
    return replace(decided, instances=(replace(each, cpu=replace(each.cpu, placement=placement)),))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path)
    yield one
    one.audit.close()


def allowed(bounded: Snapshot) -> tuple[object, object]:
    group = bounded.instances[0].group(Role.VCPU)
    assert group is not None and group.allowed_quota is not None
    return group.allowed_cpus, group.allowed_quota.quota_us


def test_bounds_are_the_originals_where_stella_restrains(host: Host) -> None:
    before, outcomes, _ = host.tick(restraining())
    assert allowed(before) == ((0, 1), None)
    assert {o.result for o in outcomes} == {WriteResult.WRITTEN}
    assert (host.read(VCPU, "cpu.cfs_quota_us"), host.read(VCPU, "cpuset.cpus", mount=ON_TWO)) == ("25000", "1")
    after, outcomes, reasserted = host.tick(restraining())
    assert (allowed(after), outcomes, reasserted) == (((0, 1), None), (), 0)
    own = after.instances[0].group(None)
    assert own == host.seen().group(None), "the instance's own group has no bounds"


def test_a_later_vcpupin_and_quota_become_the_bound_and_are_not_fought(host: Host) -> None:
    host.tick(restraining())
    host.write(VCPU, "cpuset.cpus", "0", mount=ON_TWO)  # virsh vcpupin
    host.write(VCPU, "cpu.cfs_quota_us", "10000")  # virsh schedinfo
    host.write(VCPU, "cpu.cfs_period_us", "100000")
    bounded, _, _ = host.tick(restraining())
    assert allowed(bounded) == ((0,), 10_000)
    assert host.read(VCPU, "cpuset.cpus", mount=ON_TWO) == "0", "a CPU outside the bound is not used"
    assert int(host.read(VCPU, "cpu.cfs_quota_us")) / int(host.read(VCPU, "cpu.cfs_period_us")) <= 0.1
    host.tick(restraining(None, ()))  # an idle host
    assert (host.read(VCPU, "cpu.cfs_quota_us"), host.read(VCPU, "cpu.cfs_period_us")) == ("10000", "100000")
    assert host.read(VCPU, "cpuset.cpus", mount=ON_TWO) == "0"
    host.apply.release(1.0)
    assert (host.read(VCPU, "cpu.cfs_quota_us"), host.read(VCPU, "cpuset.cpus", mount=ON_TWO)) == ("10000", "0")
    host.audit.close()
    events = [json.loads(line) for line in (host.directory / "state/audit.jsonl").read_text().splitlines()]
    assert {e["value"] for e in events if e.get("event") == "adopted"} == {"0", "10000"}


def test_what_was_set_between_sensing_and_writing_is_not_overwritten(host: Host) -> None:
    host.tick(restraining())
    bounded = host.actuation.bounds(host.sense())
    host.write(VCPU, "cpuset.cpus", "0", mount=ON_TWO)
    outcomes, _ = host.actuation.act(bounded, restraining(cpus=(0, 1)))
    (refused,) = [o for o in outcomes if o.write.target.knob == "cpuset.cpus"]
    assert refused.result is WriteResult.FAILED and "changed meanwhile to '0'" in refused.error
    assert host.read(VCPU, "cpuset.cpus", mount=ON_TWO) == "0"


def test_what_the_guard_lifted_is_set_again_and_not_counted(host: Host) -> None:
    host.tick(restraining())
    host.write(VCPU, "cpu.cfs_quota_us", "-1")
    host.write(VCPU, "cpuset.cpus", "0-1", mount=ON_TWO)
    host.seconds += 5.0  # it hung
    bounded, _, reasserted = host.tick(restraining())
    assert (allowed(bounded), reasserted) == (((0, 1), None), 0)
    assert host.read(VCPU, "cpu.cfs_quota_us") == "25000"


def test_what_was_set_after_a_dead_agents_guard_had_lifted_is_respected(host: Host) -> None:
    host.tick(restraining())
    for knob, text in (("cpu.cfs_quota_us", "-1"), ("cpu.cfs_period_us", "100000")):
        host.write(VCPU, knob, text)
    host.journal._keep([replace(e, lifted=e.temporary) for e in host.journal.entries])  # as the guard mends it
    host.journal.store()
    host.write(VCPU, "cpu.cfs_quota_us", "30000")  # hours later
    host.open()
    assert host.read(VCPU, "cpu.cfs_quota_us") == "30000"
    host.apply.lift(1.0)
    bounded, _, _ = host.tick(restraining(None, ()))
    assert host.read(VCPU, "cpu.cfs_quota_us") == "30000" and allowed(bounded)[1] == 30_000


def test_weights_are_set_again_counted_and_given_up(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    counts = []
    host.tick(restraining())
    for _ in range(MOST_TIMES + 3):
        host.write(OWN, "cpu.shares", "333")
        counts.append(host.tick(restraining())[2])
    assert counts == [1] * MOST_TIMES + [0, 0, 0]
    assert host.read(OWN, "cpu.shares") == "333" and caplog.text.count("this knob is left alone") == 1
    host.seconds += REST_SECONDS - 10
    host.tick(restraining())
    assert host.read(OWN, "cpu.shares") == "333"
    host.seconds += 20
    host.tick(restraining())
    assert host.read(OWN, "cpu.shares") == "2048", "it stood long: taken up again"
    host.apply.release(1.0)
    assert host.read(OWN, "cpu.shares") == "333", "what they set is the original now"


def test_no_guard_no_restraint_but_lifting_and_weights(host: Host) -> None:
    host.guard.there = False
    _, outcomes, _ = host.tick(restraining(factor=4.0))
    hindered = {o.write.target.knob for o in outcomes if o.result is WriteResult.FAILED and o.error == NO_GUARD}
    assert hindered == {"cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuset.cpus", "cpu.shares"}
    assert (host.read(VCPU, "cpu.cfs_quota_us"), host.read("/machine", "cpu.shares")) == ("-1", "1024")
    for _ in range(3):
        host.tick(restraining(factor=4.0))
    host.audit.close()
    assert (host.directory / "state/audit.jsonl").read_text().count(NO_GUARD) == 4, "told once for each knob"
    host.guard.there = True
    host.tick(restraining(factor=4.0))
    assert (host.read(VCPU, "cpu.cfs_quota_us"), host.read("/machine", "cpu.shares")) == ("25000", "4096")
    host.guard.there = False
    (host.directory / "run" / "journal").unlink()
    (host.directory / "run").rename(host.directory / "gone")
    (host.directory / "run").write_text("no directory: nothing can be journalled")
    host.tick(restraining(None, (), factor=1.0))
    assert (host.read(VCPU, "cpu.cfs_quota_us"), host.read("/machine", "cpu.shares")) == ("-1", "1024")
    assert host.read(VCPU, "cpuset.cpus", mount=ON_TWO) == "0-1"


def test_restraints_are_lifted_when_the_guard_cannot_be_replaced(host: Host) -> None:
    host.tick(restraining(factor=4.0))
    host.guard.there = False
    host.tick(restraining(factor=4.0))
    assert (host.read(VCPU, "cpu.cfs_quota_us"), host.read("/machine", "cpu.shares")) == ("-1", "1024")
    assert host.read(VCPU, "cpuset.cpus", mount=ON_TWO) == "0-1" and host.read(OWN, "cpu.shares") == "2048"
    host.guard.there = True
    assert host.tick(restraining(factor=4.0))[2] == 0, "no other program had changed anything"
    assert host.read(VCPU, "cpu.cfs_quota_us") == "25000"


def test_nothing_is_written_to_another_process_of_the_same_number(host: Host) -> None:
    seen = host.seen()
    host.start_process(7, 51)
    _, outcomes, _ = host.tick(restraining(), seen)
    assert {o.result for o in outcomes} == {WriteResult.GONE} and "another one" in outcomes[0].error
    assert host.read(OWN, "cpu.shares") == "1024" and host.journal.entries == ()
    (host.root / "proc/7/task/7/stat").unlink()
    assert {o.result for o in host.tick(restraining(), seen)[1]} == {WriteResult.GONE}


def test_nothing_is_written_to_another_group_of_the_same_name(host: Host) -> None:
    host.tick(restraining())
    (host.root / f"{MOUNT[1:]}{OWN}").rename(host.directory / "old")
    host.make_groups()
    _, outcomes, _ = host.tick(restraining(0.25))
    assert {o.result for o in outcomes if o.write.target.place.startswith(f"{MOUNT}/")} == {WriteResult.GONE}
    assert host.read(VCPU, "cpu.cfs_quota_us") == "-1"
    host.tick(restraining(0.25))
    assert host.read(VCPU, "cpu.cfs_quota_us") == "12500"
    assert host.journal.originals[cgroup_target(MOUNT + VCPU, "cpu.cfs_quota_us")] == "-1"


@pytest.mark.parametrize("lost", ["groups", "instance"])
def test_what_cannot_be_seen_any_more_is_not_left_restrained(host: Host, lost: str) -> None:
    host.tick(restraining())
    blind = replace(host.seen(), groups=None)
    if lost == "instance":
        blind = replace(instance("b"), groups=None)
    _, outcomes, _ = host.tick(restraining(), blind)
    assert all(o.result is WriteResult.WRITTEN and o.write.lifts for o in outcomes) and len(outcomes) == 3
    assert (host.read(VCPU, "cpu.cfs_quota_us"), host.read(VCPU, "cpuset.cpus", mount=ON_TWO)) == ("-1", "0-1")
    assert host.tick(restraining(), blind)[1] == (), "once"


def test_memory_is_flat_over_ten_thousand_starts(host: Host) -> None:
    sizes = []
    for n in range(10_000):
        uuid = f"a{n}"
        seen = replace(instance(uuid, vcpus=1), pid=7, start_ticks=n)
        acts = n % 100 == 0
        if acts:
            shutil.rmtree(host.root / MOUNT[1:] / "machine")
            host.start_process(7, n)
            for group in seen.groups or ():
                for knob, text in (("cpu.cfs_quota_us", "-1"), ("cpu.cfs_period_us", "100000")):
                    host.write(group.path, knob, text)  # no weights here: each is tried in vain
        host.seconds += 0.25
        bounded = host.actuation.bounds(replace(snapshot(seen), monotonic_seconds=host.seconds))
        if acts:
            decided = decision((uuid, 2.0), ceilings=(0.5,))
            results = {o.result for o in host.actuation.act(bounded, decided)[0]}
            assert results == {WriteResult.WRITTEN, WriteResult.UNSUPPORTED}
            kept = (host.journal._entries, host.journal._written, host.journal._revisions, host.apply._refused)
            sizes.append(sum(map(len, (*kept, host.actuation._bounds, host.actuation._processes))))
    assert max(sizes) <= 20 and sizes[-1] <= sizes[1]


def test_observing_writes_nothing_and_says_what_it_would(host: Host) -> None:
    actuation = HostActuation(host.apply, None, observe=True)
    bounded = actuation.bounds(host.sense())
    assert actuation.act(bounded, restraining()) == ((), 0)
    assert actuation.planned_writes and host.read(OWN, "cpu.shares") == "1024"
    for n in range(100):
        host.seconds += 0.25
        actuation.bounds(replace(snapshot(instance(f"a{n}")), monotonic_seconds=host.seconds))
    assert len(actuation._bounds) < 10
    actuation.beat()


def knobs(host: Host) -> dict[str, str]:
    return {str(path.relative_to(host.root)): path.read_text() for path in host.root.rglob("cpu*.*") if path.is_file()}


def test_a_pause_puts_everything_back_at_once_and_writes_nothing_until_it_ends(host: Host) -> None:
    before = knobs(host)
    host.actuation.pause(False, host.seconds, 0.0)
    host.tick(restraining())
    restrained = knobs(host)
    assert restrained != before and host.journal.entries
    made = cgroup_target("/made", "")
    host.journal.record_made(made)
    bounded = host.actuation.bounds(host.sense())
    host.actuation.pause(True, host.seconds, 0.0)
    assert host.actuation.act(bounded, restraining()) == ((), 0)
    assert knobs(host) == before
    assert [entry.target for entry in host.journal.entries] == [made], "the agent's own group stays"
    for _ in range(10):
        host.actuation.pause(True, host.seconds, 0.0)
        assert host.tick(restraining())[1:] == ((), 0)
    assert knobs(host) == before and host.actuation.planned_writes
    host.actuation.pause(False, host.seconds, 0.0)
    host.tick(restraining())
    assert knobs(host) == restrained


def test_what_could_not_be_put_back_is_tried_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    before = knobs(host)
    host.tick(restraining())
    write, refused = host.files.write_knob, [3]

    def refuse(path: str, value: str) -> None:
        if path.endswith("vcpu0/cpu.cfs_quota_us") and refused[0] > 0:
            refused[0] -= 1
            raise WriteFailed(f"{path}: busy")
        write(path, value)

    monkeypatch.setattr(host.files, "write_knob", refuse)
    host.actuation.pause(True, host.seconds, 0.0)
    assert knobs(host) != before
    host.actuation.pause(True, host.seconds + 0.25, 0.0)
    assert refused[0] == 1, "not in each tick"
    host.actuation.pause(True, host.seconds + 1.0, 0.0)
    assert knobs(host) == before and host.journal.entries == ()


def test_a_group_that_vanishes_in_the_middle_of_the_writes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded, write = host.actuation.bounds(host.sense()), host.files.write_knob

    def vanish(path: str, value: str) -> None:
        shutil.rmtree(host.root / f"{MOUNT[1:]}{OWN}", ignore_errors=True)
        write(path, value)

    monkeypatch.setattr(host.files, "write_knob", vanish)
    outcomes, _ = host.actuation.act(bounded, restraining())
    of_cpu = [o.result for o in outcomes if o.write.target.place.startswith(f"{MOUNT}/")]
    assert of_cpu and set(of_cpu) == {WriteResult.GONE}
    monkeypatch.undo()
    host.make_groups()
    host.tick(restraining())  # another group: what was planned for the first one is not written to it
    host.tick(restraining())
    assert host.read(VCPU, "cpu.cfs_quota_us") == "25000"
    host.apply.release(1.0)
    assert (host.read(OWN, "cpu.shares"), host.read(VCPU, "cpu.cfs_quota_us")) == ("1024", "-1")


@pytest.mark.parametrize("text", ["20000 100000", "max 100000"])
def test_a_quota_set_later_under_cgroup_v2(host: Host, text: str) -> None:
    knob = cgroup_target(MOUNT + VCPU, "cpu.max", instance="a")
    for group in (OWN, VCPU, "/machine/a/emulator", "/machine/a/iothread1"):
        host.write(group, "cpu.max", "max 100000")

    def tick(decided: Decision) -> Snapshot:
        seen = instance("a", vcpus=1, version=2, weight=2500)
        groups = tuple(replace(g, quota=cgroup.parse_quota_v2(host.read(g.path, "cpu.max"))) for g in seen.groups or ())
        host.seconds += 0.25
        at = replace(snapshot(replace(seen, groups=groups), version=2), monotonic_seconds=host.seconds)
        bounded = host.actuation.bounds(at)
        host.actuation.act(bounded, decided)
        return bounded

    tick(decision(("a", 1.0), ceilings=(0.5,)))
    assert host.read(VCPU, "cpu.max") == "25000 50000"
    host.write(VCPU, "cpu.max", text)
    bounded = tick(decision(("a", 1.0), ceilings=(0.5,)))
    assert allowed(bounded)[1] == cgroup.parse_quota_v2(text).quota_us and host.journal.originals[knob] == text
    assert host.read(VCPU, "cpu.max") == ("10000 50000" if text[0] == "2" else "25000 50000")
    tick(decision(("a", 1.0)))
    assert host.read(VCPU, "cpu.max") == text
