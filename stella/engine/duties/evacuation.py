"""Dead hosts: their guaranteed instances are rebuilt elsewhere once the host is fenced (`stella.control.evacuation`)."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from oslo_config import cfg

from stella.clouds.port import Mover, Unanswered
from stella.conf import InvalidConfig
from stella.conf import relief as options
from stella.control import move_limits, relief_news
from stella.control.evacuation import DEAD_SECONDS, DeadHost, Fence, Stranded, evacuate, fence
from stella.control.relief_news import Told
from stella.control.relief_view import OPEN, Kind, Limits, Mode, MoveDecision
from stella.db import decisions, hosts, missed, moves, slos
from stella.db.database import Session
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import system_origin
from stella.engine import moving, relief_views
from stella.engine.duty import Duty, Outcome, Work
from stella.engine.fencing import Ended, Fencing, InvalidCommand
from stella.engine.moving import NoPlace, Parts
from stella.engine.refused_places import RefusedPlaces
from stella.engine.relief_views import Places

_LOG = logging.getLogger(__name__)
INTERVAL_SECONDS = 5.0
LARGEST_AT_ONCE = 10
_LARGEST_HOSTS = 20
_LARGEST_OF_HOST = 50
_HOUR_SECONDS = 3600.0
_LONGEST_SECONDS = 2.0
"""A slow cloud is asked for the rest in the next run: other duties wait for this one."""

Row = tuple[Instance, SloRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dead:
    """A silent host as it was read, with its guaranteed instances, those that move already, and those that failed to lately."""

    host: Host
    seconds: float
    rows: Sequence[Row]
    moving: frozenset[str]
    resting: frozenset[str]


class Evacuation:
    """The duty. ``mover`` is None where the cloud cannot move instances: then all is suggested."""

    def __init__(
        self,
        mover: Mover | None,
        *,
        cloud: Mode,
        limits: Limits,
        margin: float,
        fencing: Fencing,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``cloud`` is the mode of hosts that have none of their own; ``margin`` is for hosts that report none."""
        self._mover, self._cloud, self._limits = mover, cloud, limits
        self._margin, self._fencing, self._monotonic = margin, fencing, monotonic
        self._full = RefusedPlaces()

    def run(self, work: Work) -> Outcome:
        """Follow what is evacuated, fence, decide anew. Raises `stella.clouds.port.Unanswered`."""
        changed = moving.follow(work, self._mover, Kind.EVACUATION) if self._mover is not None else 0
        changed += sum(self._keep_fence(work, ended) for ended in self._fencing.poll())
        if self._cloud is Mode.OFF:
            return Outcome(changed=changed, hosts={"dead": 0, "too_many_silent": 0})
        now = work.clock()
        with work.store.reader() as session:
            silent_hosts, all_hosts = missed.counts(session)
            found = self._read(session, now)
            told = moves.told(session, since=now - relief_news.AGAIN_SECONDS)
        too_many = move_limits.too_many_silent(silent_hosts, all_hosts, self._limits)
        for dead in found[:1] if too_many else found:  # the first speaks for all
            changed += self._handle(work, dead, told, silent_hosts, all_hosts)
        alarms = {"dead": len(found), "too_many_silent": silent_hosts if too_many else 0}
        return Outcome(changed=changed, hosts=alarms)

    def _read(self, session: Session, now: float) -> Sequence[_Dead]:
        under_way = frozenset(move.instance.uuid for move in moves.under_way(session))
        resting = move_limits.resting(moves.past(session, since=now - _HOUR_SECONDS), self._limits, now)
        found = []
        for host in missed.silent_hosts(session, largest=_LARGEST_HOSTS):
            seconds = now - (host.reported_at or host.enrolled_at)
            rows = missed.stranded(session, host.id, largest=_LARGEST_OF_HOST)
            if seconds >= DEAD_SECONDS and rows and host.mode != "maintenance":
                found.append(_Dead(host=host, seconds=seconds, rows=rows, moving=under_way, resting=resting))
        return found

    def _handle(self, work: Work, dead: _Dead, told: Sequence[Told], silent_hosts: int, all_hosts: int) -> int:
        """Fence or evacuate one host; how much was done or recorded."""
        shown = self._shown(dead)
        if fence(shown, silent_hosts=silent_hosts, all_hosts=all_hosts, limits=self._limits) is Fence.RUN:
            work.store.write(lambda session: None)  # the command does not know our lease: it is asked before
            ended = self._fencing.start(dead.host.name)
            if ended is not None:
                self._keep_fence(work, ended)
        with work.store.reader() as session:
            silent_before = work.clock() - work.limits.host_silent_seconds
            places = relief_views.destinations(session, margin=self._margin, silent_before=silent_before)
        places.instances = {instance.uuid: (instance, row) for instance, row in dead.rows}
        places.full = self._full.at(work.clock())
        views = [relief_views.view(host, self._cloud, silent_before=silent_before) for host in places.hosts.values()]
        made = evacuate(
            shown,
            views,
            take=places.take,
            silent_hosts=silent_hosts,
            all_hosts=all_hosts,
            limits=self._limits,
            largest=LARGEST_AT_ONCE - len(dead.moving),
        )
        by_uuid = {instance.uuid: (instance, row) for instance, row in dead.rows}
        return sum(self._do(work, dead.host, one, by_uuid, places.hosts, told) for one in made)

    def _shown(self, dead: _Dead) -> DeadHost:
        """What the decision rests on. The cloud is asked only about a host that is fenced, or could be."""
        host, mode = dead.host, relief_views.mode_of(dead.host, self._cloud)
        is_fenced = host.fenced_at is not None and host.fenced_at >= (host.reported_at or 0.0)
        waiting = [pair for pair in dead.rows if pair[0].uuid not in dead.moving | dead.resting]
        if self._mover is None:
            mode, is_down = (Mode.SUGGEST if mode is Mode.ACT else mode), True
        else:
            is_down = (is_fenced or self._fencing.is_configured) and self._mover.is_down(host.name)
        ask = is_fenced and is_down and mode is not Mode.OFF
        until = self._monotonic() + _LONGEST_SECONDS
        shown = [self._stranded(host, instance, row, ask=ask) for instance, row in waiting if self._monotonic() < until]
        return DeadHost(
            name=host.name,
            silent_seconds=dead.seconds,
            is_fenced=is_fenced,
            is_down=is_down,
            mode=mode,
            instances=tuple(one for one in shown if one is not None),
            has_fencing_command=self._fencing.is_configured,
        )

    def _stranded(self, host: Host, instance: Instance, row: SloRow, *, ask: bool) -> Stranded | None:
        """The instance as the cloud shows it; None where the cloud does not tell."""
        priority = relief_views.priority_of(row)
        known = Stranded(
            uuid=instance.uuid,
            priority=priority,
            reserved_cores=row.reserved_cpu_cores,
            host=host.name,
            status="ACTIVE",
        )
        if self._mover is None or not ask:
            return known
        try:
            found = self._mover.movement(instance.uuid)
        except Unanswered as error:
            _LOG.warning("instance %s is not evacuated yet: %s", instance.uuid, error)
            return None
        own = tuple(one.status for one in found.migrations if one.source == host.name)
        return replace(known, host=found.host, status=found.status, task_state=found.task_state, migrations=own)

    def _do(
        self,
        work: Work,
        source: Host,
        made: MoveDecision,
        rows: Mapping[str, Row],
        places: Mapping[str, Host],
        told: Sequence[Told],
    ) -> bool:
        instance, row = rows[made.instance] if made.instance else (None, None)
        if made.state in OPEN and self._mover is not None:
            destination = self._still_fits(work, made, rows)
            if destination is None:
                return False
            parts = Parts(source=source, destination=destination, instance=instance, row=row)
            try:
                return moving.begin(work, self._mover, made, parts)
            except NoPlace:
                self._full.add(made.instance, made.destination, work.clock())
                return False
        if not relief_news.is_news(made, told, work.clock()):
            return False
        moving.record(
            work,
            made,
            Parts(source=source, destination=places.get(made.destination), instance=instance, row=row),
        )
        return True

    def _still_fits(self, work: Work, made: MoveDecision, rows: Mapping[str, Row]) -> Host | None:
        """The destination as it is now, after those that were placed there before; None: it takes this one no more."""
        with work.store.reader() as session:
            host = hosts.find(session, made.destination)
            if host is None:
                return None
            held = slos.holdings(session, [host.id])
        now = Places(hosts={host.name: host}, margin=self._margin, holdings=dict(held), instances=dict(rows))
        return host if now.fits(made.instance, host.name) else None

    @staticmethod
    def _keep_fence(work: Work, ended: Ended) -> int:
        """Keep what became of the fencing command; a host that reports again meanwhile is not fenced."""
        now = work.clock()
        told = ended.text
        reason = f"the fencing command succeeded: {told}" if ended.succeeded else f"the fencing command failed: {told}"

        def keep(session: Session) -> None:
            host = hosts.find(session, ended.host)
            if host is None:
                return
            if ended.succeeded:
                hosts.fence(session, host.id, at=now)
            decisions.record(session, decisions.HOST_FENCED, origin=system_origin(now), reason=reason, host_id=host.id)

        work.store.write(keep)
        _LOG.warning("host %s: %s", ended.host, reason)
        return 1


def duty(config: cfg.ConfigOpts, mover: Mover | None) -> Duty:
    """The duty as the configuration has it. Raises `stella.conf.InvalidConfig`."""
    try:
        fencing = Fencing(config.relief.fencing_command, seconds=config.relief.fencing_seconds)
    except InvalidCommand as error:
        raise InvalidConfig(str(error)) from None
    made = Evacuation(
        mover,
        cloud=Mode(config.relief.mode),
        limits=options.limits_of(config),
        margin=config.link.reservation_margin_ratio,
        fencing=fencing,
    )
    return Duty(name="evacuation", interval_seconds=INTERVAL_SECONDS, run=made.run)
