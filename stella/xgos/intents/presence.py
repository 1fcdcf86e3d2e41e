"""Where the instances are that have intents: running here, shut off, gone, or not known."""

import enum
from collections.abc import Iterable

from stella.model.snapshot import Snapshot

GONE_SECONDS = 60.0
"""For this long an instance must be undefined here before what was set aside for it is freed."""


class Presence(enum.Enum):
    """Where an instance is. Nothing is freed for one that is ``UNKNOWN``."""

    RUNNING = "running"
    SHUT_OFF = "shut off"
    GONE = "gone"
    UNKNOWN = "unknown"


class Whereabouts:
    """Follows the snapshots. An absence is counted only over snapshots in which the hypervisor answered."""

    def __init__(self) -> None:
        self._running: frozenset[str] = frozenset()
        self._shut_off: frozenset[str] = frozenset()
        self._absent: dict[str, float] = {}  # seconds for which each has been seen to be absent
        self._answered_at: float | None = None

    def follow(self, snapshot: Snapshot, uuids: Iterable[str]) -> None:
        """Take in a snapshot; ``uuids`` are the instances that matter."""
        self._running = frozenset(i.uuid for i in snapshot.instances)
        hypervisor = next((s for s in snapshot.sensors if s.name == "hypervisor"), None)
        if snapshot.shut_off is None or hypervisor is None or not hypervisor.ok:
            self._shut_off, self._answered_at = frozenset(), None
            self._absent = {uuid: seconds for uuid, seconds in self._absent.items() if uuid not in self._running}
            return
        now = snapshot.monotonic_seconds
        passed = now - self._answered_at if self._answered_at is not None else 0.0
        self._answered_at = now
        self._shut_off = frozenset(snapshot.shut_off) - self._running
        here = self._running | self._shut_off
        self._absent = {
            uuid: self._absent[uuid] + passed if uuid in self._absent else 0.0 for uuid in uuids if uuid not in here
        }

    def of(self, uuid: str) -> Presence:
        """Where this instance is."""
        if uuid in self._running:
            return Presence.RUNNING
        if uuid in self._shut_off:
            return Presence.SHUT_OFF
        return Presence.GONE if self._absent.get(uuid, 0.0) >= GONE_SECONDS else Presence.UNKNOWN

    @property
    def answered(self) -> bool:
        """Whether the hypervisor answered in the last snapshot."""
        return self._answered_at is not None
