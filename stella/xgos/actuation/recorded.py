"""Stands for what a recorded host has not: a kernel or a hypervisor behind its files. It holds nothing, and takes nothing."""

from stella.model.target import Target
from stella.xgos.host_files import Gone, Unsupported


class NothingThere:
    """See `stella.xgos.actuation.actuators.Actuator`."""

    blocking = False

    def identity(self, target: Target) -> str:
        """See `Actuator.identity`."""
        raise Gone(f"{target}: a recorded host")

    def read(self, target: Target) -> str:
        """See `Actuator.read`."""
        raise Gone(f"{target}: a recorded host")

    def write(self, target: Target, value: str, identity: str) -> None:
        """See `Actuator.write`."""
        raise Unsupported(f"{target}: a recorded host")

    def remove(self, target: Target) -> None:
        """See `Actuator.remove`."""
