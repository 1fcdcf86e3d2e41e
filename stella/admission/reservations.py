"""A place on another host, held for an instance before it moves there: in the cloud's ledger first, then in the database.

What dies in between leaves too much in the ledger, which stella-engine's duty `ledger` finds. From the database's commit on, admission
on that host and the duty count what is on its way (`stella.db.slos.holdings`, `stella.db.claims.coming`).
"""

import json
import logging
from collections.abc import Mapping

from stella.admission.changes import Store
from stella.clouds.port import Claim, Mover, Unanswered
from stella.control.relief_view import MoveDecision
from stella.db import moves
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import Origin
from stella.model.resources import resources_of
from stella.model.slo import parse_slo

_LOG = logging.getLogger(__name__)


def hold(
    store: Store,
    mover: Mover,
    made: MoveDecision,
    *,
    instance: Instance,
    row: SloRow | None,
    source: Host,
    destination: Host,
    origin: Origin,
) -> int | None:
    """Hold the place, and keep the decision; its number. None where the destination changed since it was read: decide again.

    ``row`` is the instance's SLO in force (None: it has none). Raises `NoRoom` and `Unanswered`, with nothing kept, and
    `stella.model.slo.InvalidSlo` for more than the ledger can count.
    """
    claim = _claim(instance, destination, _resources(row))
    held = mover.reserve(claim, source=source.resource_provider or "")
    try:
        return store.write(
            lambda session: moves.open_(
                session,
                made,
                source=source,
                destination=destination,
                instance=instance,
                origin=origin,
                resources=held,
            )
        )
    except moves.Taken:
        let_go(mover, instance, destination)
        return None


def let_go(mover: Mover, instance: Instance, destination: Host) -> None:
    """What was held for an instance that does not come. Where the ledger does not answer, its duty finds it."""
    try:
        mover.release(_claim(instance, destination, {}))
    except Unanswered as error:
        _LOG.warning("instance %s holds a place on %s in Placement for now: %s", instance.uuid, destination.name, error)


def _claim(instance: Instance, destination: Host, resources: Mapping[str, int]) -> Claim:
    return Claim(
        instance=instance.uuid,
        project=instance.project_id,
        provider=destination.resource_provider or "",
        resources=resources,
    )


def _resources(row: SloRow | None) -> Mapping[str, int]:
    if row is None or row.objectives is None:
        return {}
    return resources_of(parse_slo(json.loads(row.objectives)), row.reserved_cpu_cores)
