"""A place on another host for an instance that is to survive the loss of its own: where, and kept by compare-and-swap on that host.

It counts in the database, which every admission asks, and so does Nova's scheduler. In Placement it is not held: there it would be in
the way of the very evacuation that it is for.
"""

from dataclasses import dataclass

from stella.admission import verdicts
from stella.admission.changes import Moved
from stella.control.failover import Keeper, Place, keepers_in_order
from stella.db import failover_places, hosts, reserved, slos
from stella.db.database import Session
from stella.db.models import Host, Instance
from stella.model.slo import Slo

_LARGEST_ASKED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a place is to be kept. ``keeper`` as it was read: its generation guards what its answer rests on."""

    instance_id: int
    keeper: Host
    cores: float
    io_ratio: float
    before_id: int | None


def find(
    session: Session,
    instance: Instance,
    slo: Slo,
    *,
    cores: float,
    io_ratio: float,
    margin: float,
    silent_before: float,
) -> Found | None:
    """A host that can keep ``cores`` for ``slo`` beside all that it holds, and take it should the instance's own host be lost.

    None where there is none among those with the most free CPU and the one that keeps the place now.
    """
    kept = failover_places.of_instance(session, instance.id)
    found = {host.id: host for host in hosts.candidates(session, except_id=instance.host_id, limit=_LARGEST_ASKED)}
    if kept is not None and kept.host_id != instance.host_id:
        found[kept.host_id] = hosts.get(session, kept.host_id)
    able = [host for host in found.values() if not verdicts.unfit(slo, host, silent_before)]
    ids = [host.id for host in able]
    places = slos.failover_places(session, ids)
    now, held = slos.holdings(session, ids), slos.holdings(session, ids, lost=instance.host_id)
    place = Place(
        instance=instance.id,
        lost=instance.host_id,
        cores=cores,
        io_ratio=io_ratio,
        vcpus=verdicts.shape_of_text(instance.shape).vcpus,
    )
    keepers = [
        Keeper(host=host, free_cores=verdicts.free_cores(host, now[host.id]), places=places[host.id]) for host in able
    ]
    for keeper in keepers_in_order(place, keepers):
        host = keeper.host
        beside = [one for one in held[host.id] if one.instance_id != instance.id]
        if verdicts.would_fit(slo, host=host, instance=instance, holdings=beside, margin=margin):
            before = kept.host_id if kept is not None and kept.host_id != host.id else None
            return Found(instance_id=instance.id, keeper=host, cores=cores, io_ratio=io_ratio, before_id=before)
    return None


def keep(session: Session, found: Found, *, at: float) -> None:
    """Keep the place, in the transaction of ``session``. Raises `stella.admission.changes.Moved` where it changed."""
    keeper = found.keeper
    failover_places.put(session, found.instance_id, keeper.id, cores=found.cores, io_ratio=found.io_ratio, at=at)
    if not reserved.recount(session, keeper):
        raise Moved
    if found.before_id is not None:
        reserved.recount(session, hosts.lock(session, found.before_id))
