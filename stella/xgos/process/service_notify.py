"""Tells the service manager how the agent is: sd_notify(3), with the standard library alone.

systemd passes the address of a datagram socket in ``NOTIFY_SOCKET`` (a path, or a name in the abstract namespace after ``@``) and the
watchdog's period in ``WATCHDOG_USEC`` for the process ``WATCHDOG_PID``. Without a service manager every call does nothing. No call
blocks or raises: a full or missing socket must not hold up a tick. A heartbeat that was not sent is sent with the next tick.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

_WATCHDOG_PERIODS_PER_HEARTBEAT = 4.0


class ServiceNotifier:
    """One notification socket: `ready` after the first tick, `heartbeat` after every tick, `stopping` before the host is restored."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """``environment`` is that of the process, unless another one is given. A wrong address is the same as none."""
        values = os.environ if environment is None else environment
        self._address = _address(values.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _watchdog_seconds(values)
        self._socket: socket.socket | None = None
        self._beaten_at: float | None = None
        self._ready = False
        if self._address:
            with contextlib.suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)

    @property
    def heartbeat_interval_seconds(self) -> float | None:
        """How often the watchdog is told, a quarter of its period; None without a watchdog."""
        return self.watchdog_seconds / _WATCHDOG_PERIODS_PER_HEARTBEAT if self.watchdog_seconds else None

    def ready(self, status: str = "") -> bool:
        """The agent works: its first tick has ended. ``status`` is one line for `systemctl status`."""
        return self._send("READY=1", *_status(status))

    def heartbeat(self, now_monotonic: float) -> bool:
        """The agent ticks. Call it after every tick; it sends only as often as the watchdog needs. ``now_monotonic`` in seconds."""
        interval = self.heartbeat_interval_seconds
        if interval is None or (self._beaten_at is not None and 0 <= now_monotonic - self._beaten_at < interval):
            return False
        if not self._send("WATCHDOG=1"):
            return False
        self._beaten_at = now_monotonic
        return True

    def after_tick(self, now_monotonic: float) -> None:
        """For the loop, after every tick: `ready` until the service manager was told once, then `heartbeat`."""
        self._ready = self._ready or self.ready()
        self.heartbeat(now_monotonic)

    def stopping(self, status: str = "") -> bool:
        """The agent ends and restores the host."""
        return self._send("STOPPING=1", *_status(status))

    def close(self) -> None:
        """Close the socket; may be called again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> bool:
        """Whether the service manager was told."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True


def _status(text: str) -> tuple[str, ...]:
    line = " ".join(text.split())
    return (f"STATUS={line}",) if line else ()


def _address(text: str) -> str:
    """The address for sendto: an abstract name begins with a zero byte. Empty when it is neither that nor an absolute path."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """The watchdog's period, if there is one for this process."""
    period, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (period.isascii() and period.isdigit()) or int(period) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(period) / 1e6
