"""Keeps the intents in line with the declarative SLO file, for the instances that run here.

Each instance is tried at once when it appears or when the file changes; what was refused is tried again every
`RETRY_SECONDS`, since room may have come free, and told in the log once. An instance that does not run keeps what the file asked
for it as long as the file names it: by its uuid, or by the name under which it was taken from the file.
"""

import logging
import math
from collections.abc import Callable, Mapping

from stella.model.slo import Slo
from stella.xgos.intents.slo_file import SloFile
from stella.xgos.intents.store import FILE, IntentStore
from stella.xgos.local_api.agent_api import Refused

_LOG = logging.getLogger(__name__)
RETRY_SECONDS = 10.0

Declare = Callable[[str, Slo, str], object]
"""Admits and keeps an SLO: uuid, SLO, and the key the file has for it. Raises `Refused`."""


def assign(slos: Mapping[str, Slo], running: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """By uuid the key in ``slos`` of each instance in ``running`` (uuid to name), and the names that fit several of them.

    A uuid goes before a name. A name that fits several instances is given to none.
    """
    bearers: dict[str, int] = {}
    for name in running.values():
        bearers[name] = bearers.get(name, 0) + 1
    names = {name for name in bearers if name and name in slos and name not in running}
    several = frozenset(name for name in names if bearers[name] > 1)
    keys = {}
    for uuid, name in running.items():
        if uuid in slos:
            keys[uuid] = uuid
        elif name in names - several:
            keys[uuid] = name
    return keys, several


class Declared:
    """Follows one file. For the loop's thread."""

    def __init__(self, file: SloFile, intents: IntentStore, declare: Declare) -> None:
        self._file = file
        self._intents = intents
        self._declare = declare
        self._tried: dict[str, float] = {}
        self._told: set[str] = set()

    def follow(self, running: Mapping[str, str], monotonic_seconds: float) -> None:
        """Bring the intents in line with the file as it is now; ``running``: the names of all instances seen, by uuid."""
        changed = self._file.poll()
        if changed:
            self._tried.clear()
            self._told.clear()
        keys, several = assign(self._file.slos, running)
        for name in sorted(several):
            self._tell(name, "several instances of this host have that name: nothing was changed for them; use uuids")
        self._tried = {uuid: when for uuid, when in self._tried.items() if uuid in running}
        for uuid, key in keys.items():
            slo = self._file.slos[key]
            if self._intents.source(uuid) == FILE and self._intents.slo(uuid) == slo:
                self._intents.declare(uuid, key)
            elif monotonic_seconds - self._tried.get(uuid, -math.inf) >= RETRY_SECONDS:
                self._tried[uuid] = monotonic_seconds
                self._try(uuid, slo, key)
        if changed:
            self._withdraw(running)

    def _try(self, uuid: str, slo: Slo, key: str) -> None:
        try:
            self._declare(uuid, slo, key)
        except Refused as refusal:
            self._tell(key, str(refusal))
        else:
            self._told.discard(key)

    def _withdraw(self, running: Mapping[str, str]) -> None:
        """Take back what an earlier file asked for and this one does not name any more."""
        for uuid in list(self._intents.intents):
            if self._intents.source(uuid) != FILE:
                continue
            name = running.get(uuid, self._intents.declared_as(uuid))
            if uuid not in self._file.slos and name not in self._file.slos:
                self._intents.unset(uuid)

    def _tell(self, key: str, message: str) -> None:
        if key not in self._told:
            self._told.add(key)
            _LOG.error("SLO file: %s: %s", key, message)
