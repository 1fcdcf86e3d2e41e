"""QEMU's throttles of disks, through libvirt: read by sensing, set by actuation, lifted by the guard too.

libvirt passes a change on to QEMU's monitor, which answers from QEMU's main loop: on a starved instance that takes hundreds of
milliseconds, on a stopped one for ever. So a change is put into a queue that a few threads work off, each with a connection of its
own, and nothing waits for it but a release. An instance with a change under way is not given another one; a thread that waits for
longer than the deadline is counted out, and another one started for it.

What holds now is what libvirt last told, or what was put since. The guard (a Python without site-packages) imports
this module too, so that its threads are plain ones: what fails is told to whoever asked for it.
"""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from stella.linux.block_throttle import parameters
from stella.linux.cgroup import InvalidText
from stella.model.snapshot import NO_THROTTLE, Throttle
from stella.xgos.host_files import InstanceGone, Unavailable, Unsupported, WriteFailed

DEADLINE_SECONDS = 2.0
_WORKERS, _MOST_WORKERS = 2, 8
_HURRY_SECONDS = 0.5
_READ_SECONDS = 0.1
"""The agent reads within a tick; what it asks for has been sensed but for an instance that just went."""
_IDLE_SECONDS = 5.0
_KEPT_PUTS = 8

Key = tuple[str, str]


class Setter(Protocol):
    """One connection to a hypervisor. Every method may block."""

    def set(self, uuid: str, disk: str, throttle: Throttle) -> None:
        """Limit a disk. Raises `InstanceGone`, `Unsupported`, `WriteFailed` or `Unavailable`."""

    def read(self, uuid: str, disk: str) -> Throttle:
        """What a disk is limited to. Raises `Unavailable` or `InstanceGone`."""

    def close(self) -> None:
        """Let the connection go."""


@dataclass(slots=True)
class _Known:
    """One disk: what libvirt told and what was set, each with its moment (monotonic), and what was asked for lately."""

    sensed: tuple[float, Throttle] | None = None
    done: tuple[float, Throttle] | None = None
    puts: list[Throttle] = field(default_factory=list)
    error: Exception | None = None


class BlockThrottles:
    """The throttles of all disks, always at hand without waiting. For several threads."""

    def __init__(
        self, connect: Callable[[], Setter], *, remembers: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Without ``remembers`` libvirt is asked at each `read`, and waited for: not for the agent, whose sensing tells what holds."""
        self._connect, self._remembers = connect, remembers
        self._monotonic = monotonic
        self._known: dict[Key, _Known] = {}
        self._waiting: OrderedDict[Key, Throttle | None] = OrderedDict()
        self._busy: dict[str, tuple[float, str, Throttle | None]] = {}
        self._workers = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()

    def sensed(self, uuid: str, disk: str, throttle: Throttle, at_seconds: float) -> Throttle:
        """What holds now, where libvirt told ``throttle`` when it was asked at ``at_seconds`` (monotonic)."""
        with self._changed:
            known = self._known.setdefault((uuid, disk), _Known())
            known.sensed = (at_seconds, throttle)
            return self._now(uuid, disk, known) or throttle

    def _now(self, uuid: str, disk: str, known: _Known) -> Throttle | None:
        coming = self._waiting.get((uuid, disk))
        busy = self._busy.get(uuid)
        if coming is None and busy and busy[1] == disk and self._monotonic() - busy[0] < DEADLINE_SECONDS:
            coming = busy[2]
        if coming is not None:
            return coming
        found = max((one for one in (known.sensed, known.done) if one), key=lambda one: one[0], default=None)
        return found[1] if found else None

    def read(self, uuid: str, disk: str) -> Throttle:
        """What holds now; asks libvirt, and waits for it, where nothing is known. Raises `Unavailable` or `InstanceGone`."""
        key = (uuid, disk)
        with self._changed:
            known = self._known.setdefault(key, _Known())
            if not self._remembers:
                known.sensed = known.done = None
            now = self._now(uuid, disk, known)
            if now is not None:
                return now
            self._waiting.setdefault(key, None)
            self._hire()
        self._wait(key, self._monotonic() + (_READ_SECONDS if self._remembers else DEADLINE_SECONDS))
        with self._changed:
            now = self._now(uuid, disk, known)
            error, known.error = known.error, None
            if now is None:
                raise error or Unavailable(f"{disk}: libvirt does not answer")
            return now

    def put(self, uuid: str, disk: str, throttle: Throttle) -> None:
        """Have it set soon. Raises what became of the last one, if it could not be set; then nothing is put."""
        key = (uuid, disk)
        with self._changed:
            known = self._known.setdefault(key, _Known())
            error, known.error = known.error, None
            if error is not None:
                raise error
            since = self._busy.get(uuid)
            if since is not None and self._monotonic() - since[0] >= DEADLINE_SECONDS:
                raise WriteFailed(f"{disk}: libvirt or QEMU's monitor does not answer")
            known.puts = [*known.puts[1 - _KEPT_PUTS :], throttle]
            self._waiting[key] = throttle
            self._waiting.move_to_end(key)
            self._hire()

    def settle(self, uuid: str, disk: str, until_seconds: float) -> None:
        """Wait until what was put holds, until this monotonic second. Raises as `put`, and `WriteFailed` when it takes longer."""
        if not self._wait((uuid, disk), until_seconds):
            raise WriteFailed(f"{disk}: libvirt or QEMU's monitor does not answer")
        with self._changed:
            known = self._known.get((uuid, disk))
            error = known.error if known else None
            if known is not None and error is not None:
                known.error = None
                raise error

    def drain(self, seconds: float) -> None:
        """Wait until nothing is on its way, at most for so long."""
        end = self._monotonic() + seconds
        with self._changed:
            while (self._waiting or self._busy) and (left := end - self._monotonic()) > 0:
                self._changed.wait(left)

    def was_put(self, uuid: str, disk: str, throttle: Throttle) -> bool:
        """Whether this process asked for it lately; True as well where it asked for nothing yet."""
        with self._changed:
            known = self._known.get((uuid, disk))
            return known is None or not known.puts or throttle in known.puts

    def keep(self, uuids: frozenset[str]) -> None:
        """Forget all instances but these."""
        with self._changed:
            self._known = {key: known for key, known in self._known.items() if key[0] in uuids}

    def close(self) -> None:
        """End the threads once they have nothing to do; does not wait for them."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def _wait(self, key: Key, until_seconds: float) -> bool:
        def settled() -> bool:
            busy = self._busy.get(key[0])
            return key not in self._waiting and not (busy and busy[1] == key[1])

        with self._changed:
            while not settled():
                left = until_seconds - self._monotonic()
                if left <= 0:
                    return False
                self._hire()
                self._changed.wait(min(left, 0.1))
            return True

    def _hire(self) -> None:
        """Have enough threads: those that wait for an answer for long do not count."""
        now = self._monotonic()
        stuck = sum(now - since >= _HURRY_SECONDS for since, _, _ in self._busy.values())
        if self._workers - stuck < min(_WORKERS, len(self._waiting)) and self._workers < _MOST_WORKERS:
            self._workers += 1
            threading.Thread(target=self._run, name="throttles", daemon=True).start()
        self._changed.notify_all()

    def _take(self) -> tuple[Key, Throttle | None] | None:
        """The change that waits longest of an instance that has none under way; None when there was none for a while."""
        with self._changed:
            end = self._monotonic() + _IDLE_SECONDS
            while True:
                key = next((each for each in self._waiting if each[0] not in self._busy), None)
                if key is not None:
                    throttle = self._waiting.pop(key)
                    self._busy[key[0]] = (self._monotonic(), key[1], throttle)
                    return key, throttle
                left = end - self._monotonic()
                if left <= 0 or (self._stop.is_set() and not self._waiting):
                    return None
                self._changed.wait(left)

    def _run(self) -> None:
        setter: Setter | None = None
        try:
            while (job := self._take()) is not None:
                key, throttle = job
                found, error = throttle, None
                try:
                    setter = setter or self._connect()
                    if throttle is None:
                        found = setter.read(*key)
                    else:
                        setter.set(*key, throttle)
                except Exception as problem:
                    known = isinstance(problem, InstanceGone | Unsupported | WriteFailed | Unavailable)
                    error = problem if known else WriteFailed(f"{key[1]}: {type(problem).__name__}: {problem}")
                self._finish(key, found, error, asked=throttle is not None)
        finally:
            with self._changed:
                self._workers -= 1
            if setter is not None:
                setter.close()

    def _finish(self, key: Key, throttle: Throttle | None, error: Exception | None, *, asked: bool) -> None:
        with self._changed:
            self._busy.pop(key[0], None)
            known = self._known.setdefault(key, _Known())
            known.error = error
            if error is None and throttle is not None:
                if asked:
                    known.done = (self._monotonic(), throttle)
                else:
                    known.sensed = (self._monotonic(), throttle)
            self._changed.notify_all()


class LibvirtThrottles:
    """libvirt over ``uri``, connected when first asked and again after an error."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: Any = None

    def _domain(self, uuid: str) -> Any:
        try:
            import libvirt  # noqa: PLC0415
        except ImportError as error:
            raise Unavailable(f"libvirt: {error}") from None
        try:
            if self._connection is None or not self._connection.isAlive():
                libvirt.registerErrorHandler(lambda _context, _error: None, None)
                self._connection = libvirt.open(self._uri)
            return self._connection.lookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                raise InstanceGone(f"instance {uuid}: {error}") from None
            self.close()
            raise Unavailable(f"libvirt: {error}") from None

    def set(self, uuid: str, disk: str, throttle: Throttle) -> None:
        """See `Setter`. A disk leaves a group only when nothing limits it, so that a throttle without a group takes two steps."""
        now = self.read(uuid, disk)
        steps = [parameters(throttle, now)]
        if not throttle.group and throttle.limits and now.group:
            steps = [parameters(NO_THROTTLE, now), parameters(throttle, NO_THROTTLE)]
        domain = self._domain(uuid)
        import libvirt  # noqa: PLC0415

        try:
            for step in filter(None, steps):
                domain.setBlockIoTune(disk, step, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            code, text = error.get_error_code(), f"{disk}: {error}"
            if code in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                raise InstanceGone(text) from None
            unsupported = (
                libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
                libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
                libvirt.VIR_ERR_NO_SUPPORT,
            )
            raise (Unsupported if code in unsupported else WriteFailed)(text) from None

    def read(self, uuid: str, disk: str) -> Throttle:
        """See `Setter`. From libvirt's own description of the instance, which waits for no monitor."""
        from stella.linux.domain_xml import parse_domain  # noqa: PLC0415

        domain = self._domain(uuid)
        import libvirt  # noqa: PLC0415

        try:
            disks = parse_domain(domain.XMLDesc(0)).block
        except (libvirt.libvirtError, InvalidText) as error:
            raise Unavailable(f"libvirt: {error}") from None
        found = next((each.throttle for each in disks if each.name == disk), None)
        if found is None:
            raise InstanceGone(f"{disk}: the instance has no such disk")
        return found

    def close(self) -> None:
        """See `Setter`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()
