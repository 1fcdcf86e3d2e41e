"""What SLOs in force take of their hosts, as a ledger beside the database is to hold it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from stella.control.relief_view import OPEN
from stella.db.models import Instance, MoveRow, SloRow
from stella.db.slos import SUSPENDED
from stella.model.slo import Slo, parse_slo


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """An SLO in force, its instance, and what admission set aside for its floors."""

    instance_id: int
    instance: str
    project: str
    slo: Slo
    reserved_cpu_cores: float


def in_force(session: Session, host_id: int) -> Sequence[InForce]:
    """Those of one host, by uuid of the instance. One that is suspended holds nothing, and is left out."""
    query = (
        select(Instance.id, Instance.uuid, Instance.project_id, SloRow.objectives, SloRow.reserved_cpu_cores)
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(Instance.host_id == host_id, SloRow.objectives.is_not(None), SloRow.state != SUSPENDED)
        .order_by(Instance.uuid)
    )
    return [
        InForce(
            instance_id=row[0],
            instance=row[1],
            project=row[2],
            slo=parse_slo(json.loads(row[3])),
            reserved_cpu_cores=row[4],
        )
        for row in session.execute(query)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """An instance that is on its way to a host, and what its own consumer holds for it there beside Nova's allocation."""

    instance_id: int
    instance: str
    project: str
    resources: Mapping[str, int]


def coming(session: Session, host_id: int) -> Sequence[Coming]:
    """Those that one host does not report yet, by uuid of the instance."""
    query = (
        select(Instance.id, Instance.uuid, Instance.project_id, MoveRow.resources)
        .join(MoveRow, MoveRow.instance_id == Instance.id)
        .where(
            MoveRow.to_host_id == host_id,
            MoveRow.state.in_([state.value for state in OPEN]),
            Instance.host_id != host_id,
        )
        .order_by(Instance.uuid)
    )
    return [
        Coming(instance_id=row[0], instance=row[1], project=row[2], resources=json.loads(row[3]))
        for row in session.execute(query)
    ]
