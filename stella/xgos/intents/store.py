"""What the host was asked to keep, durably: one JSON file, written whole or not at all.

The file holds a version and a checksum. One that is cut, garbled or of another version is set aside and told; the agent
starts without it. Where the disk is full or read-only the intents go on in memory and `persisted` says so.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from stella.model import wire
from stella.model.allocation import Intent
from stella.model.slo import Slo, parse_slo, show_slo
from stella.xgos.durable_files import set_aside, write_atomically

_LOG = logging.getLogger(__name__)
VERSION = 1
_REMEMBERED_GENERATIONS = 1000

MANUAL = "hand"
FILE = "file"
"""Who asked: a person through the socket, or the declarative file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    intents: Mapping[str, Intent]
    sources: Mapping[str, str]
    declared: Mapping[str, str]  # what the file calls those it asked for
    generations: Mapping[str, int]  # of instances that have no SLO now, so that theirs never run backwards


def _checksum(payload: object) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _print(state: _State) -> str:
    payload = {
        "generations": dict(state.generations),
        "intents": [
            {
                "uuid": intent.uuid,
                "slo": show_slo(intent.slo),
                "generation": intent.generation,
                "reserved_cpu_cores": intent.reserved_cpu_cores,
                "estimated": intent.estimated,
                "source": state.sources[intent.uuid],
                "declared_as": state.declared.get(intent.uuid, ""),
            }
            for intent in state.intents.values()
        ],
    }
    return json.dumps({"version": VERSION, "checksum": _checksum(payload), "payload": payload}, allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    uuid: str
    slo: dict[str, dict[str, object]]
    generation: int = 1
    reserved_cpu_cores: float = 0.0
    estimated: bool = True
    source: str = MANUAL
    declared_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payload:
    intents: tuple[_Stored, ...] = ()
    generations: dict[str, int]


def _parse(text: str | bytes) -> _State:
    """Raises ValueError for whatever is not a whole file of this version."""
    found = wire.parse(text)
    if not isinstance(found, dict) or not isinstance(found.get("payload"), dict):
        raise ValueError("is not a file of intents")
    if found.get("version") != VERSION:
        raise ValueError(f"has version {found.get('version')}, not {VERSION}")
    if found.get("checksum") != _checksum(found["payload"]):
        raise ValueError("has a wrong checksum")
    payload = wire.decode(_Payload, found["payload"])
    return _State(
        intents={
            s.uuid: Intent(
                uuid=s.uuid,
                slo=parse_slo(s.slo),
                generation=s.generation,
                reserved_cpu_cores=s.reserved_cpu_cores,
                estimated=s.estimated,
            )
            for s in payload.intents
        },
        sources={s.uuid: s.source for s in payload.intents},
        declared={s.uuid: s.declared_as for s in payload.intents if s.declared_as},
        generations=payload.generations,
    )


class IntentStore:
    """The intents of this host, by uuid. Changed by the loop's thread alone; may be read and saved from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saving = threading.Lock()
        self._state = _State(intents={}, sources={}, declared={}, generations={})
        self._saved: _State | None = self._state
        self.persisted = True
        self._load()

    def _load(self) -> None:
        try:
            self._state = self._saved = _parse(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except OSError as error:
            self.persisted = False
            _LOG.error("%s: %s; starting without intents", self._path, error.strerror)
        except ValueError as error:
            set_aside(self._path, str(error))

    @property
    def intents(self) -> Mapping[str, Intent]:
        """All intents: a view that never changes (the next change makes another)."""
        return MappingProxyType(self._state.intents)

    def slo(self, uuid: str) -> Slo | None:
        """The SLO of an instance, if it has one."""
        intent = self._state.intents.get(uuid)
        return intent.slo if intent else None

    def source(self, uuid: str) -> str | None:
        """`MANUAL` or `FILE`; None for an instance without SLO."""
        return self._state.sources.get(uuid)

    def declared_as(self, uuid: str) -> str:
        """The uuid or name under which the file asked for this intent; empty for those set by hand."""
        return self._state.declared.get(uuid, "")

    def set(
        self,
        uuid: str,
        slo: Slo,
        *,
        reserved_cpu_cores: float,
        estimated: bool,
        source: str = MANUAL,
        declared_as: str = "",
    ) -> Intent:
        """Keep ``slo`` for an instance from now on; its generation goes up by one. In memory: `save` makes it durable.

        ``declared_as`` is the file's word for it.
        """
        state = self._state
        previous = state.intents.get(uuid)
        intent = Intent(
            uuid=uuid,
            slo=slo,
            generation=(previous.generation if previous else state.generations.get(uuid, 0)) + 1,
            reserved_cpu_cores=reserved_cpu_cores,
            estimated=estimated,
        )
        self._state = _State(
            intents={**state.intents, uuid: intent},
            sources={**state.sources, uuid: source},
            declared={**state.declared, uuid: declared_as},
            generations={key: value for key, value in state.generations.items() if key != uuid},
        )
        return intent

    def readmit(self, uuid: str, *, reserved_cpu_cores: float, estimated: bool) -> Intent | None:
        """Change what is reserved for an instance, not what it was promised: the generation stays. None if it has no SLO."""
        state = self._state
        previous = state.intents.get(uuid)
        if previous is None:
            return None
        intent = Intent(
            uuid=uuid,
            slo=previous.slo,
            generation=previous.generation,
            reserved_cpu_cores=reserved_cpu_cores,
            estimated=estimated,
        )
        self._state = replace(state, intents={**state.intents, uuid: intent})
        return intent

    def declare(self, uuid: str, declared_as: str) -> None:
        """Remember what the file calls an intent of its own; nothing else changes."""
        if self.declared_as(uuid) != declared_as:
            self._state = replace(self._state, declared={**self._state.declared, uuid: declared_as})

    def hand_over(self) -> int:
        """There is no file any more: what it asked for may be changed by hand from now on. Returns how many those are."""
        sources = self._state.sources
        found = sum(1 for source in sources.values() if source == FILE)
        if found:
            self._state = replace(self._state, sources=dict.fromkeys(sources, MANUAL), declared={})
        return found

    def unset(self, uuid: str) -> int | None:
        """Withdraw an instance's SLO and return the generation of that change; None if it had none."""
        return self._withdraw([uuid]).get(uuid)

    def _withdraw(self, uuids: Iterable[str]) -> dict[str, int]:
        state = self._state
        gone = {uuid: state.intents[uuid].generation + 1 for uuid in uuids if uuid in state.intents}
        if gone:
            remembered = list({**state.generations, **gone}.items())[-_REMEMBERED_GENERATIONS:]
            self._state = _State(
                intents={key: value for key, value in state.intents.items() if key not in gone},
                sources={key: value for key, value in state.sources.items() if key not in gone},
                declared={key: value for key, value in state.declared.items() if key not in gone},
                generations=dict(remembered),
            )
        return gone

    def save(self) -> bool:
        """Write the intents to disk if they changed since; returns `persisted`. Blocks on the disk: not for the tick's thread."""
        with self._saving:
            state = self._state
            if state is self._saved:
                return self.persisted
            try:
                write_atomically(self._path, _print(state))
            except OSError as error:
                if self.persisted:
                    _LOG.error("%s: %s; intents go on in memory", self._path, error.strerror)
                self.persisted = False
            else:
                self._saved = state
                self.persisted = True
            return self.persisted
