"""Sets CPU knobs of cgroups. Its read-back is the next tick's sensing."""

from stella.model.allocation import Outcome, Write, WriteResult
from stella.xgos.host_files import HostFiles, InstanceGone, Unsupported, WriteFailed


class CpuActuator:
    """Weights and quotas."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def apply(self, write: Write) -> Outcome:
        """Make one write and tell what became of it; never raises."""
        try:
            self._files.write_knob(write.path, write.value)
        except Unsupported as error:
            return Outcome(write=write, result=WriteResult.UNSUPPORTED, error=str(error))
        except InstanceGone as error:
            return Outcome(write=write, result=WriteResult.GONE, error=str(error))
        except WriteFailed as error:
            return Outcome(write=write, result=WriteResult.FAILED, error=str(error))
        return Outcome(write=write, result=WriteResult.WRITTEN)
