"""What is done about a dead host: its guaranteed instances are rebuilt elsewhere, but only once it is certain that nothing runs there.

A host that Stella does not hear may be alive: its QEMU then still writes to the disks, and a second one would destroy what is on them.
So nothing is evacuated unless the host is *fenced*: an operator said so, or a fencing command succeeded, after its last report. Nova
must call it down too, else it refuses. What Nova or another service moves already is left to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from stella.control.move_limits import too_many_silent
from stella.control.relief_view import Fits, HostView, Kind, Limits, Mode, MoveDecision, State

DEAD_SECONDS = 30.0
"""So long a host is silent before it is taken for dead."""

_UNDER_WAY = frozenset({"accepted", "pre-migrating", "queued", "preparing", "running", "migrating", "post-migrating"})
"""Nova's words for a migration that has not ended."""

_MAY_BE_REBUILT = frozenset({"ACTIVE", "SHUTOFF", "ERROR"})
"""Nova's status of a server that it evacuates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranded:
    """An instance with an SLO on a dead host, as Stella knows it and as the cloud shows it now.

    ``host``, ``status``, ``task_state`` and ``migrations`` (the statuses of those that leave this host) are the cloud's words.
    """

    uuid: str
    priority: int
    reserved_cores: float
    host: str | None
    status: str
    task_state: str | None = None
    migrations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadHost:
    """A host without reports for ``silent_seconds``. ``is_fenced``: since its last report. ``is_down``: the cloud calls it down."""

    name: str
    silent_seconds: float
    is_fenced: bool
    is_down: bool
    mode: Mode
    instances: tuple[Stranded, ...] = ()
    has_fencing_command: bool = False


class Fence(Enum):
    """Whether the fencing command is to be run."""

    NO = "no"
    RUN = "run"


def fence(dead: DeadHost, *, silent_hosts: int, all_hosts: int, limits: Limits) -> Fence:
    """Whether the command is to be run for this host: only where evacuation would follow, and not while many look dead."""
    wanted = dead.mode is Mode.ACT and dead.has_fencing_command and not dead.is_fenced and bool(dead.instances)
    if not wanted or dead.silent_seconds < DEAD_SECONDS or too_many_silent(silent_hosts, all_hosts, limits):
        return Fence.NO
    return Fence.RUN if dead.is_down else Fence.NO


def evacuate(
    dead: DeadHost,
    destinations: Sequence[HostView],
    *,
    take: Fits,
    silent_hosts: int,
    all_hosts: int,
    limits: Limits,
    largest: int,
) -> tuple[MoveDecision, ...]:
    """The decisions about a host, the instances of highest priority first; RESERVED is to be carried out, ``largest`` at most.

    ``take`` tells whether an instance fits on a host, and counts it there from then on.
    """
    if dead.mode is Mode.OFF or dead.silent_seconds < DEAD_SECONDS or not dead.instances:
        return ()
    because = _not_yet(dead, silent_hosts, all_hosts, limits)
    if because:
        state = State.REFUSED if too_many_silent(silent_hosts, all_hosts, limits) else State.SUGGESTED
        return (MoveDecision(kind=Kind.EVACUATION, state=state, source=dead.name, reason=because),)
    able = [one for one in destinations if one.takes and not one.is_silent and one.name != dead.name]
    room = {one.name: one.room_cores for one in able}
    found: list[MoveDecision] = []
    for one in sorted(dead.instances, key=lambda one: (-one.priority, -one.reserved_cores, one.uuid)):
        if len(found) >= largest:
            break
        if acts_elsewhere(one, dead.name):
            continue
        host = next((name for name in sorted(room, key=lambda name: (-room[name], name)) if take(one.uuid, name)), "")
        if host:
            room[host] -= one.reserved_cores
        found.append(_decision(dead, one, host))
    return tuple(found)


def acts_elsewhere(one: Stranded, host: str) -> str:
    """Why this instance is not Stella's to evacuate: it left, or the cloud or another service works on it. Empty where it is."""
    if one.host != host:
        return f"it is on {one.host or 'no host'} already"
    if one.task_state:
        return f"the cloud works on it already: {one.task_state}"
    under_way = [status for status in one.migrations if status in _UNDER_WAY]
    if under_way:
        return f"the cloud moves it already: {under_way[0]}"
    if one.status not in _MAY_BE_REBUILT:
        return f"its status {one.status} does not allow it"
    return ""


def _not_yet(dead: DeadHost, silent_hosts: int, all_hosts: int, limits: Limits) -> str:
    silent = f"{dead.name} is silent for {dead.silent_seconds:.0f} s"
    if too_many_silent(silent_hosts, all_hosts, limits):
        return f"{silent_hosts} of {all_hosts} hosts are silent at once: nothing is evacuated"
    if not dead.is_fenced:
        return f"{silent} and not fenced: {len(dead.instances)} instances with an SLO wait"
    if not dead.is_down:
        return f"{silent} and fenced, and the cloud does not call it down yet"
    return ""


def _decision(dead: DeadHost, one: Stranded, host: str) -> MoveDecision:
    state = State.REFUSED if not host else State.RESERVED if dead.mode is Mode.ACT else State.SUGGESTED
    reason = f"{dead.name} is dead and fenced" if host else "no other host can take it"
    return MoveDecision(
        kind=Kind.EVACUATION,
        state=state,
        source=dead.name,
        instance=one.uuid,
        destination=host,
        freed_cores=0.0,
        reason=reason,
    )
