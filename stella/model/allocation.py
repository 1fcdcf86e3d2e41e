"""What a host is asked to keep (intent), what was decided in a tick (decision), and what was written (writes)."""

import enum
from dataclasses import dataclass

from stella.model.attainment import Cause, Status
from stella.model.intent import IntentState
from stella.model.slo import Metric, Slo
from stella.model.snapshot import LinkLimit, Role, Throttle
from stella.model.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a host keeps for one instance.

    ``generation`` is this host's own number, which goes up with each change. ``source`` and ``revision`` tell who asked for it, and
    that source's number for it. ``reserved_cpu_cores`` is what admission set aside for its floors: the reservation never exceeds it.
    ``estimated`` tells that the CPU cost behind it came from the host's priors, not from the instance's own history.
    ``state`` is ``enforced``, ``degraded`` (part or none of it could be set aside, ``reason`` tells why) or ``pending`` (the
    instance does not run here: nothing is set aside).
    """

    uuid: str
    slo: Slo
    generation: int
    reserved_cpu_cores: float
    estimated: bool
    source: str = "manual"
    revision: int = 0
    state: IntentState = IntentState.ENFORCED
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveReport:
    """One objective over a tick or a window, in the metric's base unit.

    ``kind`` is ``floor``, ``ceiling``, ``weight`` or ``target``; ``value`` is what is promised now (a floor scaled to the
    requests seen). ``usage`` and ``demand`` are None when they are not known. ``offender``: where it was missed for want of CPU in a
    window, the uuid of the instance that took most above its entitlement, ``host`` for host services, None when none did.
    """

    metric: Metric
    kind: str
    value: float
    usage: float | None
    demand: float | None
    status: Status
    cause: Cause | None = None
    offender: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuAllocation:
    """CPU for one instance, in cores but for the ratio and the factors.

    ``reservation_cores`` is set aside for its floors. ``allocation_cores`` is its share of the host when all instances want more
    than there is: weights are made from it. ``io_ratio`` (0 to 1) is the part of the instance's CPU that its emulator and
    iothread groups are entitled to before its vCPUs; ``io_weight_factor`` multiplies the weight that this needs beside all vCPUs.
    ``vcpu_weight_factors`` multiply the weight of each vCPU (by index; 1 where none is given), so that CPUs carry their part of it.
    Threads whose role is in ``batching`` do not preempt the running thread when they wake: they hand each other more at once.
    ``vcpu_ceilings_cores`` bounds each vCPU (None: no bound). ``placement`` confines stages while the host is full: role, index,
    and the numbers of the CPUs that the stage may use, in order, within its allowed ones. A stage that is not named is not confined.
    """

    reservation_cores: float
    allocation_cores: float
    io_ratio: float
    io_weight_factor: float = 1.0
    vcpu_weight_factors: tuple[float, ...] = ()
    batching: tuple[Role, ...] = ()
    vcpu_ceilings_cores: tuple[float | None, ...] = ()
    placement: tuple[tuple[Role, int, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAllocation:
    """What one direction (``tx`` or ``rx``) of one link of an instance may have.

    ``ceiling`` is its part of what was asked for. A ``limit`` below that is a restraint for the sake of others.
    """

    device: str
    direction: str
    limit: LinkLimit
    ceiling: LinkLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskAllocation:
    """What one disk of an instance may have; those with the same ``unit`` share it. Both throttles are within what others allow.

    ``ceiling`` is its part of what was asked for. A ``limit`` below that is a restraint for the sake of others.
    """

    disk: str
    unit: str
    limit: Throttle
    ceiling: Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDecision:
    """What was decided for one instance, and why. Usage and demand are of CPU, in cores, of all its QEMU threads.

    ``network`` has each direction of each link that has a limit; the others have none. ``block`` has each disk that has one.

    ``managed`` is False for an instance without SLO: it shares what is left. ``frozen`` instances (migrating, paused,
    not seen well enough) are written nothing. ``starved_ratio`` is wait / (run + wait) of its worst stage.
    """

    uuid: str
    name: str
    managed: bool
    frozen: bool
    cpu: CpuAllocation
    usage_cores: float
    demand_cores: float
    starved_ratio: float
    objectives: tuple[ObjectiveReport, ...]
    reason: str
    network: tuple[LinkAllocation, ...] = ()
    block: tuple[DiskAllocation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUsage:
    """The host over one tick, in cores. ``overhead_cores`` is used by whatever is not an instance: host services and Stella itself."""

    cores: float
    busy_cores: float
    instances_cores: float
    overhead_cores: float
    softirq_cores: float
    steal_cores: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One tick. ``parent_weight_factor`` multiplies the default weight of the group that holds all instances (None: leave it)."""

    monotonic_seconds: float
    wall_seconds: float
    host: HostUsage
    instances: tuple[InstanceDecision, ...]
    parent_weight_factor: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One knob to be set. ``value`` and ``previous`` are its text without newline.

    A ``temporary`` write is of a knob that restrains: the guard lifts it when the agent stops ticking, and it is not made while
    the guard could not lift it. One that ``lifts`` gives such a knob back what it held before Stella: it is never held up.
    ``fallback`` is what a lifted restraint leaves instead of that: a limit that was asked for (None: what it held before Stella).
    """

    target: Target
    value: str
    previous: str
    reason: str
    temporary: bool = False
    lifts: bool = False
    fallback: str | None = None


class WriteResult(enum.StrEnum):
    """What became of a write."""

    WRITTEN = "written"
    UNSUPPORTED = "unsupported"
    GONE = "gone"
    FAILED = "failed"
    DRY_RUN = "dry-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A write, and what became of it (`WriteResult`); ``error`` is one line where it failed."""

    write: Write
    result: WriteResult
    error: str = ""
