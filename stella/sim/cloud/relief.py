"""Relief and evacuation in a simulated cloud: the real decisions, carried out by a modelled cloud.

What is missed on which host is told to `stella.control.relief_decision.decide`, and what it decides is done: the place at the
destination is held, the move takes CPU on both hosts and a time that grows with the instance, a few fail, and afterwards its effect is
measured as `stella.control.move_effect` has it. Hosts that die are fenced after a while, and `stella.control.evacuation` says what is
rebuilt where.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stella.control import move_limits
from stella.control.evacuation import DeadHost, Stranded, evacuate
from stella.control.incurable import incurable, missed_per_hour
from stella.control.move_effect import Spans, helped, is_due, measured_effect, spans
from stella.control.offender import HOST, Taker, find
from stella.control.relief_decision import decide
from stella.control.relief_view import (
    Guest,
    HostView,
    Kind,
    Limits,
    Miss,
    Mode,
    MoveDecision,
    PastMove,
    State,
)
from stella.model.attainment import Cause
from stella.sim import chance
from stella.sim.cloud import table as columns
from stella.sim.cloud.cloud import SERVICES_CORES, Cloud, Missed, metric_of
from stella.sim.cloud.scenario import PRIORITIES
from stella.sim.cloud.waves import DAY_SECONDS

LIMITS = Limits(hold_seconds=DAY_SECONDS)
"""Those of the service, but that none moves twice a day."""
FENCED_AFTER_SECONDS = 60.0
REBUILT_AFTER_SECONDS = 90.0
MOVING_CORES = 0.5
_MOVE_SECONDS, _MOVE_SECONDS_PER_VCPU = 15.0, 12.0
_FAILS_RATIO = 0.02
_PAUSE_SECONDS = 1
"""A live migration stops the instance for less than this: the second counts as missed."""
_DESTINATIONS = 50
_HOSTS_AT_ONCE = 8
_ASK_AGAIN_SECONDS = 300.0
_EVACUATED_AT_ONCE = 10
_HELP_SECONDS = 7200.0
_CAUSES = (Cause.CPU, Cause.CAPACITY, Cause.BLOCK, Cause.HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnderWay:
    """A move that has not ended. ``number`` is that of its `PastMove`."""

    number: int
    uuid: str
    source: int
    destination: int
    ends_at: float
    fails: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unmeasured:
    number: int
    spans: Spans
    predicted_effect: float


class Relief:
    """What relief and evacuation do in one cloud. In mode OFF nothing moves, and what is on a dead host waits until it is repaired."""

    def __init__(self, cloud: Cloud, mode: Mode, limits: Limits = LIMITS) -> None:
        self.mode = mode
        self.limits = limits
        self.past: list[PastMove] = []
        self.nothing: Counter[str] = Counter()
        """How often nothing was moved, by state."""
        self._cloud = cloud
        self._under_way: dict[str, _UnderWay] = {}
        self._decided: list[MoveDecision] = []
        self._unmeasured: list[_Unmeasured] = []
        self._asked: dict[int, float] = {}

    # --- what was begun -----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """At the beginning of a step: moves end, well or not, and the effects of others are measured."""
        cloud = self._cloud
        for move in list(self._under_way.values()):
            is_relief, is_gone = self.past[move.number].kind is Kind.RELIEF, move.uuid not in cloud.row_of
            # relief needs a source that lives; what is evacuated stays where it is when its host comes back first
            if is_gone or move.destination in cloud.dead or is_relief == (move.source in cloud.dead):
                self._end(move, State.FAILED)
            elif move.ends_at <= cloud.now:
                self._end(move, State.FAILED if move.fails else State.DONE)
        self._measure()

    def _end(self, move: _UnderWay, state: State) -> None:
        cloud, past = self._cloud, self.past[move.number]
        del self._under_way[move.uuid]
        self.past[move.number] = replace(past, state=state, ended_at=cloud.now)
        row = cloud.row_of.get(move.uuid)
        if past.kind is Kind.RELIEF:
            cloud.moving[[move.source, move.destination]] -= MOVING_CORES
        if state is not State.DONE or row is None:
            if row is not None:
                cloud.give_up(row)
            return
        cloud.settle(row, move.destination)
        if past.kind is Kind.RELIEF:
            if cloud.table.has_floor[row]:
                cloud.table.seconds[row, columns.VIOLATED] += _PAUSE_SECONDS
                cloud.table.missed_by[row, columns.HOST] += _PAUSE_SECONDS
            found = spans(past.began_at, cloud.now, self.limits.settle_seconds)
            predicted = self._decided[move.number].predicted_effect
            self._unmeasured.append(_Unmeasured(number=move.number, spans=found, predicted_effect=predicted))

    def _measure(self) -> None:
        for one in list(self._unmeasured):
            if is_due(one.spans, self._cloud.now):
                decided = self._decided[one.number]
                hosts = (_host(decided.source), _host(decided.destination))
                before, after = (self._cloud.missed_seconds(hosts, s) for s in (one.spans.before, one.spans.after))
                good = helped(one.predicted_effect, measured_effect(before, after))
                self.past[one.number] = replace(self.past[one.number], helped=good)
                self._unmeasured.remove(one)

    # --- relief -------------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """At the end of a step: decide, and begin what was decided."""
        if self.mode is Mode.OFF:
            return
        self._evacuate()
        cloud, now = self._cloud, self._cloud.now
        recent = [move for move in self.past if now - move.began_at < _HELP_SECONDS]
        if not cloud.missing or move_limits.is_cloud_busy(recent, self.limits):
            return
        if move_limits.cloud_refusal(recent, self.limits, now):  # of each host: what it needs need not be put together
            return
        wanting = self._wanting()
        if not wanting:
            return
        here = {guest.uuid for view in wanting for guest in view.guests}
        older = [move for move in self.past if now - move.began_at >= _HELP_SECONDS and move.instance in here]
        decisions = decide(
            [*wanting, *self._destinations()],
            [*older, *recent],
            fits=self._fits,
            limits=self.limits,
            now=now,
            silent_hosts=len(cloud.dead),
            all_hosts=cloud.shape.hosts,
        )
        for decision in decisions:
            if decision.state is State.RESERVED:
                self._begin(decision)
            else:
                self.nothing[decision.state.value] += 1
                self._asked[_host(decision.source)] = now

    def _wanting(self) -> list[HostView]:
        """The hosts with the most violated seconds, some at a time; where nothing could be moved it is asked again after a while."""
        now, found = self._cloud.now, []
        for host, missing in self._cloud.missing.items():
            if now - self._asked.get(host, -_ASK_AGAIN_SECONDS) >= _ASK_AGAIN_SECONDS:
                misses = tuple(self._miss(one) for one in missing)
                lost = missed_per_hour(incurable(misses, self.limits), self.limits)
                if lost > 0:
                    found.append((lost, host))
        worst = sorted(found, key=lambda pair: (-pair[0], pair[1]))[:_HOSTS_AT_ONCE]
        return [self._view(host, with_guests=True) for _, host in worst]

    def _view(self, host: int, *, with_guests: bool = False) -> HostView:
        cloud = self._cloud
        misses: tuple[Miss, ...] = ()
        guests: tuple[Guest, ...] = ()
        if with_guests:
            takers = self._takers(host)
            misses = tuple(self._miss(one, takers) for one in cloud.missing.get(host, ()))
            guests = tuple(self._guest(row) for row in cloud.rows_on(host))
        return HostView(
            name=str(host),
            capacity_cores=cloud.ledger.capacity(host).capacity_cores,
            reserved_cores=float(cloud.ledger.reserved[host]),
            used_cores=float(cloud.used[host]),
            mode=self.mode,
            misses=misses,
            guests=guests,
        )

    def _miss(self, one: Missed, takers: Sequence[Taker] = ()) -> Miss:
        cloud, tenant = self._cloud, self._cloud.table.tenant(one.row)
        offender: str | None
        if one.disk_offender is not None:
            offender = cloud.table.tenant(one.disk_offender).uuid
        else:
            found = find(tenant.uuid, takers)
            offender = found.uuid if found is not None and found.uuid != HOST else None
        return Miss(
            instance=tenant.uuid,
            metric=metric_of(tenant).value,
            cause=_CAUSES[one.cause],
            missed_seconds=cloud.missed_lately(one.row, self.limits.window_seconds),
            short_cores=one.short_cores if one.cause in (columns.CPU, columns.CAPACITY) else None,
            offender=offender,
        )

    def _takers(self, host: int) -> tuple[Taker, ...]:
        cloud, rows = self._cloud, self._cloud.table
        found = [
            Taker(
                uuid=rows.tenant(row).uuid,
                used_cores=float(rows.got[row]),
                entitled_cores=float(rows.allocated[row]),
            )
            for row in cloud.rows_on(host)
        ]
        services = float(cloud.ledger.overhead[host])
        reserved = max(SERVICES_CORES, cloud.settings.host_reserved_cores)
        return (*found, Taker(uuid=HOST, used_cores=services, entitled_cores=reserved))

    def _guest(self, row: int) -> Guest:
        cloud, tenant = self._cloud, self._cloud.table.tenant(row)
        return Guest(
            uuid=tenant.uuid,
            project=tenant.project,
            priority=PRIORITIES[tenant.sla] if tenant.slo is not None else None,
            reserved_cores=float(cloud.table.reserved[row]) if tenant.slo is not None else 0.0,
            used_cores=float(cloud.table.got[row]),
            move_cost=float(tenant.vcpus),
            kept_because="it is on its way" if tenant.uuid in self._under_way else "",
        )

    def _destinations(self) -> list[HostView]:
        """The hosts with the most CPU neither set aside nor used, on which nothing is missed."""
        cloud = self._cloud
        room = cloud.shape.cores - cloud.ledger.overhead - np.maximum(cloud.ledger.reserved, cloud.used)
        room[[*cloud.missing, *cloud.dead]] = -np.inf
        freest = np.argsort(-room, kind="stable")[:_DESTINATIONS]
        return [self._view(int(host)) for host in freest if room[host] > 0]

    def _fits(self, uuid: str, host: str) -> bool:
        cloud, row = self._cloud, self._cloud.row_of[uuid]
        tenant = cloud.table.tenant(row)
        return cloud.ledger.fits(tenant.slo, cloud.costs(row), tenant.vcpus, _host(host))

    def _begin(self, decision: MoveDecision) -> None:
        """Hold the place at the destination and let the cloud move it. One that Nova would not take there fails at once."""
        cloud, row = self._cloud, self._cloud.row_of[decision.instance]
        tenant, number = cloud.table.tenant(row), len(self.past)
        is_relief = decision.kind is Kind.RELIEF
        self._decided.append(decision)
        self.past.append(
            PastMove(
                instance=decision.instance,
                project=tenant.project,
                source=decision.source,
                destination=decision.destination,
                state=State.MOVING,
                began_at=cloud.now,
                kind=decision.kind,
            )
        )
        destination = _host(decision.destination)
        if is_relief and not self._fits(decision.instance, decision.destination):
            self.past[number] = replace(self.past[number], state=State.FAILED, ended_at=cloud.now)
            return
        if is_relief:
            cloud.expect(row, destination)
            cloud.moving[[_host(decision.source), destination]] += MOVING_CORES
        takes = _MOVE_SECONDS + _MOVE_SECONDS_PER_VCPU * tenant.vcpus if is_relief else REBUILT_AFTER_SECONDS
        draw = chance.unit(chance.derived(tenant.seed, "move"), number)
        self._under_way[decision.instance] = _UnderWay(
            number=number,
            uuid=decision.instance,
            source=_host(decision.source),
            destination=destination,
            ends_at=cloud.now + takes,
            fails=is_relief and draw < _FAILS_RATIO,
        )

    # --- dead hosts ---------------------------------------------------------------------------------------------------

    def _evacuate(self) -> None:
        cloud = self._cloud
        for host, death in cloud.dead.items():
            silent = cloud.now - death.at
            waiting = [row for row in cloud.rows_on(host) if cloud.table.tenant(row).slo is not None]
            stranded = tuple(
                self._stranded(row, host) for row in waiting if cloud.table.tenant(row).uuid not in self._under_way
            )
            if not stranded:
                continue
            dead = DeadHost(
                name=str(host),
                silent_seconds=silent,
                is_fenced=silent >= FENCED_AFTER_SECONDS,
                is_down=silent >= FENCED_AFTER_SECONDS,
                mode=self.mode,
                instances=stranded,
            )
            for decision in evacuate(
                dead,
                self._destinations(),
                take=self._take,
                silent_hosts=len(cloud.dead),
                all_hosts=cloud.shape.hosts,
                limits=self.limits,
                largest=_EVACUATED_AT_ONCE,
            ):
                if decision.state is State.RESERVED:
                    self._begin(decision)

    def _stranded(self, row: int, host: int) -> Stranded:
        tenant = self._cloud.table.tenant(row)
        return Stranded(
            uuid=tenant.uuid,
            priority=PRIORITIES[tenant.sla],
            reserved_cores=self._cloud.ledger.held_cores(host, row),
            host=str(host),
            status="ACTIVE",
        )

    def _take(self, uuid: str, host: str) -> bool:
        if not self._fits(uuid, host):
            return False
        self._cloud.expect(self._cloud.row_of[uuid], _host(host))
        return True


def _host(name: str) -> int:
    return int(name)
