"""Failover: each instance whose SLA class asks for it has a place on another host, should its own be lost (`stella.control.failover`).

Setting an SLO finds its place at once (`stella.api.failover`). Here is what changes afterwards: instances that moved, hosts that can
keep no place any more, classes that are attached or detached.
"""

import logging
from collections.abc import Collection, Sequence
from functools import partial

from oslo_config import cfg

from stella.admission import failover
from stella.admission.changes import Moved
from stella.control.failover import Plan, Wanted, plan
from stella.db import decisions, failover_places, hosts, reserved, slos
from stella.db.database import Session
from stella.db.models import Host, Instance
from stella.db.slos import system_origin
from stella.engine.duty import Duty, Outcome, Work
from stella.engine.relief_views import slo_of

_LOG = logging.getLogger(__name__)
INTERVAL_SECONDS = 10.0
LARGEST_AT_ONCE = 20
_WRONG_CORES = 1e-6
NO_PLACE = "no other host could take its SLO should its host be lost"
HAS_PLACE = "another host keeps a place for its SLO should its host be lost"


class Failover:
    """The duty."""

    def __init__(self, *, margin: float) -> None:
        """``margin`` is for hosts that report none."""
        self._margin = margin
        self._turn = 0  # whose turn it is, where more need a place than one run looks for

    def run(self, work: Work) -> Outcome:
        """Let go of places that nobody needs, and find those that are missing."""
        now = work.clock()
        with work.store.reader() as session:
            wanted = {one.instance: one for one in failover_places.wanted(session, int(now))}
            kept = failover_places.all_of_them(session)
            usable = self._usable(
                session, {one.host_id for one in kept.values()}, now - work.limits.host_silent_seconds
            )
        places = {instance: (one.host_id, one.place) for instance, one in kept.items()}
        todo = plan(wanted.values(), places, usable)
        looked_at = self._in_turn(todo.find)
        found = sum(self._find(work, wanted[instance_id]) for instance_id in looked_at)
        changed = self._drop(work, todo) + found + self._recount(work)
        more = len(todo.find) > len(looked_at) and found > 0
        return Outcome(changed=changed, more=more, backlog=len(todo.find) - found)

    def _in_turn(self, ids: Sequence[int]) -> Sequence[int]:
        first = self._turn % max(1, len(ids))
        self._turn += LARGEST_AT_ONCE
        return (*ids[first:], *ids[:first])[:LARGEST_AT_ONCE] if len(ids) > LARGEST_AT_ONCE else ids

    @staticmethod
    def _usable(session: Session, ids: Collection[int], silent_before: float) -> frozenset[int]:
        return frozenset(host.id for host in hosts.by_ids(session, ids) if _keeps(host, silent_before))

    @staticmethod
    def _drop(work: Work, todo: Plan) -> int:
        if todo.drop:
            work.store.write(lambda session: failover_places.drop(session, todo.drop))
        return len(todo.drop)

    def _find(self, work: Work, one: Wanted) -> bool:
        """Keep a place for an instance; whether one is kept now. That there is none is told once."""
        now = work.clock()
        with work.store.reader() as session:
            instance, row = session.get_one(Instance, one.instance), slos.find(session, one.instance)
            if row is None or row.objectives is None or instance.host_id != one.lost:
                return False  # it changed since: the next run looks again
            found = failover.find(
                session,
                instance,
                slo_of(row),
                cores=one.cores,
                io_ratio=one.io_ratio,
                margin=self._margin,
                silent_before=now - work.limits.host_silent_seconds,
            )
            is_missing = decisions.last_reason(session, decisions.FAILOVER, one.instance) == NO_PLACE
        is_news = is_missing is not (found is None)

        def write(session: Session) -> None:
            if found is None:
                failover_places.drop(session, [one.instance])  # one that cannot be kept any more is no promise
            else:
                failover.keep(session, found, at=now)
            if is_news:
                decisions.record(
                    session,
                    decisions.FAILOVER,
                    origin=system_origin(now),
                    reason=NO_PLACE if found is None else HAS_PLACE,
                    host_id=one.lost,
                    instance_id=one.instance,
                )

        try:
            work.store.write(write)
        except Moved:
            return False
        if found is not None:
            _LOG.info("instance %s has a place on %s should its host be lost", instance.uuid, found.keeper.name)
        elif is_news:
            _LOG.warning("instance %s: %s", instance.uuid, NO_PLACE)
        return found is not None

    @staticmethod
    def _recount(work: Work) -> int:
        """Put right what hosts are said to keep: instances that move change for which loss a place is."""
        with work.store.reader() as session:
            found = hosts.by_ids(session, failover_places.keepers(session))
            held = slos.holdings(session, [host.id for host in found])
        wrong = [
            host
            for host in found
            if abs(reserved.sums(host, held[host.id])["failover_cpu_cores"] - host.failover_cpu_cores) > _WRONG_CORES
        ]
        for host in wrong:
            work.store.write(partial(reserved.recount, host=host))
        return len(wrong)


def _keeps(host: Host, silent_before: float) -> bool:
    reports = host.reported_at is not None and host.reported_at >= silent_before
    return host.mode == "enforce" and host.credential_sha256 is not None and reports


def duty(config: cfg.ConfigOpts) -> Duty:
    """The duty as the configuration has it."""
    made = Failover(margin=config.link.reservation_margin_ratio)
    return Duty(name="failover", interval_seconds=INTERVAL_SECONDS, run=made.run)
