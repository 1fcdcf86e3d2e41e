"""Scenario files: YAML read into a `Scenario`. Every mistake is one line that names its key."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from stella.bench.keys import InvalidScenario, Keys, UniqueKeyLoader
from stella.bench.scenario import (
    AGENT_ACTIONS,
    DEFAULT_BACKEND,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_UPLINK,
    DIRECTIONS,
    LOAD_BOUNDS,
    LOAD_KEYS,
    PATTERNS,
    Backend,
    Disk,
    Event,
    Instance,
    Load,
    Scenario,
    Uplink,
    check_load,
)
from stella.model.slo import InvalidSlo, Slo, parse_slo

DEFAULT_DISK_BYTES = 2_000_000_000
_SMALLEST_MEMORY_BYTES = 320_000_000
_LARGEST_COUNT = 64
_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,30}$")


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


def read_scenario(tree: object) -> Scenario:
    """Read a scenario from a parsed document. Raises `InvalidScenario` that names the key path."""
    keys = Keys("", tree, {"name", "duration", "warmup", "host", "instances", "events"})
    host = Keys("host", keys.get("host") or {}, {"cores", "uplinks", "backends"})
    uplinks = tuple(_uplink(name, k) for name, k in host.named("uplinks", {"rate"})) or (Uplink(name=DEFAULT_UPLINK),)
    backends = tuple(_backend(name, k) for name, k in host.named("backends", {"kind", "rate"})) or (
        Backend(name=DEFAULT_BACKEND, kind="file"),
    )
    instances = tuple(
        _instance(f"instances[{i}]", item, [u.name for u in uplinks], [b.name for b in backends])
        for i, item in enumerate(keys.sequence("instances", required=True))
    )
    names = [instance.name for instance in instances]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InvalidScenario(f"instances[{i}].name", f"{name!r} is given twice")
    duration = keys.moment("duration", required=True)
    if duration < 1 or duration != int(duration):
        raise InvalidScenario("duration", "must be a whole number of seconds, at least 1")
    return Scenario(
        name=keys.text("name"),
        duration_seconds=int(duration),
        warmup_seconds=keys.moment("warmup", default=10.0),
        cores=host.count("cores", None, 1, 4096),
        uplinks=uplinks,
        backends=backends,
        instances=instances,
        events=_events(keys, {i.name: i for i in instances}, duration),
    )


def _uplink(name: str, keys: Keys) -> Uplink:
    return Uplink(name=name, rate_bytes_per_second=keys.quantity("rate", "bytes/s"))


def _backend(name: str, keys: Keys) -> Backend:
    kind = keys.choice("kind", ("file", "nbd"), "file")
    rate = keys.quantity("rate", "bytes/s")
    if rate is not None and kind == "file":
        raise InvalidScenario(keys.path("rate"), "only an nbd back end has a rate")
    return Backend(name=name, kind=kind, rate_bytes_per_second=rate)


def read_slo(path: str, tree: object) -> Slo:
    """Read an SLO below ``path``. Raises `InvalidScenario`."""
    try:
        return parse_slo(tree)
    except InvalidSlo as error:
        where = path if error.field == "slo" else f"{path}.{error.field}"
        raise InvalidScenario(where, str(error).removeprefix(f"{error.field}: ")) from None


def _instance(path: str, tree: object, uplinks: list[str], backends: list[str]) -> Instance:
    known = {"name", "vcpus", "memory", "workload", "disk", "uplink", "slo", "undersized"}
    keys = Keys(path, tree, known)
    name = keys.text("name")
    if not _NAME.match(name):
        raise InvalidScenario(keys.path("name"), "must be lower-case letters, digits and hyphens, at most 31")
    vcpus = keys.count("vcpus", 1, 1, _LARGEST_COUNT) or 1
    memory = keys.quantity("memory", "bytes") or DEFAULT_MEMORY_BYTES
    if memory < _SMALLEST_MEMORY_BYTES:
        raise InvalidScenario(keys.path("memory"), "must be at least 320MB")
    loads = _loads(keys.path("workload"), keys.get("workload"), vcpus)
    disk = None
    if keys.has("disk") or any(load.kind == "disk" for load in loads):
        below = Keys(keys.path("disk"), keys.get("disk") or {}, {"backend", "size"})
        disk = Disk(
            backend=below.choice(
                "backend", tuple(backends), DEFAULT_BACKEND if DEFAULT_BACKEND in backends else backends[0]
            ),
            size_bytes=int(below.quantity("size", "bytes") or DEFAULT_DISK_BYTES),
        )
    return Instance(
        name=name,
        vcpus=vcpus,
        memory_bytes=int(memory),
        loads=loads,
        disk=disk,
        uplink=keys.choice("uplink", tuple(uplinks), DEFAULT_UPLINK if DEFAULT_UPLINK in uplinks else uplinks[0]),
        slo=read_slo(keys.path("slo"), keys.get("slo")) if keys.get("slo") is not None else None,
        undersized=keys.flag("undersized"),
    )


def _loads(path: str, tree: object, vcpus: int) -> tuple[Load, ...]:
    if tree is None:
        return ()
    if isinstance(tree, list):
        return tuple(_load(f"{path}[{i}]", item, Load(kind="", threads=vcpus)) for i, item in enumerate(tree))
    return (_load(path, tree, Load(kind="", threads=vcpus)),)


def _load(path: str, tree: object, before: Load) -> Load:
    """One load, with what is not given taken from ``before`` (whose kind is empty for a new one)."""
    kind = Keys(path, tree, None).choice("kind", tuple(LOAD_KEYS), before.kind or None)
    keys = Keys(path, tree, {"kind", *(key.replace("block_bytes", "block") for key in LOAD_KEYS[kind])})
    base = Load(kind=kind, threads=before.threads if kind == "cpu" else 1) if kind != before.kind else before
    found = replace(
        base,
        packet_bytes=int(keys.quantity("packet_bytes", "bytes") or base.packet_bytes),
        block_bytes=int(keys.quantity("block", "bytes") or base.block_bytes),
        direction=keys.choice("direction", DIRECTIONS, base.direction),
        pattern=keys.choice("pattern", PATTERNS, base.pattern),
        depth=keys.count("depth", base.depth, *LOAD_BOUNDS["depth"]) or 0,
        threads=keys.count("threads", base.threads, *LOAD_BOUNDS["threads"]) or 0,
        rate=keys.quantity("rate", "packets/s" if kind == "udp" else "bytes/s") if keys.has("rate") else base.rate,
    )
    try:
        return check_load(found)
    except InvalidScenario as error:
        raise InvalidScenario(f"{path}.{error.key}", error.problem) from None


def _changed(path: str, tree: object, loads: tuple[Load, ...]) -> tuple[Load, ...]:
    """The loads after an event's ``workload``: a mapping changes one of them (the one of its ``kind`` when there are several)."""
    kind = tree.get("kind") if isinstance(tree, Mapping) else None
    found = [i for i, load in enumerate(loads) if kind in (None, load.kind)]
    if not loads:
        raise InvalidScenario(path, "the instance has no workload to change")
    if len(found) != 1:
        problem = (
            "the instance has no workload of this kind" if not found else "the instance has several: give the kind"
        )
        raise InvalidScenario(f"{path}.kind", problem)
    changed = list(loads)
    changed[found[0]] = _load(path, tree, loads[found[0]])
    if changed[found[0]].direction != loads[found[0]].direction:
        raise InvalidScenario(f"{path}.direction", "cannot be changed while the guest runs")
    return tuple(changed)


def _events(keys: Keys, instances: dict[str, Instance], duration: float) -> tuple[Event, ...]:
    read = [
        (f"events[{i}]", Keys(f"events[{i}]", item, {"at", "instance", "start", "stop", "slo", "workload", "agent"}))
        for i, item in enumerate(keys.sequence("events"))
    ]
    timed = [(below.moment("at", required=True), path, below) for path, below in read]
    for at_seconds, path, _ in timed:
        if at_seconds >= duration:
            raise InvalidScenario(f"{path}.at", "is not before the end of the scenario")
    loads = {name: instance.loads for name, instance in instances.items()}
    events = []
    for at_seconds, _, below in sorted(timed, key=lambda item: item[0]):  # stable: equal times keep the file's order
        event = _event(at_seconds, below, instances, loads)
        if event.what == "workload":
            loads[event.instance] = event.loads
        events.append(event)
    return tuple(events)


def _event(
    at_seconds: float, keys: Keys, instances: Mapping[str, Instance], loads: Mapping[str, tuple[Load, ...]]
) -> Event:
    given = [key for key in ("start", "stop", "slo", "workload", "agent") if keys.has(key)]
    if len(given) != 1:
        raise InvalidScenario(
            keys.path(given[1]) if given else keys.path(""), "needs exactly one of start, stop, slo, workload, agent"
        )
    what = given[0]
    if what == "agent":
        if keys.has("instance"):
            raise InvalidScenario(keys.path("instance"), "an agent event has no instance")
        return Event(at_seconds=at_seconds, what=what, action=keys.choice("agent", AGENT_ACTIONS, None))
    name = keys.choice("instance", tuple(instances), None)
    if what in ("start", "stop"):
        if keys.get(what) is not True:
            raise InvalidScenario(keys.path(what), "must be true")
        return Event(at_seconds=at_seconds, what=what, instance=name)
    if what == "workload":
        changed = _changed(keys.path("workload"), keys.get("workload"), loads[name])
        return Event(at_seconds=at_seconds, what=what, instance=name, loads=changed)
    tree = keys.get("slo")
    return Event(
        at_seconds=at_seconds, what=what, instance=name, slo=None if tree is None else read_slo(keys.path("slo"), tree)
    )
