"""From a decision to the knobs to be set: pure, and only what differs.

Weights. An instance's weight is its allocation times a constant of the host, so that ratios hold and one instance's change
writes one file. Inside the instance the emulator and each iothread get, beside the busy vCPU groups (weights w, sum W),

    io_ratio = w_io / (w_io + W)   =>   w_io = W * io_ratio / (1 - io_ratio)

times a factor that the control law chooses (see `stella.control.reservation.io_weight_factor`). It is never below the default.

Quotas, for a ceiling or a best-effort throttle. libvirt has no group for all vCPUs together, so a bound over n vCPUs is spread
over them anew each tick. Such a spread goes stale when nobody renews it: these writes are temporary, and the guard lifts them.
Emulator, iothread and instance groups never get one: a throttled main loop holds up everything. The period is 50 ms: a vCPU
stands still for less than that, a tick of 250 ms holds five, and a quota stays above the kernel's 1 ms down to 2 % of a core;
the scheduler's overrun of up to a timer tick is booked as debt, so the mean holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stella.linux import cgroup, cpuset, scheduling
from stella.model.allocation import Decision, InstanceDecision, Write
from stella.model.snapshot import GroupReading, HostReading, InstanceReading, Quota, Role, Snapshot

LARGEST_IO_RATIO = 0.9
INSTANCE_DEADBAND_RATIO = 0.02
INNER_DEADBAND_RATIO = 0.2
QUOTA_DEADBAND_RATIO = 0.005
QUOTA_PERIOD_US = 50_000
SHARES_PER_CORE_V1 = 10_240.0
_IO_ROLES = (Role.EMULATOR, Role.IOTHREAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knobs:
    """Writes for the groups of one hierarchy. ``originals``: what knobs held before Stella, by path, as journalled."""

    files: cgroup.CpuFiles
    mount: str
    originals: Mapping[str, str]

    def path(self, group: GroupReading, name: str) -> str:
        return f"{self.mount}{group.path}/{name}"

    def weight(self, group: GroupReading, wanted: float, deadband_ratio: float, reason: str) -> Iterator[Write]:
        value = self.files.clamp(wanted)
        at_an_end = value in (self.files.smallest_weight, self.files.largest_weight) and value != group.weight
        if abs(value - group.weight) > deadband_ratio * group.weight or at_an_end:
            yield Write(
                path=self.path(group, self.files.weight),
                value=str(value),
                previous=str(group.weight),
                reason=reason,
            )

    def quota(self, group: GroupReading, wanted: Quota, reason: str, *, temporary: bool) -> Iterator[Write]:
        """Under v1 two files: the period first, since a quota is evaluated by the period that stands."""
        if self.files.version == 2:
            yield Write(
                path=self.path(group, self.files.quota),
                value=cgroup.show_quota_v2(wanted),
                previous=cgroup.show_quota_v2(group.quota),
                reason=reason,
                temporary=temporary,
            )
            return
        if wanted.period_us != group.quota.period_us:
            yield Write(
                path=self.path(group, self.files.period),
                value=str(wanted.period_us),
                previous=str(group.quota.period_us),
                reason=reason,
                temporary=temporary,
            )
        yield Write(
            path=self.path(group, self.files.quota),
            value=cgroup.show_quota_v1(wanted),
            previous=cgroup.show_quota_v1(group.quota),
            reason=reason,
            temporary=temporary,
        )

    def original_quota(self, group: GroupReading) -> Quota | None:
        """The quota this group had before Stella; None when Stella never set one here."""
        text = self.originals.get(self.path(group, self.files.quota))
        if text is None:
            return None
        if self.files.version == 2:
            return cgroup.parse_quota_v2(text)
        period = self.originals.get(self.path(group, self.files.period), str(group.quota.period_us))
        return cgroup.parse_quota_v1(text, period)


def weight_per_core(files: cgroup.CpuFiles, cores: int) -> float:
    """Weight of an allocation of one core: as fine as the range allows for one entitled to twice the host (idle ones may be)."""
    largest = files.largest_weight / (2 * max(cores, 1))
    return min(SHARES_PER_CORE_V1, largest) if files.version == 1 else largest


def plan(snapshot: Snapshot, decision: Decision, originals: Mapping[str, str] | None = None) -> tuple[Write, ...]:
    """The writes that bring the host's knobs to ``decision``, in the order they are to be made.

    ``originals``: journalled values by knob. They tell an administrator's own quota, which Stella never exceeds, and what to go
    back to when a ceiling is no longer wanted. Frozen instances and those whose groups were not seen get nothing.
    Parents come before children, those who gain before those who give, and lifted quotas before new ones.
    """
    host = snapshot.host
    knobs = _Knobs(files=cgroup.files(host.cgroup_version), mount=host.cgroup_mount, originals=originals or {})
    per_core = weight_per_core(knobs.files, host.cores)
    writes: list[Write] = []
    if decision.parent_weight_factor is not None:
        for group in host.parents:
            original = knobs.originals.get(knobs.path(group, knobs.files.weight))
            wanted = (int(original) if original else group.weight) * decision.parent_weight_factor
            writes += knobs.weight(group, wanted, INSTANCE_DEADBAND_RATIO, "instances beside host services")
    outer: list[Write] = []
    inner: list[Write] = []
    for each in decision.instances:
        seen = snapshot.instance(each.uuid)
        if each.frozen or seen is None or seen.groups is None:
            continue
        outer += _outer(knobs, seen, each, per_core)
        inner += _inner(knobs, seen, each)
        inner += _ceilings(knobs, seen, each)
        inner += _placed(host, seen, each, knobs.originals)
        inner += _thread_policies(seen, each, knobs.originals)
    outer.sort(key=lambda write: int(write.value) < int(write.previous))
    inner.sort(key=lambda write: write.temporary)
    return (*writes, *outer, *inner)


def _outer(knobs: _Knobs, seen: InstanceReading, each: InstanceDecision, per_core: float) -> Iterator[Write]:
    own = seen.group(None)
    if own is not None:
        reason = f"{each.name}: allocation {each.cpu.allocation_cores:.2f} cores"
        yield from knobs.weight(own, each.cpu.allocation_cores * per_core, INSTANCE_DEADBAND_RATIO, reason)


def _inner(knobs: _Knobs, seen: InstanceReading, each: InstanceDecision) -> Iterator[Write]:
    groups = seen.groups or ()
    if not each.managed:
        for group in groups:
            original = knobs.originals.get(knobs.path(group, knobs.files.weight))
            if group.role in _IO_ROLES and original is not None:
                yield from knobs.weight(group, int(original), 0.0, f"{seen.name}: no SLO any more")
        return
    vcpus = sum(group.weight for group in groups if group.role is Role.VCPU)
    ratio = min(max(each.cpu.io_ratio, 0.0), LARGEST_IO_RATIO)
    wanted = max(vcpus * ratio / (1 - ratio) * each.cpu.io_weight_factor, knobs.files.default_weight)
    for group in groups:
        if group.role in _IO_ROLES and vcpus:
            reason = f"{seen.name}: {group.role} {group.index} beside its vCPUs, I/O {ratio:.0%} of its CPU"
            yield from knobs.weight(group, wanted, INNER_DEADBAND_RATIO, reason)


def _ceilings(knobs: _Knobs, seen: InstanceReading, each: InstanceDecision) -> Iterator[Write]:
    ceilings = each.cpu.vcpu_ceilings_cores
    for group in seen.groups or ():
        if group.role is not Role.VCPU:
            continue
        ceiling = ceilings[group.index] if group.index < len(ceilings) else None
        original = knobs.original_quota(group)
        if ceiling is None:
            if original is not None and original != group.quota:
                yield from knobs.quota(group, original, f"{each.name}: no ceiling any more", temporary=False)
            continue
        before = original or group.quota
        if before.quota_us is not None:
            ceiling = min(ceiling, before.quota_us / before.period_us)
        wanted = Quota(
            quota_us=max(round(ceiling * QUOTA_PERIOD_US), cgroup.SMALLEST_QUOTA_US), period_us=QUOTA_PERIOD_US
        )
        if _differs(group.quota, wanted):
            reason = f"{each.name}: vCPU {group.index} ceiling {ceiling:.3f} cores"
            yield from knobs.quota(group, wanted, reason, temporary=True)


def _placed(
    host: HostReading, seen: InstanceReading, each: InstanceDecision, originals: Mapping[str, str]
) -> Iterator[Write]:
    """Confine stages to their CPU, within what libvirt or an administrator allowed; without a placement as before."""
    wanted = {(role, index): cpus for role, index, cpus in each.cpu.placement}
    for group in seen.groups or ():
        if group.role is None or group.cpus is None or not host.cpuset_mount:
            continue
        path = f"{host.cpuset_mount}{group.path}/{cgroup.CPUSET}"
        original = originals.get(path)
        allowed = cpuset.parse_cpus(original) if original is not None else group.cpus
        cpus = tuple(c for c in wanted.get((group.role, group.index), ()) if c in allowed or not allowed)
        if cpus:
            value = cpuset.show_cpus(cpus)
            reason = f"{each.name}: {group.role} {group.index} on CPU {value} while the host is full"
        elif original is not None:
            value, reason = original, f"{each.name}: {group.role} {group.index} on any CPU again"
        else:
            continue
        if cpuset.parse_cpus(value) != group.cpus:
            previous = cpuset.show_cpus(group.cpus)
            yield Write(path=path, value=value, previous=previous, reason=reason, temporary=True)


def _thread_policies(seen: InstanceReading, each: InstanceDecision, originals: Mapping[str, str]) -> Iterator[Write]:
    """Which threads batch. One that somebody else made so, or that is of another scheduler, is left alone."""
    for thread in seen.threads or ():
        batches = thread.role in each.cpu.batching
        path = scheduling.knob_path(seen.pid, thread.tid)
        who = f"{each.name}: {thread.role} {thread.index}"
        if batches and thread.policy == scheduling.OTHER:
            value, reason = scheduling.BATCHING, f"{who} batches"
        elif not batches and thread.policy == scheduling.BATCH and path in originals:
            value, reason = originals[path], f"{who} runs at once again"
        else:
            continue
        yield Write(path=path, value=value, previous=thread.policy or "", reason=reason)


def _differs(now: Quota, wanted: Quota) -> bool:
    if now.quota_us is None or wanted.quota_us is None or now.period_us != wanted.period_us:
        return now != wanted
    return abs(now.quota_us - wanted.quota_us) > QUOTA_DEADBAND_RATIO * now.quota_us
