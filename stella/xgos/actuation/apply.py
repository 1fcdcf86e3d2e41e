"""Makes the writes of a plan: journals first, passes each to its actuator, audits what became of it."""

from collections.abc import Sequence

from stella.model.allocation import Outcome, Write, WriteResult
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.cpu import CpuActuator
from stella.xgos.actuation.journal import Journal, Restored, release, restore
from stella.xgos.host_files import HostFiles


class Apply:
    """The only way to a knob. With ``dry_run`` nothing is touched, journalled or audited."""

    def __init__(self, files: HostFiles, journal: Journal, audit: Audit, *, dry_run: bool = False) -> None:
        self._files = files
        self.journal = journal
        self.audit = audit
        self.dry_run = dry_run
        self._cpu = CpuActuator(files)
        self._refused: set[str] = set()

    def apply(self, writes: Sequence[Write], wall_seconds: float) -> tuple[Outcome, ...]:
        """Make ``writes`` in their order; ``wall_seconds`` (Unix time) goes into the audit. Never raises.

        A knob that this host does not have is tried once. While the journal cannot be stored, restraints (temporary writes)
        are refused: nobody could lift them if this process died now. Weights go on: they only divide what there is.
        """
        if self.dry_run:
            return tuple(Outcome(write=write, result=WriteResult.DRY_RUN) for write in writes)
        todo = [write for write in writes if write.path not in self._refused]
        if todo:
            self.journal.record(self._files, todo)
        outcomes = tuple(self._one(write) for write in todo)
        self._refused.update(each.write.path for each in outcomes if each.result is WriteResult.UNSUPPORTED)
        self.audit.outcomes(wall_seconds, outcomes)
        return outcomes

    def _one(self, write: Write) -> Outcome:
        if write.temporary and self.journal.alarm:
            return Outcome(write=write, result=WriteResult.FAILED, error=f"not journalled: {self.journal.alarm}")
        return self._cpu.apply(write)

    def lift(self, wall_seconds: float) -> tuple[Restored, ...]:
        """Lift the restraints that a killed predecessor left. They stay in the journal: it keeps what they were before Stella."""
        if self.dry_run:
            return ()
        results = restore(self._files, self.journal.entries, temporary_only=True)
        for each in results:
            self.audit.event(wall_seconds, "lifted", path=each.path, value=each.value, gone=each.gone, error=each.error)
        return results

    def release(self, wall_seconds: float) -> tuple[Restored, ...]:
        """Put every knob back as it was and remove Stella's groups. Idempotent; what failed stays in the journal."""
        results = release(self._files, self.journal)
        for each in results:
            self.audit.event(
                wall_seconds, "released", path=each.path, value=each.value, gone=each.gone, error=each.error
            )
        return results
