"""Makes the writes of a plan: journals first, passes each to its actuator, audits what became of it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stella.model.allocation import Outcome, Write, WriteResult
from stella.model.snapshot import InstanceReading
from stella.model.target import Target, TargetKind, thread_policy_target
from stella.xgos.actuation.actuators import Actuators, lifting, same
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.restore import Restored, release, restore
from stella.xgos.host_files import Gone, InstanceGone, Unavailable, Unsupported, WriteFailed


class Apply:
    """The only way to a knob. With ``dry_run`` nothing is touched, journalled or audited."""

    def __init__(self, actuators: Actuators, journal: Journal, audit: Audit, *, dry_run: bool = False) -> None:
        self.journal = journal
        self.audit = audit
        self.dry_run = dry_run
        self.actuators = actuators
        self._refused: set[Target] = set()

    def apply(
        self,
        writes: Sequence[Write],
        wall_seconds: float,
        *,
        instances: Mapping[str, InstanceReading] | None = None,
        unguarded: Callable[[], str] = lambda: "",
    ) -> tuple[Outcome, ...]:
        """Make ``writes`` in their order; ``wall_seconds`` (Unix time) goes into the audit. Never raises.

        ``instances``: those the writes were planned for; nothing is written to one whose process is another one by now.
        ``unguarded``, asked after journalling, tells why a restraint could not be lifted now (empty: the guard could). Then, and
        while the journal cannot be stored, no restraint is set. Lifting one is never held up; weights only divide what there is.
        A knob that this host does not have is tried once.
        """
        if self.dry_run:
            return tuple(Outcome(write=write, result=WriteResult.DRY_RUN) for write in writes)
        todo = [write for write in writes if write.target not in self._refused]
        replaced = self._replaced(todo, instances or {})
        alive = [w for w in todo if w.target.instance not in replaced and not self.actuators[w.target.kind].blocking]
        others = self.journal.record(self.actuators, alive) if alive else frozenset()
        self.journal.record_fallbacks(alive)
        hindered = f"not journalled: {self.journal.alarm}" if self.journal.alarm else unguarded()
        outcomes = tuple(self._one(write, replaced, others, hindered) for write in todo)
        self._refused.update(each.write.target for each in outcomes if each.result is WriteResult.UNSUPPORTED)
        for each in outcomes:
            if each.result is WriteResult.GONE and each.write.lifts:
                self.journal.note_written(
                    each.write.target, each.write.value, lifts=True
                )  # nothing is restrained there any more
        self.audit.outcomes(wall_seconds, outcomes)
        return outcomes

    def _replaced(self, writes: Sequence[Write], instances: Mapping[str, InstanceReading]) -> Mapping[str, str]:
        """By uuid why nothing may be written: its process is gone, or another one has its number."""
        found = {}
        for uuid in {write.target.instance for write in writes}:
            seen = instances.get(uuid)
            if seen is None or not seen.start_ticks:
                continue
            main_thread = thread_policy_target(seen.pid, seen.pid, instance=uuid)
            try:
                now = self.actuators[main_thread.kind].identity(main_thread)
            except Gone:
                found[uuid] = f"process {seen.pid} has ended"
            except Unavailable as error:
                found[uuid] = str(error)
            else:
                if now != str(seen.start_ticks):
                    found[uuid] = f"process {seen.pid} is another one now"
        return found

    def _one(self, write: Write, replaced: Mapping[str, str], others: frozenset[Target], hindered: str) -> Outcome:
        target = write.target
        if target.instance in replaced:
            return Outcome(write=write, result=WriteResult.GONE, error=replaced[target.instance])
        if self.actuators[target.kind].blocking:
            return Outcome(write=write, result=WriteResult.UNSUPPORTED, error=f"{target}: its actuator blocks the tick")
        if target in others:
            return Outcome(write=write, result=WriteResult.GONE, error=f"{target}: another object has this name now")
        if write.temporary and not write.lifts and hindered:
            return Outcome(write=write, result=WriteResult.FAILED, error=hindered)
        try:
            return self._set(write)
        except (Unsupported, Unavailable, InstanceGone, WriteFailed) as error:
            gone = isinstance(error, InstanceGone | Gone)
            unsupported = isinstance(error, Unsupported)
            result = WriteResult.UNSUPPORTED if unsupported else WriteResult.GONE if gone else WriteResult.FAILED
            return Outcome(write=write, result=result, error=str(error))

    def _set(self, write: Write) -> Outcome:
        actuator, entry = self.actuators[write.target.kind], self.journal.entry(write.target)
        if entry is None:
            self._tell_why_unread(write.target)
            raise Unavailable(f"{write.target}: could not be read a moment ago")
        if write.temporary:
            now = actuator.read(write.target)
            known = (write.previous, entry.original, entry.fallback, self.journal.written(write.target))
            if not any(same(write.target.kind, now, each) for each in known if each is not None):
                return Outcome(
                    write=write, result=WriteResult.FAILED, error=f"{write.target}: changed meanwhile to {now!r}"
                )
        if write.lifts:
            write = replace(write, value=lifting(actuator, write.target, write.value))
        actuator.write(write.target, write.value, entry.identity)
        self.journal.note_written(write.target, write.value, lifts=write.lifts)
        return Outcome(write=write, result=WriteResult.WRITTEN)

    def _tell_why_unread(self, target: Target) -> None:
        """Raise what keeps a knob from being journalled: its object is gone, or has no such knob."""
        actuator = self.actuators[target.kind]
        actuator.identity(target)
        try:
            actuator.read(target)
        except Gone as error:
            actuator.identity(target)
            raise Unsupported(str(error)) from None

    def forget_absent(self, instances: frozenset[str]) -> None:
        """Let go of what was tried in vain on instances that are no longer here; ``instances``: those that are."""
        if self._refused:
            self._refused = {t for t in self._refused if not t.instance or t.instance in instances}

    def lift(self, wall_seconds: float) -> tuple[Restored, ...]:
        """Lift the restraints that a killed predecessor left. They stay in the journal: it keeps what they were before Stella."""
        if self.dry_run:
            return ()
        results = restore(self.actuators, self.journal.entries, temporary_only=True)
        for each in results:
            if not each.error:
                self.journal.note_written(each.target, each.value, lifts=True)
        self._tell("lifted", wall_seconds, results)
        return results

    def release(self, wall_seconds: float, *, made: bool = True) -> tuple[Restored, ...]:
        """Put every knob back as it was and remove what Stella ``made``. Idempotent; what failed stays in the journal."""
        results = release(self.actuators, self.journal, made=made)
        self.clear_strays()
        self._tell("released", wall_seconds, results)
        return results

    def clear_strays(self) -> None:
        """Remove limits of links that no journal knows any more: they are all Stella's, whichever agent set them."""
        actuator = self.actuators.get(TargetKind.LINK)
        if self.dry_run or actuator is None or any(e.target.kind is TargetKind.LINK for e in self.journal.entries):
            return
        with contextlib.suppress(WriteFailed):  # a kernel that cannot be asked has none
            actuator.remove(Target(kind=TargetKind.LINK, place="", knob=""))

    def _tell(self, event: str, wall_seconds: float, results: Sequence[Restored]) -> None:
        self.audit.lines(
            {
                "wall_seconds": round(wall_seconds, 3),
                "event": event,
                "target": str(each.target),
                "instance": each.target.instance,
                "value": each.value,
                "gone": each.gone,
                "error": each.error,
            }
            for each in results
        )
