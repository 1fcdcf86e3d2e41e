"""What may be asked over the control socket: one line of JSON into a request, and its parts into what they mean.

A request is a mapping with ``op`` and the keys of that operation; `docs/control-socket.md` lists them. What is wrong with one is
a `BadRequest` that names the field. `stella.xgos.local_api.answers` has the answers.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from stella.model import wire
from stella.model.slo import InvalidSlo, Metric, Slo, parse_slo, show_slo
from stella.model.wire import Json
from stella.xgos.intents.instance_names import canonical, is_uuid

LARGEST_REQUEST_BYTES = 64 * 1024
_LARGEST_LINE = 300

OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "slo.set": ("instance", "slo", "replace", "dry_run"),
    "slo.unset": ("instance", "metrics", "dry_run"),
    "slo.list": (),
    "slo.show": ("instance",),
    "windows": ("after",),
    "violations": ("instance", "open", "since"),
    "status": (),
    "instances": ("month",),
    "snapshot": (),
    "calibrate": (),
}
"""The keys that each operation takes beside ``op``."""


class BadRequest(ValueError):
    """A request cannot be; ``field`` names the key, ``message`` is one line for a person."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose operation is known; its other keys are read by that operation."""

    op: str
    keys: Mapping[str, object]

    def text(self, field: str) -> str:
        """A text that must be given. Raises `BadRequest`."""
        value = self.keys.get(field)
        if not isinstance(value, str) or not value:
            raise BadRequest(field, "must be text")
        return value

    def flag(self, field: str) -> bool:
        """True or false; false when not given. Raises `BadRequest`."""
        value = self.keys.get(field, False)
        if not isinstance(value, bool):
            raise BadRequest(field, "must be true or false")
        return value

    def number(self, field: str) -> float:
        """A number that is not negative; 0 when not given. Raises `BadRequest`."""
        value = self.keys.get(field, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15 or math.isnan(value):
            raise BadRequest(field, "must be a number from 0")
        return float(value)


def parse_request(line: bytes) -> Request:
    """Read one line. Raises `BadRequest`, and nothing else, for whatever it may hold."""
    if len(line) > LARGEST_REQUEST_BYTES:
        raise BadRequest("request", f"is longer than {LARGEST_REQUEST_BYTES} bytes")
    try:
        keys = wire.parse(line)
    except wire.InvalidWire as error:
        raise BadRequest("request", str(error)) from None
    if not isinstance(keys, dict):
        raise BadRequest("request", "must be a mapping")
    op = keys.get("op")
    if not isinstance(op, str) or op not in OPERATIONS:
        raise BadRequest("op", f"must be one of {', '.join(OPERATIONS)}")
    known = {"op", *OPERATIONS[op]}
    unknown = sorted(key for key in keys if key not in known)
    if unknown:
        raise BadRequest(unknown[0], f"unknown key (there are: {', '.join(sorted(known))})")
    return Request(op, cast(Mapping[str, object], keys))


def one_line(text: str) -> str:
    """Text without control characters and of bounded length, fit for one line on a terminal."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= _LARGEST_LINE else line[: _LARGEST_LINE - 1] + "…"


def error_answer(field: str, message: str, largest: Mapping[Metric, float] | None = None) -> dict[str, Json]:
    """The answer to a request that was not granted."""
    error: dict[str, Json] = {"field": one_line(field), "message": one_line(message)}
    if largest:
        error["largest"] = {metric.value: value for metric, value in largest.items()}
    return {"ok": False, "error": error}


def find_instance(text: str, known: Iterable[tuple[str, str]]) -> str:
    """The uuid of the instance with this uuid or, else, exactly this name. Raises `BadRequest` that names ``instance``.

    ``known`` are (uuid, name); an empty name is no name. Text in the form of a uuid never means a name, whatever an instance calls
    itself.
    """
    text = canonical(text)
    names: dict[str, str] = {}
    for uuid, name in known:
        names[uuid] = names.get(uuid) or name
    if text in names:
        return text
    found = sorted(uuid for uuid, name in names.items() if name and name == text) if not is_uuid(text) else []
    if not found:
        raise BadRequest("instance", f"no instance {text[:80]!r} on this host")
    if len(found) > 1:
        raise BadRequest("instance", f"{text[:80]!r} is ambiguous: {', '.join(found[:4])}")
    return found[0]


def merge_slo(old: Slo | None, keys: object, *, replace: bool) -> Slo:
    """``keys`` (as `parse_slo` reads them) laid over the SLO there was: what they do not name stays, null takes a key or metric away.

    Raises `InvalidSlo` that names the field.
    """
    if old is None or replace or not isinstance(keys, Mapping):
        return parse_slo(keys)
    merged: dict[str, object] = dict(show_slo(old))
    for name, given in keys.items():
        before = merged.pop(name, None)
        if given is None and before is not None:
            continue
        if isinstance(before, dict) and isinstance(given, Mapping):
            merged[name] = {k: v for k, v in {**before, **given}.items() if v is not None}
        else:
            merged[name] = given
    return parse_slo(merged)


def without(old: Slo | None, metrics: frozenset[Metric]) -> Slo | None:
    """The SLO without these metrics (all, if there are none named); None when nothing is left. Raises `InvalidSlo`."""
    if old is None:
        raise InvalidSlo("instance", "has no SLO")
    missing = sorted(m.value for m in metrics if old.objective(m) is None)
    if missing:
        raise InvalidSlo(missing[0], "the instance has no such objective")
    left = tuple(o for o in old.objectives if o.metric not in metrics) if metrics else ()
    return Slo(left) if left else None
