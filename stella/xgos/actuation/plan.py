"""From a decision to the knobs to be set: pure, and only what differs.

Weights. An instance's weight is its allocation times a constant of the host, so that ratios hold and one instance's change
writes one file. Inside the instance the emulator and each iothread get, beside the busy vCPU groups (weights w, sum W),

    io_ratio = w_io / (w_io + W)   =>   w_io = W * io_ratio / (1 - io_ratio)

times a factor that the control law chooses. It is never below the default. vCPUs on other CPUs than the I/O threads weigh more, so
that those CPUs carry their part of the instance's weight (see `stella.control.inner_weights`).

Quotas, for a ceiling or a best-effort throttle. libvirt has no group for all vCPUs together, so a bound over n vCPUs is spread
over them anew each tick. Such a spread goes stale when it is not renewed: these writes are temporary, and the guard lifts them.
Emulator, iothread and instance groups never get one: a throttled main loop holds up everything. The period is 50 ms: a vCPU
stands still for less than that, a tick of 250 ms holds five, and a quota stays above the kernel's 1 ms down to 2 % of a core;
the scheduler's overrun of up to a timer tick is booked as debt, so the mean holds. A burst that an administrator allowed is taken
away first where it is more than the quota, which the kernel would refuse, and given back after it.

Limits of links, for network ceilings: each direction of each tap has one, of packets and of bytes. A ceiling over several is spread
over them by the control law (`stella.control.link_ceilings`). Throttles of disks are planned alike, within what others set
(`stella.control.block_limits`); the disks of an instance that share a limit are a group of QEMU's.

What restrains (quota, CPU set, policy of threads, the weight of the group above all instances, which restrains host services) is
marked temporary. A frozen instance is given back all of that, and is set nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from stella.control.inner_weights import io_weight
from stella.linux import cgroup, cpuset, scheduling
from stella.linux.block_throttle import before_stella, group_of, show_throttle
from stella.linux.link_limit import show_limit
from stella.model.allocation import Decision, InstanceDecision, Write
from stella.model.snapshot import (
    NO_LIMIT,
    GroupReading,
    HostReading,
    InstanceReading,
    LinkLimit,
    Quota,
    Role,
    Snapshot,
    Throttle,
)
from stella.model.target import Target, cgroup_target, disk_target, link_target, thread_policy_target

INSTANCE_DEADBAND_RATIO = 0.02
INNER_DEADBAND_RATIO = 0.2
QUOTA_DEADBAND_RATIO = 0.005
QUOTA_PERIOD_US = 50_000
THROTTLE_DEADBAND_RATIO = 0.03
SHARES_PER_CORE_V1 = 10_240.0
_VERBS = {"tx": "sends", "rx": "receives"}
_IO_ROLES = (Role.EMULATOR, Role.IOTHREAD)
_WHY_LIFTED = "migrating, paused or not seen well enough: nothing restrains it"


def part_of(group: GroupReading) -> str:
    """What of an instance a group is, for people."""
    return f"{group.role} {group.index}" if group.role else ""


def quota_targets(host: HostReading, group: GroupReading, instance: str) -> tuple[tuple[Target, str], ...]:
    """The knobs that hold a group's quota, each with what it holds now: one under v2, quota and period under v1."""
    files = cgroup.files(host.cgroup_version)
    place = f"{host.cgroup_mount}{group.path}"
    quota = cgroup_target(place, files.quota, instance=instance, part=part_of(group))
    if files.version == 2:
        return ((quota, cgroup.show_quota_v2(group.quota)),)
    period = cgroup_target(place, files.period, instance=instance, part=part_of(group))
    return ((quota, cgroup.show_quota_v1(group.quota)), (period, str(group.quota.period_us)))


def cpuset_target(host: HostReading, group: GroupReading, instance: str) -> Target | None:
    """The knob that holds a group's CPUs; None where there is none."""
    if group.role is None or group.cpus is None or not host.cpuset_mount:
        return None
    return cgroup_target(f"{host.cpuset_mount}{group.path}", cgroup.CPUSET, instance=instance, part=part_of(group))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knobs:
    """Writes for the groups of one hierarchy. ``originals``: what knobs held before Stella, as journalled."""

    files: cgroup.CpuFiles
    host: HostReading
    originals: Mapping[Target, str]
    instance: str = ""

    def target(self, group: GroupReading, name: str) -> Target:
        place = f"{self.host.cgroup_mount}{group.path}"
        return cgroup_target(place, name, instance=self.instance, part=part_of(group))

    def weight(
        self, group: GroupReading, wanted: float, deadband_ratio: float, reason: str, *, temporary: bool = False
    ) -> Iterator[Write]:
        value = self.files.clamp(wanted)
        if value == group.weight:
            return
        target = self.target(group, self.files.weight)
        lifts = self.originals.get(target) == str(value)
        exactly = lifts or value in (self.files.smallest_weight, self.files.largest_weight)
        if abs(value - group.weight) > deadband_ratio * group.weight or exactly:
            yield Write(
                target=target,
                value=str(value),
                previous=str(group.weight),
                reason=reason,
                temporary=temporary,
                lifts=lifts,
            )

    def quota(self, group: GroupReading, wanted: Quota, reason: str, *, lifts: bool) -> Iterator[Write]:
        """Under v1 two files: the period first, since a quota is evaluated by the period that stands."""
        held = quota_targets(self.host, group, self.instance)
        values = [(*held[0], cgroup.show_quota_v2(wanted) if self.files.version == 2 else cgroup.show_quota_v1(wanted))]
        if self.files.version == 1:
            if group.quota.period_us != wanted.period_us:
                values.insert(0, (*held[1], str(wanted.period_us)))
            if lifts and group.quota.quota_us == wanted.quota_us:
                values.pop()
        burst = self.target(group, self.files.burst)
        if not lifts and wanted.quota_us is not None and group.burst_us > wanted.quota_us:
            values.insert(0, (burst, str(group.burst_us), "0"))
        if lifts and burst in self.originals:
            values.append((burst, str(group.burst_us), self.originals[burst]))
        for target, previous, value in values:
            yield Write(target=target, value=value, previous=previous, reason=reason, temporary=True, lifts=lifts)

    def allowed_quota(self, group: GroupReading) -> tuple[Quota, bool]:
        """The quota this group is allowed, and whether Stella ever set one here."""
        held = quota_targets(self.host, group, self.instance)
        texts = [self.originals.get(target) for target, _ in held]
        ours = any(text is not None for text in texts)
        if group.allowed_quota is not None:
            return group.allowed_quota, ours
        now = [text if text is not None else holds for text, (_, holds) in zip(texts, held, strict=True)]
        return (cgroup.parse_quota_v2(*now) if self.files.version == 2 else cgroup.parse_quota_v1(*now)), ours


def weight_per_core(files: cgroup.CpuFiles, cores: int) -> float:
    """Weight of an allocation of one core: as fine as the range allows for one entitled to twice the host (idle ones may be)."""
    largest = files.largest_weight / (2 * max(cores, 1))
    return min(SHARES_PER_CORE_V1, largest) if files.version == 1 else largest


def plan(snapshot: Snapshot, decision: Decision, originals: Mapping[Target, str] | None = None) -> tuple[Write, ...]:
    """The writes that bring the host's knobs to ``decision``, in the order they are to be made.

    ``originals``: journalled values. They tell an administrator's own quota, which Stella never exceeds, and what to go back to
    when a ceiling is no longer wanted. A frozen instance is only given back what restrains it; one that was not seen gets nothing.
    Parents come before children, those who gain before those who give, and lifted restraints before new ones.
    """
    host = snapshot.host
    knobs = _Knobs(files=cgroup.files(host.cgroup_version), host=host, originals=originals or {})
    per_core = weight_per_core(knobs.files, host.cores)
    writes: list[Write] = []
    if decision.parent_weight_factor is not None:
        for group in host.parents:
            original = knobs.originals.get(knobs.target(group, knobs.files.weight))
            wanted = (int(original) if original else group.weight) * decision.parent_weight_factor
            writes += knobs.weight(
                group, wanted, INSTANCE_DEADBAND_RATIO, "instances beside host services", temporary=True
            )
    outer: list[Write] = []
    inner: list[Write] = []
    links: list[Write] = []
    readings = {reading.uuid: reading for reading in snapshot.instances}
    for each in decision.instances:
        seen = readings.get(each.uuid)
        if seen is None:
            continue
        of_instance = replace(knobs, instance=each.uuid)
        if not each.frozen and seen.groups is not None:
            outer += _outer(of_instance, seen, each, per_core)
            inner += _inner(of_instance, seen, each)
        inner += _ceilings(of_instance, seen, each)
        inner += _placed(of_instance, seen, each)
        inner += _thread_policies(seen, each, knobs.originals)
        links += _links(seen, each)
        links += _disks(seen, each, knobs.originals)
    outer.sort(key=lambda write: int(write.value) < int(write.previous))
    inner.sort(key=lambda write: write.temporary and not write.lifts)
    links.sort(key=lambda write: not write.lifts)
    return (*writes, *outer, *inner, *links)


def _outer(knobs: _Knobs, seen: InstanceReading, each: InstanceDecision, per_core: float) -> Iterator[Write]:
    own = seen.group(None)
    if own is not None:
        reason = f"{each.name}: allocation {each.cpu.allocation_cores:.2f} cores"
        yield from knobs.weight(own, each.cpu.allocation_cores * per_core, INSTANCE_DEADBAND_RATIO, reason)


def _inner(knobs: _Knobs, seen: InstanceReading, each: InstanceDecision) -> Iterator[Write]:
    groups = [group for group in seen.groups or () if group.role is not None]
    before = {g.path: knobs.originals.get(knobs.target(g, knobs.files.weight)) for g in groups}
    if not each.managed:
        for group in groups:
            if (original := before[group.path]) is not None:
                yield from knobs.weight(group, int(original), 0.0, f"{seen.name}: no SLO any more")
        return
    vcpus = {g.path: float(before[g.path] or g.weight) for g in groups if g.role is Role.VCPU}
    if not vcpus:
        return
    one = sum(vcpus.values()) / len(vcpus)
    serving = max(
        one * io_weight(each.cpu.io_ratio, each.cpu.io_weight_factor, vcpus=len(vcpus)), knobs.files.default_weight
    )
    factors = each.cpu.vcpu_weight_factors
    for group in groups:
        if group.role in _IO_ROLES:
            reason = f"{seen.name}: {group.role} {group.index} beside its vCPUs, I/O {each.cpu.io_ratio:.0%} of its CPU"
            yield from knobs.weight(group, serving, INNER_DEADBAND_RATIO, reason)
        elif group.path in vcpus and (factors or before[group.path] is not None):
            factor = factors[group.index] if group.index < len(factors) else 1.0
            reason = f"{seen.name}: vCPU {group.index} times {factor:.1f}: its CPU's part of the instance's weight"
            yield from knobs.weight(group, vcpus[group.path] * factor, INNER_DEADBAND_RATIO, reason)


def _ceilings(knobs: _Knobs, seen: InstanceReading, each: InstanceDecision) -> Iterator[Write]:
    ceilings = () if each.frozen else each.cpu.vcpu_ceilings_cores
    for group in seen.groups or ():
        if group.role is not Role.VCPU:
            continue
        ceiling = ceilings[group.index] if group.index < len(ceilings) else None
        if ceiling is None and group.allowed_quota == group.quota:
            continue  # most groups of most hosts: nothing need be looked up
        allowed, ours = knobs.allowed_quota(group)
        if ceiling is None:
            if ours and allowed != group.quota:
                why = _WHY_LIFTED if each.frozen else "no ceiling any more"
                yield from knobs.quota(group, allowed, f"{each.name}: {why}", lifts=True)
            continue
        if allowed.quota_us is not None:
            ceiling = min(ceiling, allowed.quota_us / allowed.period_us)
        wanted = Quota(
            quota_us=max(round(ceiling * QUOTA_PERIOD_US), cgroup.SMALLEST_QUOTA_US), period_us=QUOTA_PERIOD_US
        )
        if _differs(group.quota, wanted):
            reason = f"{each.name}: vCPU {group.index} ceiling {ceiling:.3f} cores"
            yield from knobs.quota(group, wanted, reason, lifts=False)


def _placed(knobs: _Knobs, seen: InstanceReading, each: InstanceDecision) -> Iterator[Write]:
    """Confine stages to CPUs, within what libvirt or an administrator allowed; without a placement as before."""
    wanted = {} if each.frozen else {(role, index): cpus for role, index, cpus in each.cpu.placement}
    for group in seen.groups or ():
        homes = wanted.get((group.role, group.index), ()) if group.role is not None else ()
        may = group.allowed_cpus
        if (homes == group.cpus and may and set(homes) <= set(may)) or (not homes and may == group.cpus):
            continue  # most groups of most hosts: nothing need be looked up
        target = cpuset_target(knobs.host, group, each.uuid)
        if target is None or group.role is None or group.cpus is None:
            continue
        original = knobs.originals.get(target)
        allowed = cpuset.parse_cpus(original) if original is not None else group.cpus
        cpus = tuple(c for c in homes if c in allowed or not allowed)
        if cpus:
            value = cpuset.show_cpus(cpus)
            reason = f"{each.name}: {group.role} {group.index} on CPU {value} while the host is full"
        elif original is not None:
            value = original
            reason = f"{each.name}: {_WHY_LIFTED if each.frozen else f'{group.role} {group.index} on any CPU again'}"
        else:
            continue
        if cpuset.parse_cpus(value) != group.cpus:
            previous = cpuset.show_cpus(group.cpus)
            yield Write(target=target, value=value, previous=previous, reason=reason, temporary=True, lifts=not cpus)


def _links(seen: InstanceReading, each: InstanceDecision) -> Iterator[Write]:
    """The limits of links. A ceiling that was asked for stays when the agent dies; a limit below it is a restraint, which leaves it.

    A frozen instance keeps its ceilings, and is only given back what a restraint took.
    """
    wanted = {(one.device, one.direction): one for one in each.network}
    for link in seen.links or ():
        for direction in ("tx", "rx"):
            one, now = wanted.get((link.name, direction)), link.limit(direction)
            limit, ceiling = (one.limit, one.ceiling) if one else (NO_LIMIT, NO_LIMIT)
            if limit == now or (each.frozen and not (limit == ceiling and _is_below(now, ceiling))):
                continue
            what = "no limit" if limit == NO_LIMIT else "ceiling" if limit == ceiling else "share of the full uplink"
            yield Write(
                target=link_target(link.name, direction, instance=each.uuid),
                value=show_limit(limit),
                previous=show_limit(now),
                reason=f"{each.name}: {what} for what it {_VERBS[direction]}",
                temporary=limit != ceiling,
                lifts=limit == NO_LIMIT or (limit == ceiling and _is_below(now, ceiling)),
                fallback=show_limit(ceiling),
            )


def _is_below(now: LinkLimit, ceiling: LinkLimit) -> bool:
    """Whether bytes or packets are limited to less than a ceiling: by a restraint, then."""
    pairs = (now.bytes, ceiling.bytes), (now.packets, ceiling.packets)
    return any(held is not None and (most is None or held < most) for held, most in pairs)


def _disks(seen: InstanceReading, each: InstanceDecision, originals: Mapping[Target, str]) -> Iterator[Write]:
    """The throttles of disks, as limits of links. One that came along with a migration is set again, so that the journal knows it."""
    wanted = {one.disk: one for one in each.block}
    for disk in seen.disks or ():
        now, allowed, one = disk.throttle, disk.allowed_throttle, wanted.get(disk.name)
        if now is None or allowed is None or (one is None and now == allowed):
            continue
        limit = _grouped(one.unit, one.limit, allowed) if one else allowed
        ceiling = _grouped(one.unit, one.ceiling, allowed) if one else allowed
        target = disk_target(seen.pid, disk.name, instance=each.uuid)
        known = target in originals or before_stella(now) is None
        if (limit == now and known) or (each.frozen and not (limit == ceiling and _is_tighter(now, ceiling))):
            continue
        if limit != ceiling and known and _is_close(now, limit):
            continue
        what = (
            "no limit of Stella's" if limit == allowed else "ceiling" if limit == ceiling else "share of its back end"
        )
        yield Write(
            target=target,
            value=show_throttle(limit),
            previous=show_throttle(now),
            reason=f"{each.name}: {what} for disk {disk.name}",
            temporary=limit != ceiling,
            lifts=limit == allowed or (limit == ceiling and _is_tighter(now, ceiling)),
            fallback=show_throttle(ceiling),
        )


def _grouped(unit: str, throttle: Throttle, allowed: Throttle) -> Throttle:
    """In Stella's group, unless it is what others set."""
    return allowed if throttle.limits == allowed.limits else replace(throttle, group=group_of(unit, allowed))


def _is_tighter(now: Throttle, ceiling: Throttle) -> bool:
    """Whether a disk has less than a ceiling: by a restraint, then."""
    return any(value < (ceiling.limit(name) or float("inf")) for name, value in now.limits if name.endswith("_sec"))


def _is_close(now: Throttle, limit: Throttle) -> bool:
    """Whether a restraint still serves: it differs by little from what is wanted."""
    if now.group != limit.group or [name for name, _ in now.limits] != [name for name, _ in limit.limits]:
        return False
    return all(
        abs(value - old) <= THROTTLE_DEADBAND_RATIO * old
        for (_, old), (_, value) in zip(now.limits, limit.limits, strict=True)
    )


def _thread_policies(seen: InstanceReading, each: InstanceDecision, originals: Mapping[Target, str]) -> Iterator[Write]:
    """Which threads batch. One that another program made so, or that is of another scheduler, is left alone."""
    for thread in seen.threads or ():
        batches = thread.role in each.cpu.batching and not each.frozen
        if thread.policy != (scheduling.OTHER if batches else scheduling.BATCH):
            continue
        part = f"{thread.role} {thread.index}"
        target = thread_policy_target(seen.pid, thread.tid, instance=each.uuid, part=part)
        who = f"{each.name}: {part}"
        if batches:
            value, reason = scheduling.BATCHING, f"{who} batches"
        elif target in originals:
            value, reason = originals[target], f"{who} runs at once again"
        else:
            continue
        yield Write(
            target=target,
            value=value,
            previous=thread.policy or "",
            reason=reason,
            temporary=True,
            lifts=not batches,
        )


def _differs(now: Quota, wanted: Quota) -> bool:
    if now.quota_us is None or wanted.quota_us is None or now.period_us != wanted.period_us:
        return now != wanted
    return abs(now.quota_us - wanted.quota_us) > QUOTA_DEADBAND_RATIO * now.quota_us
