"""What relief decides on: hosts, what runs on them, what is missed there, and the moves before. Values only.

Times are Unix seconds. Which host an instance fits is asked of admission (`Fits`), which is pure too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from stella.model.attainment import Cause


class Mode(StrEnum):
    """What relief does where a host cannot keep a floor: nothing, a decision for a person, or the move itself."""

    OFF = "off"
    SUGGEST = "suggest"
    ACT = "act"


class Kind(StrEnum):
    """Why an instance is to leave its host: the host cannot keep a floor, or the host is dead."""

    RELIEF = "relief"
    EVACUATION = "evacuation"


class State(StrEnum):
    """How far a decision to move has come.

    REFUSED: nothing may or can move. STOPPED: moves from this host did not help, so no further one is made. RESERVED: its place at the
    destination is held, and the cloud is about to be asked; MOVING: it was asked.
    """

    SUGGESTED = "suggested"
    RESERVED = "reserved"
    MOVING = "moving"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    STOPPED = "stopped"


OPEN = frozenset({State.RESERVED, State.MOVING})
"""States in which an instance is on its way, and holds its place on both hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """An objective that is missed on a host. ``missed_seconds`` are those within the last `Limits.window_seconds`.

    ``short_cores`` is the CPU that would end it; None where that is not known. ``offender`` is the uuid of the instance that took it.
    ``lasts``: it is missed now.
    """

    instance: str
    metric: str
    cause: Cause | None
    missed_seconds: float
    lasts: bool = True
    short_cores: float | None = None
    offender: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """An instance on a host. ``used_cores`` None: not known. ``priority`` None: it has no SLO (best-effort).

    ``move_cost`` orders what is cheap to move, such as bytes of memory or vCPUs. ``kept_because``: why it may not be moved; empty
    where it may.
    """

    uuid: str
    project: str
    priority: int | None
    reserved_cores: float
    used_cores: float | None
    move_cost: float
    kept_because: str = ""

    @property
    def freed_cores(self) -> float:
        """The CPU that others on its host can have once it is gone: what it uses, or at least what is set aside for it."""
        return max(self.reserved_cores, self.used_cores or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host. ``takes``: it enforces, is enrolled and not in maintenance; from and to others nothing moves.

    ``used_cores`` is the CPU that its instances use now; None: not known. Of a destination, `guests` may be left out.
    """

    name: str
    capacity_cores: float
    reserved_cores: float
    used_cores: float | None = None
    mode: Mode = Mode.SUGGEST
    takes: bool = True
    is_silent: bool = False
    misses: tuple[Miss, ...] = ()
    guests: tuple[Guest, ...] = ()

    @property
    def room_cores(self) -> float:
        """What is neither set aside nor used."""
        return self.capacity_cores - max(self.reserved_cores, self.used_cores or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMove:
    """A move that was decided and not only suggested. ``ended_at`` None: it is under way. ``helped`` None: not measured yet."""

    instance: str
    project: str
    source: str
    destination: str
    state: State
    began_at: float
    ended_at: float | None = None
    helped: bool | None = None
    kind: Kind = Kind.RELIEF


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much relief may do. Numbers of moves count those that began within the last hour, whatever became of them.

    ``incurable_seconds``: so much must be missed within ``window_seconds`` before its host is taken not to cure it.
    ``least_effect``: violated seconds an hour that a move must be predicted to end. ``hold_seconds``: none moves twice within these.
    ``largest_silent_ratio``: with more hosts silent than this part of all (and more than one), nothing is done.
    ``back_off_seconds``: so long a host waits after a move that failed, doubled for each further one within the hour.
    ``stop_after``: after so many moves in a row that did not help, no further one for ``stop_seconds``.
    """

    incurable_seconds: float = 15.0
    window_seconds: float = 120.0
    least_effect: float = 60.0
    hold_seconds: float = 600.0
    settle_seconds: float = 30.0
    largest_at_once: int = 2
    largest_of_host: int = 6
    largest_of_project: int = 10
    largest_of_cloud: int = 30
    largest_silent_ratio: float = 0.1
    back_off_seconds: float = 60.0
    stop_after: int = 2
    stop_seconds: float = 3600.0


Fits = Callable[[str, str], bool]
"""Whether the instance of this uuid would be admitted, with its SLO, on the host of this name beside all that it holds and expects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveDecision:
    """What is decided for one host.

    ``freed_cores``: on ``source``. ``predicted_effect``: violated seconds an hour that should end. ``victims``: the uuids whose floors
    are missed. ``instance`` and ``destination`` are empty where nothing is to be moved: ``state`` is REFUSED or STOPPED then.
    """

    kind: Kind
    state: State
    source: str
    reason: str
    instance: str = ""
    destination: str = ""
    freed_cores: float = 0.0
    predicted_effect: float = 0.0
    victims: tuple[str, ...] = ()
