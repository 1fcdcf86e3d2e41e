"""QEMU's throttles as an actuator: one knob for each disk of an instance, whose process tells it from a later run of it."""

from stella.linux import cgroup
from stella.linux.block_throttle import before_stella, parse_throttle, show_throttle
from stella.model.snapshot import Throttle
from stella.model.target import Target
from stella.xgos.block_throttles import BlockThrottles
from stella.xgos.host_files import Gone, HostFiles, Unsupported, WriteFailed


def before(text: str) -> str:
    """What a disk held before Stella, from what it holds: a throttle that came along with a migration may be Stella's already."""
    try:
        found = before_stella(parse_throttle(text))
    except cgroup.InvalidText:
        return text
    return text if found is None else show_throttle(found)


class DiskActuator:
    """See `stella.xgos.actuation.actuators.Actuator`. A write is put on its way and not waited for, unless `settle` is called."""

    blocking = False

    def __init__(self, files: HostFiles, throttles: BlockThrottles) -> None:
        self._files = files
        self._throttles = throttles

    def identity(self, target: Target) -> str:
        """See `Actuator.identity`: the moment at which QEMU's process started."""
        pid = target.place.rpartition("/")[2]
        return str(self._files.read_start_ticks(f"{target.place}/task/{pid}"))

    def read(self, target: Target) -> str:
        """See `Actuator.read`."""
        self.identity(target)  # of a process that ended nobody is asked
        return show_throttle(self._throttles.read(target.instance, target.knob))

    def write(self, target: Target, value: str, identity: str) -> None:
        """See `Actuator.write`. What became of the last write is told by the next one."""
        if self.identity(target) != identity:
            raise Gone(f"{target.place}: another process has this number now")
        try:
            throttle = parse_throttle(value)
        except cgroup.InvalidText as error:
            raise WriteFailed(f"{target}: {error}") from None
        self._throttles.put(target.instance, target.knob, throttle)

    def settle(self, target: Target, until_seconds: float) -> None:
        """See `stella.xgos.actuation.actuators.Delayed`."""
        self._throttles.settle(target.instance, target.knob, until_seconds)

    def remove(self, target: Target) -> None:
        """Disks are never made by Stella."""
        raise Unsupported(f"{target}: not made by Stella")

    def is_foreign(self, target: Target, holds: Throttle) -> bool:
        """Whether others set what a disk holds: without Stella's group, or in it with limits that Stella did not ask for.

        ``virsh blkdeviotune`` leaves a disk in its group.
        """
        return before_stella(holds) is None or not self._throttles.was_put(target.instance, target.knob, holds)
