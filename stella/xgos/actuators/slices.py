"""Sets scheduler slices of I/O threads. Its read-back is the next tick's sensing."""

from stella.model.allocation import Outcome, Write, WriteResult
from stella.xgos.host_files import InstanceGone, Unsupported, WriteFailed
from stella.xgos.host_scheduler import HostScheduler


class SliceActuator:
    """Slices, of threads that are still the ones they were when sensed."""

    def __init__(self, scheduler: HostScheduler) -> None:
        self._scheduler = scheduler

    def apply(self, write: Write) -> Outcome:
        """Make one write and tell what became of it; never raises."""
        try:
            self._scheduler.write_slice(write.path, write.value)
        except Unsupported as error:
            return Outcome(write=write, result=WriteResult.UNSUPPORTED, error=str(error))
        except InstanceGone as error:
            return Outcome(write=write, result=WriteResult.GONE, error=str(error))
        except WriteFailed as error:
            return Outcome(write=write, result=WriteResult.FAILED, error=str(error))
        return Outcome(write=write, result=WriteResult.WRITTEN)
