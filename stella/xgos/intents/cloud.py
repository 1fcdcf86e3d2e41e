"""What the cloud asks of this host, kept on disk, so that promises hold while the cloud cannot be reached.

`CloudSource.publish` is called by the thread that talks to stella-api; it may block on the disk. The loop only polls.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stella.model import wire
from stella.model.slo import show_slo
from stella.xgos.durable_files import set_aside, write_atomically
from stella.xgos.intents.instance_names import canonical
from stella.xgos.intents.source import CLOUD, IntentSet, Wanted, wanted
from stella.xgos.intents.store_file import checksum

_LOG = logging.getLogger(__name__)
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    revision: int = 0
    slo: dict[str, dict[str, object]] | None = None
    error: str = ""
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payload:
    revision: int = 0
    slos: dict[str, _Stored] = field(default_factory=dict)
    mode: str = ""


class CloudSource:
    """The cloud's intents. `poll` may be called from any thread.

    ``mode`` is what the cloud last had this host in: observe, enforce or maintenance; empty where it never said.
    """

    name = CLOUD

    def __init__(self, path: Path, *, keep_mode: bool = True) -> None:
        """Read what is kept at ``path``; the mode in it only with ``keep_mode``: without a link nobody could change it."""
        self._path = path
        self.mode = ""
        self._publishing = threading.Lock()
        self._set: IntentSet | None = None
        self.persisted = True
        self._load()
        self.mode = self.mode if keep_mode else ""

    def poll(self) -> IntentSet | None:
        """See `IntentSource.poll`; None on a host that no cloud ever asked for anything."""
        return self._set

    @property
    def revision(self) -> int:
        """The revision of the last set; 0 when there is none."""
        found = self._set
        return found.revision if found else 0

    def publish(self, revision: int, slos: Mapping[str, Wanted], *, mode: str = "") -> bool:
        """Ask for exactly ``slos`` (by uuid) and ``mode`` from now on, and keep them on disk; returns whether the disk took them.

        `stella.xgos.intents.source.wanted` reads one from what the API sent.
        """
        with self._publishing:
            found = IntentSet(revision=revision, wanted={canonical(uuid): slo for uuid, slo in slos.items()})
            try:
                write_atomically(self._path, _print(found, mode))
                self.persisted = True
            except OSError as error:
                _LOG.error("%s: %s; the cloud's intents go on in memory", self._path, error.strerror)
                self.persisted = False
            self._set, self.mode = found, mode
            return self.persisted

    def save(self) -> bool:
        """Try again what the disk did not take; returns `persisted`. Blocks on the disk: not for the tick's thread."""
        found = self._set
        if self.persisted or found is None:
            return self.persisted
        with self._publishing:
            if found is self._set:
                try:
                    write_atomically(self._path, _print(found, self.mode))
                    self.persisted = True
                except OSError:
                    self.persisted = False
            return self.persisted

    def _load(self) -> None:
        try:
            self._set, self.mode = _parse(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except OSError as error:
            _LOG.error("%s: %s; starting without the cloud's intents", self._path, error.strerror)
        except ValueError as error:
            set_aside(self._path, str(error))


def _print(found: IntentSet, mode: str) -> str:
    slos = {
        uuid: _Stored(
            revision=one.revision,
            slo=show_slo(one.slo) if one.slo else None,
            error=one.error,
            accepted=one.accepted,
        )
        for uuid, one in found.wanted.items()
    }
    payload = wire.encode(_Payload(revision=found.revision, slos=slos, mode=mode))
    return wire.dumps({"version": VERSION, "checksum": checksum(payload), "payload": payload}) + "\n"


def _parse(text: bytes) -> tuple[IntentSet, str]:
    """Raises ValueError for whatever is not a whole file of this version."""
    found = wire.parse(text)
    if not isinstance(found, dict) or not isinstance(found.get("payload"), dict):
        raise ValueError("is not a file of intents")
    if found.get("version") != VERSION:
        raise ValueError(f"has version {found.get('version')}, not {VERSION}")
    if found.get("checksum") != checksum(found["payload"]):
        raise ValueError("has a wrong checksum")
    payload = wire.decode(_Payload, found["payload"])
    found_set = IntentSet(
        revision=payload.revision,
        wanted={
            uuid: wanted(one.slo, one.revision, accepted=one.accepted)
            if one.slo is not None
            else Wanted(slo=None, revision=one.revision, error=one.error)
            for uuid, one in payload.slos.items()
        },
    )
    return found_set, payload.mode
