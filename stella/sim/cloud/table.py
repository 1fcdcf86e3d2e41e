"""All instances of a simulated cloud as columns, a row each, so that one step asks all of them at once."""

import numpy as np
import numpy.typing as npt

from stella.sim.cloud.scenario import Tenant
from stella.sim.cloud.waves import Bools, Bursts, Floats, daily
from stella.sim.loads import LoadKind

NOWHERE = -1
STATUSES = ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")
MET, VIOLATED, DEGRADED, NO_DEMAND, SELF_LIMITED, UNKNOWN = range(len(STATUSES))
CAUSES = ("cpu", "capacity", "block", "host")
CPU, CAPACITY, BLOCK, HOST = range(len(CAUSES))
WINDOW_STEPS = 16
"""So many steps back it is remembered in which a floor was missed."""
_BEGIN_ROWS = 64

Whole = npt.NDArray[np.int64]


class Table:
    """Rows are used again. Of a row that is not ``alive`` no other column means anything.

    Quantities are in the unit of the instance's load: packets/s, bytes/s, or cores of all its vCPUs. ``cost_vcpu`` and ``cost_io``
    are CPU seconds per unit while the host is quiet, ``price_vcpu`` and ``price_io`` what they are now, ``learned_vcpu`` and
    ``learned_io`` what the agent knows. ``reserved``, ``needed`` and ``allocated`` are cores that admission set aside, that the floors
    cost by what is known, and that the last division of a full host gave. ``short``: the host could not set aside all that it needs.
    """

    def __init__(self) -> None:
        self.tenants: list[Tenant | None] = []
        self._free: list[int] = []
        self.alive = np.zeros(0, dtype=bool)
        self.up = np.zeros(0, dtype=bool)
        """Whether it runs: it is placed, and neither its host is dead nor is it being rebuilt."""
        self.host = np.zeros(0, dtype=np.int64)
        self.seed = np.zeros(0, dtype=np.uint64)
        self.is_io = np.zeros(0, dtype=bool)
        self.is_block = np.zeros(0, dtype=bool)
        self.has_floor = np.zeros(0, dtype=bool)
        self.fits = np.zeros(0, dtype=bool)
        self.short = np.zeros(0, dtype=bool)
        self.awake = np.zeros(0, dtype=bool)
        self.missed = np.zeros((0, WINDOW_STEPS), dtype=bool)
        self.seconds = np.zeros((0, len(STATUSES)), dtype=np.int64)
        self.missed_by = np.zeros((0, len(CAUSES)), dtype=np.int64)
        self.cause = np.zeros(0, dtype=np.int64)
        for name in FLOATS:
            setattr(self, name, np.zeros(0))
        self._grow(_BEGIN_ROWS)

    peak: Floats
    low: Floats
    period: Floats
    ratio: Floats
    depth: Floats
    peak_hour: Floats
    noise: Floats
    cost_vcpu: Floats
    cost_io: Floats
    price_vcpu: Floats
    price_io: Floats
    learned_vcpu: Floats
    learned_io: Floats
    learned_seconds: Floats
    most_cores: Floats
    floor: Floats
    reserved: Floats
    needed: Floats
    allocated: Floats
    demand: Floats
    want: Floats
    got: Floats
    rate: Floats

    def _grow(self, rows: int) -> None:
        before = len(self.tenants)
        self.tenants += [None] * rows
        self._free += range(before + rows - 1, before - 1, -1)
        for name, column in list(vars(self).items()):
            if isinstance(column, np.ndarray):
                more = np.zeros((rows, *column.shape[1:]), dtype=column.dtype)
                setattr(self, name, np.concatenate([column, more]))

    def add(self, tenant: Tenant) -> int:
        """The row of a new instance, which is nowhere yet."""
        if not self._free:
            self._grow(len(self.tenants))
        row = self._free.pop()
        for name in (*FLOATS, *BOOLS, "missed", "seconds", "missed_by", "cause"):
            getattr(self, name)[row] = 0
        self.tenants[row] = tenant
        self.alive[row] = True
        self.host[row] = NOWHERE
        self.seed[row] = tenant.seed
        is_cpu = tenant.kind is LoadKind.CPU
        self.is_io[row], self.is_block[row] = not is_cpu, tenant.kind is LoadKind.BLOCK
        self.has_floor[row] = tenant.slo is not None
        self.fits[row] = True
        self.peak[row] = tenant.peak * (tenant.vcpus if is_cpu else 1)
        self.low[row], self.period[row], self.ratio[row] = tenant.low, tenant.period_seconds, tenant.awake_ratio
        self.depth[row], self.peak_hour[row], self.noise[row] = tenant.depth, tenant.peak_hour, tenant.noise
        self.cost_vcpu[row], self.cost_io[row] = tenant.vcpu_seconds, tenant.io_seconds
        self.price_vcpu[row], self.price_io[row] = tenant.vcpu_seconds, tenant.io_seconds
        self.most_cores[row], self.floor[row] = float(tenant.vcpus), tenant.floor
        return row

    def remove(self, row: int) -> None:
        """Let a row go."""
        self.alive[row] = self.up[row] = False
        self.host[row] = NOWHERE
        self.tenants[row] = None
        self._free.append(row)

    def tenant(self, row: int) -> Tenant:
        """The instance of a row. Raises KeyError where there is none."""
        found = self.tenants[row]
        if found is None:
            raise KeyError(row)
        return found

    def wake(self, seconds: float) -> None:
        """What all ask for at this time: `awake` and `demand`, of those that run."""
        bursts = Bursts(self.seed, self.period, self.ratio)
        self.awake = bursts.awake(seconds) & self.up
        level = np.where(self.awake, 1.0, self.low)
        level *= daily(seconds, depth=self.depth, peak_hour=self.peak_hour)
        self.demand = np.where(self.up, self.peak * level, 0.0)

    def price(self, factor: Floats) -> None:
        """What a unit costs where I/O costs ``factor`` times what it does on a quiet host, and the CPU that all want then."""
        of = np.where(self.is_io, factor, 1.0)
        self.price_vcpu, self.price_io = self.cost_vcpu * of, self.cost_io * of
        self.want = np.minimum(self.demand, self.reach()) * (self.price_vcpu + self.price_io)

    def reach(self) -> Floats:
        """The most that each can get: I/O passes one vCPU and one thread of QEMU, of which none runs on more than one CPU."""
        serial = 1.0 / np.maximum(np.maximum(self.price_vcpu, self.price_io), 1e-30)
        return np.where(self.is_io, serial, self.most_cores)

    def rows_of(self, host: int) -> Whole:
        """The instances that run on a host."""
        return np.flatnonzero((self.host == host) & self.up)


FLOATS = tuple(name for name, kind in Table.__annotations__.items() if kind is Floats)
BOOLS = ("up", "is_io", "is_block", "has_floor", "fits", "short", "awake")


def per_host(host: Whole, values: Floats | Bools, hosts: int) -> Floats:
    """The sum of ``values`` on each host; those that are nowhere are left out."""
    here = host >= 0
    return np.bincount(host[here], weights=values[here], minlength=hosts).astype(np.float64)
