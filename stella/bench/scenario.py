"""Scenarios: what runs in the laboratory, as values. `stella.bench.scenario_file` reads them."""

from dataclasses import dataclass, fields, replace

from stella.bench.keys import LOAD_KEYS, InvalidScenario, validate
from stella.model.slo import Slo

DEFAULT_UPLINK = "up0"
DEFAULT_BACKEND = "local"
DEFAULT_MEMORY_BYTES = 512_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load generator in a guest.

    ``kind``: ``udp`` (uses packet_bytes, direction ``tx``: the guest sends, or ``rx``), ``disk`` (pattern, block_bytes, depth),
    ``cpu`` (threads) or ``idle``; keys of other kinds have their defaults. ``rate`` bounds what it asks for: packets/s for ``udp``,
    bytes/s for ``disk``; None is as much as it can. ``threads`` may be 0: idle until an event changes it.
    """

    kind: str
    packet_bytes: int = 64
    direction: str = "tx"
    pattern: str = "randread"
    block_bytes: int = 65_536
    depth: int = 16
    threads: int = 1
    rate: float | None = None


LOAD_FIELDS = {kind: frozenset(k if k != "block" else "block_bytes" for k in keys) for kind, keys in LOAD_KEYS.items()}
"""The fields that a load of each kind uses."""


def check_load(load: Load) -> Load:
    """The same load. Raises `InvalidScenario` that names the key, as a scenario has it, that cannot be."""
    given = {f.name: value for f in fields(Load) if (value := getattr(load, f.name)) != f.default or f.name == "kind"}
    validate({"block" if name == "block_bytes" else name: value for name, value in given.items()}, definition="load")
    return load


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The disk of an instance: the name of its back end and its size in bytes."""

    backend: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Backend:
    """Where disks lie: ``file`` on the host, or ``nbd``, a network disk (nbdkit).

    ``rate_bytes_per_second`` bounds all disks on the back end together (``nbd`` only); None: no bound.
    """

    name: str
    kind: str = "file"
    rate_bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Uplink:
    """A bridge that guests attach to, bounded to ``rate_bytes_per_second`` in each direction unless None."""

    name: str = DEFAULT_UPLINK
    rate_bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One guest. ``undersized`` declares that its SLO is beyond what the guest itself can do (honesty scenarios)."""

    name: str
    vcpus: int = 1
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    loads: tuple[Load, ...] = ()
    disk: Disk | None = None
    uplink: str = DEFAULT_UPLINK
    slo: Slo | None = None
    undersized: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happens ``at_seconds`` after the start of the measured time.

    ``what`` is ``start``, ``stop``, ``slo``, ``workload`` or ``agent``. For ``workload`` ``loads`` is what the instance runs from
    then on; for ``agent`` ``action`` is ``kill``, ``stop``, ``continue`` or ``restart``.
    """

    at_seconds: float
    what: str
    instance: str = ""
    slo: Slo | None = None
    loads: tuple[Load, ...] = ()
    action: str = ""

    @property
    def label(self) -> str:
        """The event in a few words, as the results have it."""
        match self.what:
            case "agent":
                return f"agent {self.action}"
            case "slo" if self.slo is None:
                return f"{self.instance} slo removed"
            case _:
                return f"{self.instance} {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One experiment. Events are in the order of time."""

    name: str
    duration_seconds: int
    warmup_seconds: float = 10.0
    cores: int | None = None
    uplinks: tuple[Uplink, ...] = (Uplink(name=DEFAULT_UPLINK),)
    backends: tuple[Backend, ...] = (Backend(name=DEFAULT_BACKEND, kind="file"),)
    instances: tuple[Instance, ...] = ()
    events: tuple[Event, ...] = ()

    def instance(self, name: str) -> Instance:
        """The instance with this name. Raises `KeyError`."""
        for instance in self.instances:
            if instance.name == name:
                return instance
        raise KeyError(name)

    def starts_idle(self, name: str) -> bool:
        """Whether the instance's first start or stop is a start: then it is idle before."""
        first = next((e for e in self.events if e.instance == name and e.what in ("start", "stop")), None)
        return first is not None and first.what == "start"

    def _last(self, what: str, name: str, seconds: float) -> Event | None:
        """The event of a kind that counts for an instance at a moment: each does from its own moment on."""
        past = [e for e in self.events if e.what == what and e.instance == name and e.at_seconds <= seconds]
        return past[-1] if past else None

    def slo_at(self, name: str, seconds: float) -> Slo | None:
        """The SLO in force ``seconds`` after the start of the measured time."""
        event = self._last("slo", name, seconds)
        return event.slo if event else self.instance(name).slo

    def loads_at(self, name: str, seconds: float) -> tuple[Load, ...]:
        """The loads the instance has at a moment, whether or not it is started then."""
        event = self._last("workload", name, seconds)
        return event.loads if event else self.instance(name).loads

    def has_slo(self, name: str) -> bool:
        """Whether the instance has an SLO at any time; without one it is best effort."""
        return self.instance(name).slo is not None or any(
            e.what == "slo" and e.instance == name and e.slo is not None for e in self.events
        )


def shortened(scenario: Scenario, seconds: int | None) -> Scenario:
    """The scenario with another measured time; as it is for None. Raises `InvalidScenario` when an event would come too late."""
    if seconds is None:
        return scenario
    if scenario.events and scenario.events[-1].at_seconds >= seconds:
        raise InvalidScenario("--seconds", f"the last event comes at {scenario.events[-1].at_seconds:g} s")
    return replace(scenario, duration_seconds=seconds)


def check_machine(scenario: Scenario, *, cores: int) -> None:
    """Raise `InvalidScenario` when this machine has fewer cores than the scenario wants."""
    if scenario.cores is not None and cores < scenario.cores:
        raise InvalidScenario("host.cores", f"the scenario wants {scenario.cores}, this machine has {cores}")
