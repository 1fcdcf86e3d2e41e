"""The declarative SLO file: YAML that names instances and what each is promised.

    instances:
      vm1: {network_packets: {floor: 20kpps, direction: tx}}
      0c2f…: {cpu: {floor: 20%}, block_bytes: {floor: 300MB/s}}

Precedence: an instance that the file names is kept as the file says, whatever was set by hand, and may not be set by hand while
it is named; what was set by hand before comes back into force when the file no longer names it. A name that several
instances have is given to none of them. A file that is wrong anywhere changes nothing. `stella.xgos.intents.reconcile` applies it.
"""

import logging
import os
import stat
import threading
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stella.model.slo import InvalidSlo, Slo, parse_slo
from stella.xgos import supervision
from stella.xgos.intents.instance_names import canonical
from stella.xgos.intents.source import FILE, IntentSet, Wanted

_LOG = logging.getLogger(__name__)
_LARGEST_BYTES = 4 * 1024 * 1024
POLL_SECONDS = 1.0


class _Loader(yaml.SafeLoader):
    """YAML whose mappings name each key once, without aliases (a small file could become a huge value)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise InvalidSlo("instances", "aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise InvalidSlo(_line(name), "is named twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


def _line(text: object) -> str:
    return " ".join(str(text).split())[:80]


def parse_slo_file(text: str | bytes) -> dict[str, Slo]:
    """Read the file into SLOs by the name or uuid it uses. Raises `InvalidSlo` that names the field, instance first."""
    try:
        found = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidSlo):
            raise
        raise InvalidSlo("slo_file", f"is not YAML: {' '.join(str(error).split())[:200]}") from None
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise InvalidSlo("slo_file", "must be a mapping with the key instances")
    unknown = sorted(_line(key) for key in found if key != "instances")
    if unknown:
        raise InvalidSlo(unknown[0], "unknown key (there is: instances)")
    instances = found["instances"]
    if instances is None:
        return {}
    if not isinstance(instances, Mapping):
        raise InvalidSlo("instances", "must be a mapping of uuids or names to SLOs")
    slos: dict[str, Slo] = {}
    for name, keys in instances.items():
        try:
            slos[canonical(str(name))] = parse_slo(keys)
        except InvalidSlo as error:
            message = str(error).removeprefix(f"{error.field}: ")
            raise InvalidSlo(f"instances.{_line(name)}.{_line(error.field)}", message) from None
    return slos


@dataclass(frozen=True, slots=True)
class _Stamp:
    modified_ns: int
    size: int
    inode: int


class SloFile:
    """Watches one file: an `IntentSource`. `refresh` reads it, in a thread of its own once `watch` was called; `poll` never does."""

    name = FILE

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: _Stamp | None = None
        self._set: IntentSet | None = None
        self._stop = threading.Event()
        self.error = ""

    def poll(self) -> IntentSet | None:
        """See `IntentSource.poll`; None until the file was read. A file that is missing or wrong changes nothing."""
        return self._set

    def watch(self, every_seconds: float = POLL_SECONDS) -> None:
        """Read the file now, and from now on in a thread, until `close`."""

        def follow() -> None:
            while not self._stop.wait(every_seconds):
                self.refresh()

        self.refresh()
        supervision.start(follow, name="slo-file", stop=self._stop)

    def close(self) -> None:
        """Do not watch it any longer."""
        self._stop.set()

    def refresh(self) -> None:
        """Read the file again if it changed. ``error`` tells what is wrong with it, in one line; empty when nothing is."""
        try:
            status = self._path.stat()
            stamp = _Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            slos = parse_slo_file(self._read())
        except OSError as error:
            self._complain(f"{self._path}: {error.strerror}; nothing was changed")
            self._stamp = None
            return
        except InvalidSlo as error:
            self._stamp = stamp
            self._complain(f"{self._path}: {error}; nothing was changed")
            return
        self._stamp, self.error = stamp, ""
        revision = status.st_mtime_ns
        self._set = IntentSet(
            revision=revision, wanted={name: Wanted(slo=slo, revision=revision) for name, slo in slos.items()}
        )

    def _read(self) -> bytes:
        """The file's content. Not more than may be, whatever it grows to, and never a device or pipe."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InvalidSlo("slo_file", "is not a regular file")
            text = file.read(_LARGEST_BYTES + 1)
        if len(text) > _LARGEST_BYTES:
            raise InvalidSlo("slo_file", "is larger than 4 MiB")
        return text

    def _complain(self, line: str) -> None:
        if line != self.error:
            _LOG.error("%s", line)
        self.error = line
