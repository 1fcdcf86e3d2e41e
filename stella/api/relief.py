"""Which instances would have to move so that an SLO fits: `stella.control.relief`, asked of what is in the database. For operators."""

import json
from collections.abc import Sequence

from stella.admission import verdicts
from stella.admission.changes import Present
from stella.control.relief import Movable, relief
from stella.db import slos
from stella.db.database import Session
from stella.db.instances import GONE
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import Holding
from stella.model.slo import Slo, parse_slo
from stella.model.wire import Json

Place = tuple[Host, Sequence[Holding]]
"""A host and what it holds."""


def moves(session: Session, present: Present, slo: Slo, *, others: Sequence[Place], margin: float) -> list[Json]:
    """The moves to ``others``, hosts with what they hold, that would make room for ``slo`` on its host; none where none was found."""
    host, instance = present.host, present.instance
    if not verdicts.would_fit(slo, host=host, instance=instance, holdings=(), margin=margin):
        return []  # not even on an empty host: the instance itself is the limit
    beside = [one for one in present.holdings if one.instance_id != instance.id]
    rows = {
        other.uuid: (other, row)
        for other, row in slos.on_host(session, host.id)
        if other.id != instance.id and other.state != GONE
    }
    places = _Places(others, margin)

    def makes_room(uuids: frozenset[str]) -> bool:
        moved = {rows[uuid][0].id for uuid in uuids}
        left = [one for one in beside if one.instance_id not in moved]
        return verdicts.would_fit(slo, host=host, instance=instance, holdings=left, margin=margin)

    found = relief(
        [Movable(uuid=uuid, cores=row.reserved_cpu_cores, priority=_priority(row)) for uuid, (_, row) in rows.items()],
        short_cores=verdicts.short_cores(slo, host=host, instance=instance, holdings=beside, margin=margin),
        priority=max(objective.priority for objective in slo.objectives),
        makes_room=makes_room,
        places=lambda uuids: places.of([rows[uuid] for uuid in uuids]),
    )
    return [
        {
            "uuid": move.uuid,
            "name": rows[move.uuid][0].name,
            "project_id": rows[move.uuid][0].project_id,
            "priority": _priority(rows[move.uuid][1]),
            "reserved_cpu_cores": rows[move.uuid][1].reserved_cpu_cores,
            "to": move.host,
        }
        for move in found
    ]


def _priority(row: SloRow) -> int:
    """The highest of its objectives."""
    return max((int(keys.get("priority", 0)) for keys in json.loads(row.objectives or "{}").values()), default=0)


class _Places:
    """Where instances would go together."""

    def __init__(self, hosts: Sequence[Place], margin: float) -> None:
        self._hosts = hosts
        self._margin = margin

    def of(self, found: Sequence[tuple[Instance, SloRow]]) -> list[str] | None:
        """The host of each; None where one finds none beside those before it."""
        taken: dict[int, list[Holding]] = {host.id: list(holdings) for host, holdings in self._hosts}
        names = []
        for instance, row in found:
            slo = parse_slo(json.loads(row.objectives or "{}"))
            host = next((h for h, _ in self._hosts if self._fits(slo, h, instance, taken[h.id])), None)
            if host is None:
                return None
            names.append(host.name)
            taken[host.id].append(
                Holding(
                    instance_id=instance.id,
                    shape=instance.shape,
                    reserved_cpu_cores=row.reserved_cpu_cores,
                    reserved_io_ratio=row.reserved_io_ratio,
                )
            )
        return names

    def _fits(self, slo: Slo, host: Host, instance: Instance, holdings: Sequence[Holding]) -> bool:
        if not verdicts.may_fit(slo, host=host, instance=instance, margin=self._margin):
            return False
        return verdicts.would_fit(slo, host=host, instance=instance, holdings=holdings, margin=self._margin)
