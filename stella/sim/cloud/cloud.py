"""A cloud in steps of some seconds: who asks for what, what each host gives, which floors are missed and why.

Modelled: loads, hosts and their disks, Nova's choice of a host. Real, called as the services call it: admission and readmission, the
division of CPU, offenders; relief is in `relief`, the SLA's arithmetic in `accounts`.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stella.control.cost import UnitCost
from stella.control.cpu import CpuClaim
from stella.control.incurable import short_cores
from stella.control.memory import Memory, Settings, capacity_for_floors
from stella.control.readmission import LOWER_FOR_SECONDS, Lower, need_of, readmit
from stella.model.attainment import TOLERANCE_RATIO
from stella.model.slo import Metric
from stella.sim import chance
from stella.sim.cloud import table as columns
from stella.sim.cloud.accounts import Accounts
from stella.sim.cloud.division import disks, divided
from stella.sim.cloud.ledger import Costs, Ledger
from stella.sim.cloud.scenario import Death, Shape, Tenant, arrivals, deaths, initial
from stella.sim.cloud.table import NOWHERE, WINDOW_STEPS, Table, per_host
from stella.sim.cloud.waves import Bursts, Floats, units

STEP_SECONDS = 30.0
SERVICES_CORES = 0.3
"""What a host's own work takes; `Cloud` adds to it now and then (a backup, an upgrade)."""
_LARGEST_SURGE_CORES = 3.0
_SURGE_PERIOD_SECONDS = 50_000.0
_SURGE_RATIO = 0.04
_LARGEST_NOISE = 0.6
_ACTIVE_CORES = 0.005
_NOTHING = 1e-9
_LEARNED_AFTER_SECONDS = 60.0
_MINUTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A floor that is missed in this step. ``short_cores``: the CPU that would end it; ``disk_offender``: who fills the disks."""

    row: int
    cause: int
    short_cores: float
    disk_offender: int | None


class Cloud:
    """A cloud at virtual time. `step` lets `STEP_SECONDS` pass; between steps everything may be looked at."""

    def __init__(self, shape: Shape, *, step_seconds: float = STEP_SECONDS) -> None:
        self.shape = shape
        self.step_seconds = step_seconds
        self.now = 0.0
        self.settings = Settings(host_reserved_cores=0.5)
        self.table = Table()
        self.accounts = Accounts()
        self.ledger = Ledger(
            hosts=shape.hosts, cores=shape.cores, settings=self.settings, device_bytes=shape.device_bytes
        )
        self.row_of: dict[str, int] = {}
        self.dead: dict[int, Death] = {}
        self.missing: dict[int, list[Missed]] = {}
        """What is missed now, by host."""
        self.used = np.zeros(shape.hosts)
        """CPU that the instances of each host use, in cores."""
        self.moving = np.zeros(shape.hosts)
        """CPU that each host spends on moving instances, in cores."""
        self.missed_by_minute = np.zeros((_MINUTES, shape.hosts), dtype=np.int64)
        self.full_steps = 0
        self._expected: dict[int, int] = {}
        self._on: list[list[int]] = [[] for _ in range(shape.hosts)]
        self._arrivals = arrivals(shape)
        self._next: Tenant | None = next(self._arrivals, None)
        self._departures: list[tuple[float, int, int]] = []
        self._deaths = deaths(shape)
        self._soon: set[int] = set(range(shape.hosts))
        self._later: list[tuple[float, int]] = []
        self._lower: list[Mapping[str, Lower]] = [{} for _ in range(shape.hosts)]
        self._dirty: set[int] = set(range(shape.hosts))
        self._noise = np.zeros(shape.hosts)
        self._wanted = np.zeros(0)
        self._cut = np.zeros(0, dtype=bool)
        self._surge_seeds = np.array([chance.derived(shape.seed, "surge", h) for h in range(shape.hosts)], np.uint64)
        self.ledger.overhead = self._services()
        for tenant in initial(shape):
            self._arrive(tenant)

    @property
    def number(self) -> int:
        """Of the step that is at hand."""
        return round(self.now / self.step_seconds)

    def costs(self, row: int) -> Costs:
        """What the agent knows of an instance's costs; nothing before it was seen for some seconds: admission takes the prior."""
        tenant, seconds = self.table.tenant(row), float(self.table.learned_seconds[row])
        if tenant.slo is None or seconds <= 0.0:
            return {}
        objective = tenant.slo.objectives[0]
        cost = UnitCost(
            metric=objective.metric,
            unit_bytes=objective.unit_bytes,
            vcpu=float(self.table.learned_vcpu[row]),
            io=float(self.table.learned_io[row]),
            seconds=seconds,
        )
        return {objective.metric: cost}

    def rows_on(self, host: int) -> tuple[int, ...]:
        """The instances that are placed on a host, be it dead."""
        return tuple(self._on[host])

    # --- instances come, go and move ----------------------------------------------------------------------------------

    def _arrive(self, tenant: Tenant) -> None:
        found = self.ledger.place(tenant.slo, {}, tenant.vcpus)
        if tenant.slo is not None:
            self.accounts.asked += 1
        if found is None:
            if tenant.slo is None:
                self.accounts.best_effort_refused += 1
            else:
                self.accounts.refused[self.ledger.refusal(tenant.slo, {}, tenant.vcpus)] += 1
            return
        row = self.table.add(tenant)
        self.ledger.hold(found, row, tenant.slo, {}, tenant.vcpus)
        self.row_of[tenant.uuid] = row
        heapq.heappush(self._departures, (tenant.departs_at, tenant.number, row))
        self.settle(row, found)

    def expect(self, row: int, host: int) -> None:
        """Hold the place of an instance on the host that it is to move to, beside its own."""
        tenant = self.table.tenant(row)
        self.ledger.hold(host, row, tenant.slo, self.costs(row), tenant.vcpus)
        self._expected[row] = host

    def give_up(self, row: int) -> None:
        """Let go the place where an instance was expected; nothing where it was not."""
        if row in self._expected:
            self.ledger.release(self._expected.pop(row), row)

    def settle(self, row: int, host: int) -> None:
        """Let an instance, which holds its place there already, run on a host."""
        before = int(self.table.host[row])
        self._expected.pop(row, None)
        if before != NOWHERE:
            self._leave(row, before)
        self.table.host[row], self.table.up[row] = host, host not in self.dead
        self.table.missed[row] = False
        self._on[host].append(row)
        self._look_again(host)

    def _leave(self, row: int, host: int) -> None:
        self._on[host].remove(row)
        self.ledger.release(host, row)
        self._look_again(host)

    def _look_again(self, host: int) -> None:
        """Costs and reservations there are to be seen anew: at once, when costs are learned, and when a lower need has lasted."""
        self._soon.add(host)
        self._dirty.add(host)
        heapq.heappush(self._later, (self.now + _LEARNED_AFTER_SECONDS, host))
        heapq.heappush(self._later, (self.now + _LEARNED_AFTER_SECONDS + LOWER_FOR_SECONDS, host))

    def _depart(self, row: int) -> None:
        tenant, host = self.table.tenant(row), int(self.table.host[row])
        self.accounts.close(tenant, self.table.seconds[row].tolist(), self.table.missed_by[row].tolist())
        self.give_up(row)
        self._leave(row, host)
        del self.row_of[tenant.uuid]
        self.table.remove(row)

    def begin(self) -> None:
        """What happens at the beginning of a step: deaths and repairs of hosts, departures, arrivals."""
        while self._deaths and self._deaths[0].at <= self.now:
            death = self._deaths.pop(0)
            self.accounts.deaths += 1
            self.dead[death.host] = death
            self.ledger.takes[death.host] = False
            self.table.up[self._on[death.host]] = False
        for host, death in list(self.dead.items()):
            if death.repaired_at <= self.now:
                del self.dead[host]
                self.ledger.takes[host] = True
                self.table.up[self._on[host]] = True
                self._look_again(host)
        while self._departures and self._departures[0][0] <= self.now:
            self._depart(heapq.heappop(self._departures)[2])
        while self._next is not None and self._next.arrives_at <= self.now:
            self._arrive(self._next)
            self._next = next(self._arrivals, None)

    # --- a step -------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """The rest of a step: what all want, what hosts give, what is missed. Then time has passed."""
        self._overheads()
        self._price()
        while self._later and self._later[0][0] <= self.now:
            self._soon.add(heapq.heappop(self._later)[1])
        for host in sorted(self._soon - set(self.dead)):
            self._readmit(host)
        self._soon &= set(self.dead)
        self._divide()
        self._judge()
        self.now += self.step_seconds

    def _services(self) -> Floats:
        """The CPU that each host's own work takes now."""
        count = len(self._surge_seeds)
        period, ratio = np.full(count, _SURGE_PERIOD_SECONDS), np.full(count, _SURGE_RATIO)
        surges = Bursts(self._surge_seeds, period, ratio).awake(self.now)
        size = _LARGEST_SURGE_CORES * units(self._surge_seeds, np.full(count, 1 << 40, np.uint64))
        return SERVICES_CORES + np.where(surges, size, 0.0)

    def _overheads(self) -> None:
        overhead = self._services() + self.moving
        changed = np.flatnonzero(overhead != self.ledger.overhead)
        self.ledger.overhead = overhead
        self.ledger.changed(changed)
        for host in changed:
            self._look_again(int(host))

    def _price(self) -> None:
        rows, here = self.table, self.table.host
        rows.wake(self.now)
        own = np.where(rows.awake, rows.noise, 0.0)
        noise = per_host(here, own, self.shape.hosts)
        for host in np.flatnonzero(noise != self._noise):
            self._look_again(int(host))
        self._noise = noise
        rows.price(1.0 + np.minimum(_LARGEST_NOISE, np.where(here >= 0, noise[here], 0.0) - own))
        runs = rows.up & (rows.demand > 0)
        rows.learned_vcpu = np.where(runs, rows.price_vcpu, rows.learned_vcpu)
        rows.learned_io = np.where(runs, rows.price_io, rows.learned_io)
        rows.learned_seconds = rows.learned_seconds + np.where(runs, self.step_seconds, 0.0)

    def _readmit(self, host: int) -> None:
        """Let what is set aside follow the learned costs, as the agent does (`stella.control.readmission`)."""
        rows, prior, needs = self.table, self.settings.prior, {}
        for row in self._on[host]:
            tenant = rows.tenant(row)
            if tenant.slo is not None:
                needs[tenant.uuid] = need_of(
                    tenant.slo,
                    self.ledger.priced(tenant.slo, self.costs(row)),
                    prior,
                    vcpus=tenant.vcpus,
                    margin=self.settings.margin,
                    reserved_cores=self.ledger.held_cores(host, row),
                )
        found = readmit(needs, self._lower[host], free_cores=self.ledger.capacity(host).free_cores)
        self._lower[host] = found.lower
        for uuid, need in needs.items():
            row = self.row_of[uuid]
            tenant = rows.tenant(row)
            cores = found.reserved_cores.get(uuid, need.reserved_cores)
            if tenant.slo is not None and cores != need.reserved_cores:
                io_ratio = self.ledger.need(tenant.slo, self.costs(row), tenant.vcpus).io_ratio
                self.ledger.set_reserved(host, row, tenant.slo, cores, io_ratio)
            rows.reserved[row], rows.needed[row], rows.short[row] = cores, need.needed_cores, uuid in found.degraded
        self._dirty.add(host)

    def _divide(self) -> None:
        rows, here, hosts = self.table, self.table.host, self.shape.hosts
        room = self.shape.cores - self.ledger.overhead
        full = per_host(here, rows.want, hosts) > room + _NOTHING
        if len(self._wanted) == len(rows.want):
            moved = here[(rows.want != self._wanted) & (here >= 0)]
            self._dirty.update(np.unique(moved).tolist())
        else:
            self._dirty.update(range(hosts))
        self._wanted = rows.want
        on_full = np.where(here >= 0, full[here], False)
        rows.got = np.where(on_full, rows.got, rows.want)
        rows.fits = rows.fits | ~on_full
        self.full_steps += int(full.sum())
        for host in np.flatnonzero(full):
            if int(host) in self._dirty:
                self._divide_host(int(host), float(room[host]))
        self._dirty.clear()
        self.used = per_host(here, rows.got, hosts)
        served = np.minimum(rows.demand, rows.reach())
        rows.rate = served * np.where(rows.want > 0, rows.got / np.maximum(rows.want, 1e-30), 1.0)
        self._divide_disks()

    def _divide_host(self, host: int, room: float) -> None:
        rows = self.table
        on = [row for row in self._on[host] if rows.up[row]]
        wants, floors = rows.want[on].tolist(), rows.has_floor[on].tolist()
        held, needed = rows.reserved[on].tolist(), rows.needed[on].tolist()
        claims = [
            CpuClaim(
                uuid=str(row),
                reserved_cores=reserved if floor else 0.0,
                floor_cores=need if floor else 0.0,
                needed_cores=need if floor else 0.0,
                active=want > _ACTIVE_CORES,
                demand_cores=want,
            )
            for row, want, floor, reserved, need in zip(on, wants, floors, held, needed, strict=True)
        ]
        memory = Memory(overhead_cores=float(self.ledger.overhead[host]))
        found = divided(claims, for_floors=capacity_for_floors(memory, self.shape.cores, self.settings), room=room)
        rows.got[on], rows.allocated[on], rows.fits[on] = found.got, found.allocated, found.fits

    def _divide_disks(self) -> None:
        rows, here = self.table, self.table.host
        asked = per_host(here, np.where(rows.is_block, rows.rate, 0.0), self.shape.hosts)
        self._cut = np.zeros(len(here), dtype=bool)
        for host in np.flatnonzero(asked > self.shape.device_bytes):
            on = [row for row in self._on[host] if rows.up[row] and rows.is_block[row]]
            wanted = rows.rate[on]
            rows.rate[on] = disks(self.shape.device_bytes, wanted.tolist())
            self._cut[on] = rows.rate[on] < wanted - _NOTHING

    def _judge(self) -> None:
        """The status of each floor, and the cause where it is missed, as `stella.control.attribution` names them."""
        rows, seconds = self.table, round(self.step_seconds)
        least = rows.floor * TOLERANCE_RATIO
        asked = rows.demand >= least
        kept = (rows.rate >= least * (1 - _NOTHING)) | (rows.rate >= rows.demand * (1 - _NOTHING))
        missed = rows.has_floor & rows.up & asked & ~kept
        too_dear = rows.reach() < least
        by_disk = self._cut & (rows.got >= rows.want * TOLERANCE_RATIO)
        unfit = rows.short | ~rows.fits
        rows.cause = np.select([too_dear, by_disk, unfit], [columns.HOST, columns.BLOCK, columns.CAPACITY], columns.CPU)
        degraded = missed & (rows.cause == columns.CAPACITY)
        status = np.select(
            [~rows.up, ~asked, degraded, missed],
            [columns.UNKNOWN, columns.NO_DEMAND, columns.DEGRADED, columns.VIOLATED],
            columns.MET,
        )
        those = np.flatnonzero(rows.has_floor & rows.alive)
        rows.seconds[those, status[those]] += seconds
        found = np.flatnonzero(missed)
        rows.missed_by[found, rows.cause[found]] += seconds
        rows.missed[:, self.number % WINDOW_STEPS] = missed
        self._keep_minute(rows.host[found], seconds)
        self._list_missing(found)

    def _keep_minute(self, hosts: columns.Whole, seconds: int) -> None:
        minute = int(self.now) // 60
        if self.now % 60 < self.step_seconds:
            self.missed_by_minute[minute % _MINUTES] = 0
        np.add.at(self.missed_by_minute[minute % _MINUTES], hosts, seconds)

    def missed_seconds(self, hosts: tuple[int, ...], span: tuple[int, int]) -> int:
        """The seconds that were missed on these hosts in whole minutes of the last hour."""
        minutes = [minute % _MINUTES for minute in range(span[0] // 60, span[1] // 60)]
        return int(self.missed_by_minute[minutes][:, list(hosts)].sum())

    def _list_missing(self, found: columns.Whole) -> None:
        rows = self.table
        self.missing = {}
        for row in found.tolist():
            host = int(rows.host[row])
            cause = int(rows.cause[row])
            offender = self._fills_disks(host) if cause == columns.BLOCK else None
            short = short_cores(
                float(rows.floor[row]),
                usage=float(rows.rate[row]),
                demand=float(rows.demand[row]),
                cost=float(rows.price_vcpu[row] + rows.price_io[row]),
            )
            one = Missed(row=row, cause=cause, short_cores=short, disk_offender=offender)
            self.missing.setdefault(host, []).append(one)

    def _fills_disks(self, host: int) -> int | None:
        """Who asks the disks of a host for most above its floor."""
        rows = self.table
        on = [row for row in self._on[host] if rows.up[row] and rows.is_block[row]]
        return max(on, key=lambda row: (rows.demand[row] - rows.floor[row], -row), default=None)

    def missed_lately(self, row: int, seconds: float) -> float:
        """How long its floor was missed within so many seconds."""
        steps = min(WINDOW_STEPS, round(seconds / self.step_seconds))
        last = [(self.number - 1 - n) % WINDOW_STEPS for n in range(steps)]
        return float(self.table.missed[row, last].sum()) * self.step_seconds

    def close(self) -> None:
        """Keep what became of those that still run."""
        for row in sorted(self.row_of.values()):
            tenant = self.table.tenant(row)
            self.accounts.close(tenant, self.table.seconds[row].tolist(), self.table.missed_by[row].tolist())


def metric_of(tenant: Tenant) -> Metric:
    """The metric of its floor. Raises ValueError where it has none."""
    if tenant.slo is None:
        raise ValueError(tenant.uuid)
    return tenant.slo.objectives[0].metric
