"""Actuation as the loop sees it: what the host's knobs allow (`bounds`), what a decision makes of them (`act`), the heartbeat.

Other programs and administrators set knobs too. A restraint (quota, CPU set) that holds neither what Stella wrote nor the
journalled original was set by one of them: that is the new original, and Stella stays within it. A weight is set again, a few
times (`stella.xgos.actuation.reassertion`).
"""

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from stella.linux import cgroup, cpuset
from stella.linux.block_throttle import before_stella, parse_throttle, show_throttle
from stella.model.allocation import Decision, Outcome, Write
from stella.model.snapshot import DiskReading, GroupReading, HostReading, InstanceReading, Quota, Snapshot, Throttle
from stella.model.target import Target, TargetKind, disk_target
from stella.xgos.actuation.actuators import lifting, same
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.disk_throttles import DiskActuator
from stella.xgos.actuation.guard import SILENCE_SECONDS
from stella.xgos.actuation.journal_text import Entry
from stella.xgos.actuation.plan import cpuset_target, plan, quota_targets
from stella.xgos.actuation.reassertion import Reassertion

_LOG = logging.getLogger(__name__)
_PRUNE_SECONDS = 5.0
_PUT_BACK_SECONDS = 1.0
NO_GUARD = "no guard runs: restraints are not set"


class Guard(Protocol):
    """What lifts restraints when the agent stops ticking: `stella.xgos.actuation.guard_process.Guard` on a machine."""

    @property
    def alive(self) -> bool:
        """Whether it would lift them."""

    def ensure(self, monotonic_seconds: float) -> bool:
        """Beat; where there is no guard, start one. Never raises: False without one."""

    def beat(self) -> bool:
        """Tell it that the agent ticks; False when there is no guard any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """What a group is allowed, and from what that was found."""

    instance: str
    revision: int
    quota: Quota
    cpus: tuple[int, ...] | None
    allowed_cpus: tuple[int, ...] | None
    allowed_quota: Quota | None


class HostActuation:
    """Touches the host: the plan's writes through `Apply`, and the guard's heartbeat. With ``observe`` it writes nothing."""

    def __init__(self, apply: Apply, guard: Guard | None, *, observe: bool) -> None:
        self._apply = apply
        self._guard = guard
        self.observe = observe
        self._paused = False
        self._put_back_at = -math.inf
        self._reassertion = Reassertion()
        self._processes: dict[str, tuple[int, int]] = {}
        self._pruned_at = 0.0
        self._acted_at = -math.inf
        self._bounds: dict[str, _Bounds] = {}
        self.planned_writes: tuple[Write, ...] = ()

    def planned(self, snapshot: Snapshot, decision: Decision) -> tuple[Write, ...]:
        """What would be written now."""
        return plan(snapshot, decision, self._apply.journal.originals)

    # --- bounds -----------------------------------------------------------------------------------------------------

    def bounds(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with `allowed_cpus` and `allowed_quota` of every inner group filled in; foreign values are adopted."""
        self._forget_gone(snapshot)
        adopted: list[tuple[Target, str]] = []
        instances = tuple(
            replace(each, groups=tuple(self._bounded(snapshot.host, each, g, adopted) for g in each.groups))
            if each.groups is not None
            else each
            for each in (self._with_disks(one, adopted) for one in snapshot.instances)
        )
        if adopted:
            self._apply.journal.store()
            for target, value in adopted:
                _LOG.warning(
                    "%s: set to %r by another program or an administrator; Stella stays within it", target, value
                )
                self._apply.audit.event(
                    snapshot.wall_seconds, "adopted", target=str(target), instance=target.instance, value=value
                )
        return replace(snapshot, instances=instances)

    def _bounded(
        self, host: HostReading, instance: InstanceReading, group: GroupReading, adopted: list[tuple[Target, str]]
    ) -> GroupReading:
        if group.role is None:
            return group
        revision = self._apply.journal.revision(instance.uuid)
        known = self._bounds.get(group.path)
        if known is None or (known.revision, known.quota, known.cpus) != (revision, group.quota, group.cpus):
            allowed_cpus, allowed_quota = self._look_up(host, instance.uuid, group, adopted)
            known = self._bounds[group.path] = _Bounds(
                instance=instance.uuid,
                revision=self._apply.journal.revision(instance.uuid),
                quota=group.quota,
                cpus=group.cpus,
                allowed_cpus=allowed_cpus,
                allowed_quota=allowed_quota,
            )
        return replace(group, allowed_cpus=known.allowed_cpus, allowed_quota=known.allowed_quota)

    def _with_disks(self, instance: InstanceReading, adopted: list[tuple[Target, str]]) -> InstanceReading:
        """The instance with what its disks are allowed, as far as the journal knows more than their throttles tell."""
        disks = tuple(self._allowed(instance, disk, adopted) for disk in instance.disks or ())
        return replace(instance, disks=disks) if disks and disks != instance.disks else instance

    def _allowed(self, instance: InstanceReading, disk: DiskReading, adopted: list[tuple[Target, str]]) -> DiskReading:
        target = disk_target(instance.pid, disk.name, instance=instance.uuid)
        entry, actuator = self._apply.journal.entry(target), self._apply.actuators.get(TargetKind.DISK)
        if disk.throttle is None or entry is None or entry.original is None or not isinstance(actuator, DiskActuator):
            return disk
        original = entry.original
        if actuator.is_foreign(target, disk.throttle):
            original = self._original(
                target, show_throttle(replace(disk.throttle, group=_foreign_group(disk.throttle))), adopted
            )
        try:
            return replace(disk, allowed_throttle=parse_throttle(original))
        except cgroup.InvalidText as error:
            _LOG.debug("%s: %s", target, error)
            return disk

    def _look_up(
        self, host: HostReading, uuid: str, group: GroupReading, adopted: list[tuple[Target, str]]
    ) -> tuple[tuple[int, ...] | None, Quota | None]:
        """(CPUs, quota) that this group is allowed; None where that is not known."""
        texts = [self._original(t, holds, adopted) for t, holds in quota_targets(host, group, uuid)]
        quota: Quota | None = group.allowed_quota
        try:
            quota = cgroup.parse_quota_v2(*texts) if host.cgroup_version == 2 else cgroup.parse_quota_v1(*texts)
        except cgroup.InvalidText as error:
            _LOG.debug("%s: %s", group.path, error)
        cpus, target = group.allowed_cpus, cpuset_target(host, group, uuid)
        if target is not None and group.cpus is not None:
            text = self._original(target, cpuset.show_cpus(group.cpus), adopted)
            cpus = cpuset.parse_cpus(text) or host.cpus or None  # cgroup v2: empty is what its parent has
        return cpus, quota

    def _original(self, target: Target, holds: str, adopted: list[tuple[Target, str]]) -> str:
        """What ``target`` was allowed before Stella, given what it holds now."""
        journal = self._apply.journal
        entry = journal.entry(target)
        if entry is None or entry.original is None:
            return holds
        if same(target.kind, holds, entry.original):
            return entry.original
        ours = journal.written(target)
        if not entry.lifted if ours is None else same(target.kind, holds, ours):
            return entry.original
        if ours is None and same(target.kind, holds, self._left_by_the_guard(entry)):
            return entry.original
        if self._passive:
            return holds
        journal.adopt(target, holds)
        adopted.append((target, holds))
        return holds

    def _left_by_the_guard(self, entry: Entry) -> str:
        """What a restraint that the guard of an earlier agent lifted holds."""
        actuator, leaves = self._apply.actuators.get(entry.target.kind), entry.leaves or ""
        return leaves if actuator is None else lifting(actuator, entry.target, leaves)

    def _forget_gone(self, snapshot: Snapshot) -> None:
        """Let go of what belongs to processes that are not there any more: memory does not grow with each start of an instance."""
        before = self._processes
        self._processes = {i.uuid: (i.pid, i.start_ticks) for i in snapshot.instances}
        changed = self._processes != before
        if not changed and snapshot.monotonic_seconds - self._pruned_at < _PRUNE_SECONDS:
            return
        self._pruned_at = snapshot.monotonic_seconds
        same_process = frozenset(u for u, process in self._processes.items() if before.get(u) == process)
        self._bounds = {path: b for path, b in self._bounds.items() if b.instance in same_process}
        if self._passive:
            return
        threads = frozenset(
            f"/proc/{i.pid}/task/{t.tid}" for i in snapshot.instances if i.uuid in same_process for t in i.threads or ()
        )
        self._apply.journal.prune(self._apply.actuators, same_process, threads)
        self._apply.forget_absent(same_process)
        self._reassertion.forget_absent(same_process)

    @property
    def _passive(self) -> bool:
        return self.observe or self._paused or self._apply.dry_run

    # --- acting -----------------------------------------------------------------------------------------------------

    def act(self, snapshot: Snapshot, decision: Decision) -> tuple[tuple[Outcome, ...], int]:
        """See `stella.xgos.process.ports.Actuation.act`. The guard hears the heartbeat first: without one no restraint is set."""
        if self.observe or self._paused:
            self.planned_writes = self.planned(snapshot, decision)
            return (), 0
        now, journal = snapshot.monotonic_seconds, self._apply.journal
        if now - self._acted_at > SILENCE_SECONDS:
            journal.doubt_restraints()
        self._acted_at = now
        if self._guard is not None and not self._apply.dry_run:
            self._guard.ensure(now)
        lifted = (
            self._unseen(snapshot, decision) if not self._unguarded() else self._lifted(self._restrained(), NO_GUARD)
        )
        planned = (*lifted, *self.planned(snapshot, decision))
        self.planned_writes, reasserted, given_up = self._reassertion.sift(planned, journal, now)
        if reasserted:
            _LOG.warning(
                "%d knobs had been changed by another program or an administrator and are set again", reasserted
            )
        self._give_up(given_up, snapshot.wall_seconds)
        outcomes = self._apply.apply(
            self.planned_writes,
            snapshot.wall_seconds,
            instances={i.uuid: i for i in snapshot.instances},
            unguarded=self._unguarded,
        )
        return outcomes, reasserted

    def pause(self, paused: bool, monotonic_seconds: float, wall_seconds: float) -> None:
        """See `stella.xgos.process.ports.Actuation.pause`. What could not be put back is tried again each second.

        The agent's own group stays: it is no instance's.
        """
        if paused and not self.observe and not self._apply.dry_run:
            left = any(entry.original is not None for entry in self._apply.journal.entries)
            if left and (not self._paused or monotonic_seconds - self._put_back_at >= _PUT_BACK_SECONDS):
                self._put_back_at = monotonic_seconds
                for each in self._apply.release(wall_seconds, made=False):
                    if each.error:
                        _LOG.error("not restored: %s: %s", each.target, each.error)
        self._paused = paused

    def _unguarded(self) -> str:
        return "" if self._guard is not None and self._guard.alive else NO_GUARD

    def _restrained(self) -> list[Entry]:
        """The targets that Stella restrains now, or may restrain."""
        return [e for e in self._apply.journal.entries if self._apply.journal.restrains(e)]

    def _lifted(self, entries: Iterable[Entry], reason: str) -> Iterator[Write]:
        for entry in entries:
            if entry.leaves is not None:
                yield Write(
                    target=entry.target,
                    value=entry.leaves,
                    previous=self._apply.journal.written(entry.target) or "",
                    reason=reason,
                    temporary=True,
                    lifts=True,
                )

    def _unseen(self, snapshot: Snapshot, decision: Decision) -> Iterator[Write]:
        """Lift what restrains instances (or parts of them) that cannot be seen now."""
        restrained = [entry for entry in self._restrained() if entry.target.instance]
        if not restrained:
            return
        decided = {each.uuid for each in decision.instances}
        visible = _visible_places(snapshot, {e.target.instance for e in restrained} & decided)
        unseen = [entry for entry in restrained if entry.target.place not in visible]
        yield from self._lifted(unseen, "its instance cannot be seen now: nothing restrains it")

    def _give_up(self, writes: tuple[Write, ...], wall_seconds: float) -> None:
        for write in writes:
            _LOG.error("%s: another program keeps setting %r; this knob is left alone", write.target, write.previous)
            self._apply.audit.event(
                wall_seconds,
                "given up",
                target=str(write.target),
                instance=write.target.instance,
                value=write.previous,
                reason=write.reason,
            )
            if self._apply.journal.entry(write.target) is not None:
                self._apply.journal.adopt(write.target, write.previous)
        if writes:
            self._apply.journal.store()

    def beat(self) -> None:
        """Tell the guard that the agent ticks. Never raises; a guard that died is seen, and started again, before the next writes."""
        if self._guard is not None and self._guard.alive:
            self._guard.beat()


def _foreign_group(throttle: Throttle) -> str:
    return "" if before_stella(throttle) is not None else throttle.group


def _visible_places(snapshot: Snapshot, uuids: set[str]) -> set[str]:
    """The groups and threads of these instances that were seen."""
    host, places = snapshot.host, set[str]()
    for instance in snapshot.instances:
        if instance.uuid not in uuids:
            continue
        places.update(f"/proc/{instance.pid}/task/{thread.tid}" for thread in instance.threads or ())
        places.update(link.name for link in instance.links or ())
        if instance.disks:
            places.add(f"/proc/{instance.pid}")
        for group in instance.groups or ():
            places.add(f"{host.cgroup_mount}{group.path}")
            if group.cpus is not None and host.cpuset_mount:
                places.add(f"{host.cpuset_mount}{group.path}")
    return places
