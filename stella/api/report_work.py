"""One report being taken in: what its parts share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stella.db.database import Session
from stella.db.models import Host
from stella.db.reports import KnownInstance
from stella.db.slos import Origin

Section = Mapping[str, Any]
DEFAULT_PROJECT = "default"
"""The project of an instance whose host knows none, as under stand-alone libvirt."""


@dataclass(slots=True, kw_only=True)
class Work:
    """A host's report, and what is known so far. ``ignored``: what of it was not taken (uuid, reason)."""

    session: Session
    host: Host
    origin: Origin
    silent_seconds: float
    minute_retention_seconds: int
    ignored: list[tuple[str, str]] = field(default_factory=list)
    known: dict[str, KnownInstance] = field(default_factory=dict)

    def own(self, uuid: str, what: str) -> KnownInstance | None:
        """The instance, if it runs or ran last on this host."""
        instance = self.known.get(uuid.lower())
        if instance is None or self.host.id not in (instance.host_id, instance.previous_host_id):
            self.ignored.append((uuid, f"{what}: not an instance of this host"))
            return None
        return instance
