"""Scenario files: YAML read into a `Scenario`. Every mistake is one line that names its key."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from stella.bench.keys import LOAD_KEYS, InvalidScenario, UniqueKeyLoader, quantity, validate
from stella.bench.scenario import (
    DEFAULT_BACKEND,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_UPLINK,
    Backend,
    Disk,
    Event,
    Instance,
    Load,
    Scenario,
    Uplink,
)
from stella.model.slo import InvalidSlo, Slo, parse_slo

DEFAULT_DISK_BYTES = 2_000_000_000
_WHAT = ("start", "stop", "slo", "workload", "agent")

Tree = Mapping[str, Any]


def load_scenario(path: Path) -> Scenario:
    """Read a scenario from a YAML file. Raises `InvalidScenario`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise InvalidScenario(str(path), str(reason)) from None
    return parse_scenario(text)


def parse_scenario(text: str) -> Scenario:
    """Read a scenario from YAML text. Raises `InvalidScenario`."""
    try:
        tree = yaml.load(text, Loader=UniqueKeyLoader)  # noqa: S506 (a SafeLoader that also refuses a key given twice)
    except yaml.YAMLError as error:
        raise InvalidScenario("scenario", " ".join(str(error).split())) from None
    return read_scenario(tree)


def read_scenario(tree: Any) -> Scenario:
    """Read a scenario from a parsed document. Raises `InvalidScenario` that names the key path."""
    validate(tree)
    host = tree.get("host") or {}
    uplinks = [Uplink(str(name), _optional(one, "rate", "bytes/s")) for name, one in _named(host, "uplinks")]
    backends = [_backend(str(name), one) for name, one in _named(host, "backends")]
    uplinks, backends = uplinks or [Uplink()], backends or [Backend(DEFAULT_BACKEND)]
    instances: dict[str, Instance] = {}
    for i, item in enumerate(tree["instances"]):
        instance = _instance(f"instances[{i}]", item, [u.name for u in uplinks], [b.name for b in backends])
        if instance.name in instances:
            raise InvalidScenario(f"instances[{i}].name", f"{instance.name!r} is given twice")
        instances[instance.name] = instance
    duration = _seconds(tree["duration"])
    if duration < 1 or duration != int(duration):
        raise InvalidScenario("duration", "must be a whole number of seconds, at least 1")
    return Scenario(
        name=tree["name"].strip(),
        duration_seconds=int(duration),
        warmup_seconds=_seconds(tree.get("warmup", 10)),
        cores=host.get("cores"),
        uplinks=tuple(uplinks),
        backends=tuple(backends),
        instances=tuple(instances.values()),
        events=_events(tree.get("events") or [], instances, duration),
    )


def _named(tree: Tree, key: str) -> list[tuple[object, Tree]]:
    return [(name, one or {}) for name, one in (tree.get(key) or {}).items()]


def _optional(tree: Tree, key: str, unit: str) -> float | None:
    return None if tree.get(key) is None else quantity(tree[key], unit)


def _seconds(value: object) -> float:
    return quantity(value, "seconds", zero=True)


def _backend(name: str, tree: Tree) -> Backend:
    kind, rate = tree.get("kind", "file"), _optional(tree, "rate", "bytes/s")
    if rate is not None and kind == "file":
        raise InvalidScenario(f"host.backends.{name}.rate", "only an nbd back end has a rate")
    return Backend(name, kind, rate)


def read_slo(path: str, tree: object) -> Slo:
    """Read an SLO below ``path``. Raises `InvalidScenario`."""
    try:
        return parse_slo(tree)
    except InvalidSlo as error:
        where = path if error.field == "slo" else f"{path}.{error.field}"
        raise InvalidScenario(where, str(error).removeprefix(f"{error.field}: ")) from None


def _one_of(path: str, given: str | None, allowed: list[str], default: str) -> str:
    if given is None:
        return default if default in allowed else allowed[0]
    if given not in allowed:
        raise InvalidScenario(path, f"{given[:60]!r} is not one of {', '.join(allowed)}")
    return given


def _instance(path: str, tree: Tree, uplinks: list[str], backends: list[str]) -> Instance:
    vcpus, given = int(tree.get("vcpus", 1)), tree.get("workload") or []
    loads = tuple(_load(one, Load(kind="", threads=vcpus)) for one in (given if isinstance(given, list) else [given]))
    disk = None
    if "disk" in tree or any(load.kind == "disk" for load in loads):
        below = tree.get("disk") or {}
        disk = Disk(
            backend=_one_of(f"{path}.disk.backend", below.get("backend"), backends, DEFAULT_BACKEND),
            size_bytes=int(_optional(below, "size", "bytes") or DEFAULT_DISK_BYTES),
        )
    return Instance(
        name=tree["name"],
        vcpus=vcpus,
        memory_bytes=int(_optional(tree, "memory", "bytes") or DEFAULT_MEMORY_BYTES),
        loads=loads,
        disk=disk,
        uplink=_one_of(f"{path}.uplink", tree.get("uplink"), uplinks, DEFAULT_UPLINK),
        slo=None if tree.get("slo") is None else read_slo(f"{path}.slo", tree["slo"]),
        undersized=tree.get("undersized", False),
    )


def _load(tree: Tree, before: Load) -> Load:
    """One load, with what is not given taken from ``before`` (whose kind is empty for a new one)."""
    kind = tree["kind"]
    base = Load(kind=kind, threads=before.threads if kind == "cpu" else 1) if kind != before.kind else before
    found = {key: tree[key] for key in LOAD_KEYS[kind] & tree.keys()}
    for key in ("packet_bytes", "block"):
        found[key] = int(_optional(found, key, "bytes") or (base.packet_bytes if key != "block" else base.block_bytes))
    if "rate" in found:
        found["rate"] = _optional(found, "rate", "packets/s" if kind == "udp" else "bytes/s")
    return replace(base, block_bytes=found.pop("block"), **found)


def _changed(path: str, tree: Tree, loads: tuple[Load, ...]) -> tuple[Load, ...]:
    """The loads after an event's ``workload``: a mapping changes one of them (the one of its ``kind`` when there are several)."""
    if not loads:
        raise InvalidScenario(path, "the instance has no workload to change")
    found = [i for i, load in enumerate(loads) if tree.get("kind", load.kind) == load.kind]
    if len(found) != 1:
        several = "the instance has several: give the kind"
        raise InvalidScenario(f"{path}.kind", several if found else "the instance has no workload of this kind")
    before = loads[found[0]]
    whole = {"kind": before.kind, **tree}
    validate(whole, where=path, definition="load")
    after = _load(whole, before)
    if after.direction != before.direction:
        raise InvalidScenario(f"{path}.direction", "cannot be changed while the guest runs")
    return tuple(after if i == found[0] else load for i, load in enumerate(loads))


def _events(trees: list[Tree], instances: Mapping[str, Instance], duration: float) -> tuple[Event, ...]:
    timed = [(_seconds(tree["at"]), f"events[{i}]", tree) for i, tree in enumerate(trees)]
    for at_seconds, path, _ in timed:
        if at_seconds >= duration:
            raise InvalidScenario(f"{path}.at", "is not before the end of the scenario")
    loads = {name: instance.loads for name, instance in instances.items()}
    events = []
    for at_seconds, path, tree in sorted(timed, key=lambda item: item[0]):  # stable: equal times keep the file's order
        event = _event(at_seconds, path, tree, loads)
        if event.what == "workload":
            loads[event.instance] = event.loads
        events.append(event)
    return tuple(events)


def _event(at_seconds: float, path: str, tree: Tree, loads: Mapping[str, tuple[Load, ...]]) -> Event:
    given = [key for key in _WHAT if key in tree]
    if len(given) != 1:
        raise InvalidScenario(f"{path}.{given[1]}" if given else path, f"needs exactly one of {', '.join(_WHAT)}")
    what, found = given[0], tree[given[0]]
    if what == "agent":
        if "instance" in tree:
            raise InvalidScenario(f"{path}.instance", "an agent event has no instance")
        return Event(at_seconds=at_seconds, what=what, action=found)
    if "instance" not in tree:
        raise InvalidScenario(f"{path}.instance", "is missing")
    name = _one_of(f"{path}.instance", tree["instance"], list(loads), "")
    slo = None if what != "slo" or found is None else read_slo(f"{path}.slo", found)
    after = _changed(f"{path}.workload", found, loads[name]) if what == "workload" else ()
    return Event(at_seconds=at_seconds, what=what, instance=name, slo=slo, loads=after)
