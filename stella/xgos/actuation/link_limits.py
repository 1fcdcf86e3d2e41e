"""Limits of links as an actuator: one knob for each direction of a tap. A tap is identified by its index."""

import errno
import socket

from stella.linux import cgroup
from stella.linux.link_limit import parse_limit, show_limit
from stella.model.target import Target
from stella.xgos.host_files import Gone, InstanceGone, Unavailable, Unsupported, WriteFailed
from stella.xgos.link_limits import LinkLimits

_ABSENT = (errno.ENODEV, errno.ENXIO)
_UNKNOWN = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


class LinkActuator:
    """See `stella.xgos.actuation.actuators.Actuator`. The kernel answers at once, so that nothing waits."""

    blocking = False

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits

    def identity(self, target: Target) -> str:
        """See `Actuator.identity`."""
        try:
            return str(socket.if_nametoindex(target.place))
        except OSError as error:
            raise Gone(f"{target.place}: {error.strerror or error}") from None

    def read(self, target: Target) -> str:
        """See `Actuator.read`."""
        index = int(self.identity(target))
        try:
            return show_limit(self._limits.limit(target.place, index, target.knob))
        except OSError as error:
            raise Unavailable(f"{target}: {error.strerror or error}") from None

    def write(self, target: Target, value: str, identity: str) -> None:
        """See `Actuator.write`."""
        try:
            if self.identity(target) != identity:
                raise InstanceGone(f"{target.place}: another device has this name now")
            self._limits.set(target.place, target.knob, parse_limit(value))
        except Unavailable as error:
            raise InstanceGone(str(error)) from None
        except cgroup.InvalidText as error:
            raise WriteFailed(f"{target}: {error}") from None
        except OSError as error:
            text = f"{target}: {error.strerror or error}"
            if error.errno in _ABSENT:
                raise InstanceGone(text) from None
            raise (Unsupported if error.errno in _UNKNOWN else WriteFailed)(text) from None

    def remove(self, target: Target) -> None:
        """What is left of a tap that is no more; of no tap in particular (an empty place): everything of ours."""
        try:
            if target.place:
                self._limits.forget(target.place, target.knob)
            else:
                self._limits.clear()
        except OSError as error:
            raise WriteFailed(f"{target}: {error.strerror or error}") from None
