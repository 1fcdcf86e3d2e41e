"""The text of the intents file: a version, a checksum and a payload. Version 1, of earlier releases, is still read.

Version 2 adds for each intent its state and its source's revision, and what was set by hand for instances that another source
governs. Unknown keys, of a later release, are ignored.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from stella.model import wire
from stella.model.allocation import Intent
from stella.model.intent import IntentState
from stella.model.slo import InvalidSlo, Slo, parse_slo, show_slo
from stella.xgos.intents.source import MANUAL

VERSION = 2
_READ_VERSIONS = (1, 2)

_MANUAL_IN_VERSION_1 = "hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """What the store keeps.

    ``intents``: what is in force or waits for its instance. ``manual``: what was set by hand, in force or not. ``declared``: the
    SLO file's word for those that it asked for. ``generations``: of instances that have no SLO now, so that theirs never run
    backwards. ``unread``: (uuid, why) of entries that this release cannot read.
    """

    intents: Mapping[str, Intent] = field(default_factory=dict)
    manual: Mapping[str, Slo] = field(default_factory=dict)
    declared: Mapping[str, str] = field(default_factory=dict)
    generations: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    uuid: str
    slo: dict[str, dict[str, object]]
    generation: int = 1
    reserved_cpu_cores: float = 0.0
    estimated: bool = True
    source: str = MANUAL
    declared_as: str = ""
    revision: int = 0
    state: IntentState = IntentState.ENFORCED
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payload:
    intents: tuple[_Stored, ...] = ()
    generations: dict[str, int] = field(default_factory=dict)
    manual: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)


def checksum(payload: object) -> str:
    """The checksum of a payload, as the file has it."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def print_state(state: StoreState) -> str:
    """The file's text."""
    payload = wire.encode(
        _Payload(
            intents=tuple(
                _Stored(
                    uuid=intent.uuid,
                    slo=show_slo(intent.slo),
                    generation=intent.generation,
                    reserved_cpu_cores=intent.reserved_cpu_cores,
                    estimated=intent.estimated,
                    source=intent.source,
                    declared_as=state.declared.get(intent.uuid, ""),
                    revision=intent.revision,
                    state=intent.state,
                    reason=intent.reason,
                )
                for intent in state.intents.values()
            ),
            generations=dict(state.generations),
            manual={uuid: show_slo(slo) for uuid, slo in state.manual.items()},
        )
    )
    whole = {"version": VERSION, "checksum": checksum(payload), "payload": payload}
    return json.dumps(whole, allow_nan=False) + "\n"


def parse_state(text: str | bytes) -> StoreState:
    """Read a file's text. Raises ValueError for whatever is not a whole file of a known version.

    An SLO that this release cannot read (a metric of a later one) is left out and told in ``unread``; the others stand.
    """
    found = wire.parse(text)
    if not isinstance(found, dict) or not isinstance(found.get("payload"), dict):
        raise ValueError("is not a file of intents")
    if found.get("version") not in _READ_VERSIONS:
        raise ValueError(f"has version {found.get('version')}, not {VERSION}")
    if found.get("checksum") != checksum(found["payload"]):
        raise ValueError("has a wrong checksum")
    payload = wire.decode(_Payload, found["payload"])
    unread: dict[str, str] = {}

    def read(uuid: str, keys: object) -> Slo | None:
        try:
            return parse_slo(keys)
        except InvalidSlo as error:
            unread[uuid] = str(error)
            return None

    intents = {s.uuid: _intent(s, slo) for s in payload.intents if (slo := read(s.uuid, s.slo)) is not None}
    manual = {uuid: slo for uuid, keys in payload.manual.items() if (slo := read(uuid, keys)) is not None}
    if found["version"] == 1:
        manual = {uuid: intent.slo for uuid, intent in intents.items() if intent.source == MANUAL}
    lost = {s.uuid: s.generation for s in payload.intents if s.uuid in unread}
    return StoreState(
        intents=intents,
        manual=manual,
        declared={s.uuid: s.declared_as for s in payload.intents if s.declared_as and s.uuid in intents},
        generations={**payload.generations, **lost},
        unread=tuple(sorted(unread.items())),
    )


def _intent(stored: _Stored, slo: Slo) -> Intent:
    return Intent(
        uuid=stored.uuid,
        slo=slo,
        generation=stored.generation,
        reserved_cpu_cores=stored.reserved_cpu_cores,
        estimated=stored.estimated,
        source=MANUAL if stored.source == _MANUAL_IN_VERSION_1 else stored.source,
        revision=stored.revision,
        state=stored.state,
        reason=stored.reason,
    )
