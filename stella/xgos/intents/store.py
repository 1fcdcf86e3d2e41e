"""What this host keeps for its instances, durably: one JSON file, written whole or not at all.

One that is cut, garbled or of an unknown version is set aside and told; the agent starts without it. Where the disk is full or
read-only the intents go on in memory and `persisted` says so.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from stella.model.allocation import Intent
from stella.model.intent import IntentState
from stella.model.slo import Slo
from stella.xgos.durable_files import set_aside, write_atomically
from stella.xgos.intents.source import FILE, MANUAL
from stella.xgos.intents.store_file import StoreState, parse_state, print_state

_LOG = logging.getLogger(__name__)
_REMEMBERED_GENERATIONS = 1000


class IntentStore:
    """The intents of this host, by uuid. Changed by the loop's thread alone; may be read and saved from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saving = threading.Lock()
        self._state = StoreState()
        self._saved: StoreState | None = self._state
        self.persisted = True
        self._load()

    def _load(self) -> None:
        try:
            self._state = self._saved = parse_state(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except OSError as error:
            self.persisted = False
            _LOG.error("%s: %s; starting without intents", self._path, error.strerror)
        except ValueError as error:
            set_aside(self._path, str(error))
        for uuid, why in self._state.unread:
            _LOG.error("%s: the SLO of %s cannot be read: %s", self._path, uuid, why)

    @property
    def intents(self) -> Mapping[str, Intent]:
        """All that is in force or waits for its instance: a view that never changes (the next change makes another)."""
        return MappingProxyType(self._state.intents)

    @property
    def manual(self) -> Mapping[str, Slo]:
        """What was set by hand, by uuid, also where another source governs the instance. A view that never changes."""
        return MappingProxyType(self._state.manual)

    @property
    def unread(self) -> Mapping[str, str]:
        """Why the SLOs of these uuids could not be read from the file."""
        return dict(self._state.unread)

    def slo(self, uuid: str) -> Slo | None:
        """The SLO of an instance, if one is in force or waits for it."""
        intent = self._state.intents.get(uuid)
        return intent.slo if intent else None

    def source(self, uuid: str) -> str | None:
        """Who asked for what is in force; None for an instance without SLO."""
        intent = self._state.intents.get(uuid)
        return intent.source if intent else None

    def declared_as(self, uuid: str) -> str:
        """The uuid or name under which the SLO file asked for this intent; empty for those of another source."""
        return self._state.declared.get(uuid, "")

    def generation(self, uuid: str) -> int:
        """The number of the last change of an instance's SLO; 0 when it never had one."""
        intent = self._state.intents.get(uuid)
        return intent.generation if intent else self._state.generations.get(uuid, 0)

    def set(
        self,
        uuid: str,
        slo: Slo,
        *,
        reserved_cpu_cores: float,
        estimated: bool,
        source: str = MANUAL,
        revision: int = 0,
        declared_as: str = "",
        state: IntentState = IntentState.ENFORCED,
        reason: str = "",
    ) -> Intent:
        """Keep ``slo`` for an instance from now on; its generation goes up by one. In memory: `save` makes it durable.

        ``declared_as`` is the SLO file's word for it.
        """
        before = self._state
        intent = Intent(
            uuid=uuid,
            slo=slo,
            generation=self.generation(uuid) + 1,
            reserved_cpu_cores=reserved_cpu_cores,
            estimated=estimated,
            source=source,
            revision=revision,
            state=state,
            reason=reason,
        )
        self._state = replace(
            before,
            intents={**before.intents, uuid: intent},
            manual={**before.manual, uuid: slo} if source == MANUAL else before.manual,
            declared=_with(before.declared, uuid, declared_as),
            generations={key: value for key, value in before.generations.items() if key != uuid},
            unread=tuple(one for one in before.unread if one[0] != uuid),
        )
        return intent

    def _change(self, intent: Intent) -> Intent:
        self._state = replace(self._state, intents={**self._state.intents, intent.uuid: intent})
        return intent

    def readmit(self, uuid: str, *, reserved_cpu_cores: float, estimated: bool) -> Intent | None:
        """Change what is reserved for an instance, not what it was promised: the generation stays. None if it has no SLO."""
        before = self._state.intents.get(uuid)
        if before is None:
            return None
        return self._change(replace(before, reserved_cpu_cores=reserved_cpu_cores, estimated=estimated))

    def mark(self, uuid: str, state: IntentState, *, reserved_cpu_cores: float, reason: str = "") -> None:
        """Change what became of an intent and what is set aside for it, not what was promised: the generation stays."""
        before = self._state.intents[uuid]
        after = replace(before, state=state, reserved_cpu_cores=reserved_cpu_cores, reason=reason)
        if after != before:
            self._change(after)

    def adopt(self, uuid: str, *, source: str, revision: int, declared_as: str = "") -> None:
        """The same SLO is asked for by ``source`` now; nothing else changes."""
        before = self._state.intents[uuid]
        after = replace(before, source=source, revision=revision)
        if after != before or self.declared_as(uuid) != declared_as:
            self._change(after)
            self._state = replace(self._state, declared=_with(self._state.declared, uuid, declared_as))

    def hand_over(self) -> int:
        """There is no SLO file any more: what it asked for may be changed by hand from now on. Returns how many those are."""
        before = self._state
        found = {uuid: replace(i, source=MANUAL, revision=0) for uuid, i in before.intents.items() if i.source == FILE}
        if found:
            manual = {uuid: intent.slo for uuid, intent in found.items()}
            self._state = replace(
                before, intents={**before.intents, **found}, manual={**before.manual, **manual}, declared={}
            )
        return len(found)

    def revoke(self, uuid: str) -> int | None:
        """Take what is in force out of force and return the generation of that change; None if nothing was.

        What was set by hand is still wanted.
        """
        before = self._state
        intent = before.intents.get(uuid)
        if intent is None:
            return None
        generations = list({**before.generations, uuid: intent.generation + 1}.items())[-_REMEMBERED_GENERATIONS:]
        self._state = replace(
            before,
            intents={key: value for key, value in before.intents.items() if key != uuid},
            declared={key: value for key, value in before.declared.items() if key != uuid},
            generations=dict(generations),
        )
        return intent.generation + 1

    def unset(self, uuid: str) -> int | None:
        """Withdraw an instance's SLO, also what was set by hand and is not in force; as `revoke` otherwise."""
        generation = self.revoke(uuid)
        self.drop_manual(uuid)
        return generation

    def drop_manual(self, uuid: str) -> None:
        """Forget what was set by hand. What is in force stays, if it is another source's."""
        if self.source(uuid) == MANUAL:
            self.revoke(uuid)
        if uuid in self._state.manual:
            manual = {key: value for key, value in self._state.manual.items() if key != uuid}
            self._state = replace(self._state, manual=manual)

    def save(self) -> bool:
        """Write the intents to disk if they changed since; returns `persisted`. Blocks on the disk: not for the tick's thread."""
        with self._saving:
            state = self._state
            if state is self._saved:
                return self.persisted
            try:
                write_atomically(self._path, print_state(state))
            except OSError as error:
                if self.persisted:
                    _LOG.error("%s: %s; intents go on in memory", self._path, error.strerror)
                self.persisted = False
            else:
                self._saved = state
                self.persisted = True
            return self.persisted


def _with(declared: Mapping[str, str], uuid: str, declared_as: str) -> Mapping[str, str]:
    """The SLO file's words with this one; an empty one is left out."""
    others = {key: value for key, value in declared.items() if key != uuid}
    return {**others, uuid: declared_as} if declared_as else others
