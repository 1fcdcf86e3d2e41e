"""Projects: their own quotas, and what their SLOs hold.

A project has a row from its first SLO or its first own limit on. What changes its SLOs is checked against its generation, so that
no two together exceed a quota (`docs/decisions/0037`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from oslo_db import exception
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from stella.db.database import changed_rows
from stella.db.models import Instance, Project, SloFloor, SloRow
from stella.model import wire
from stella.model.slo import Metric

FLOORS = tuple(metric.value for metric in Metric if metric is not Metric.BLOCK_LATENCY)
RESERVED, SLOS = "reserved_cpu_cores", "slos"
RESOURCES = (*FLOORS, RESERVED, SLOS)
"""What a quota limits: the sum of floors of each metric in its base unit, the CPU set aside in cores, the number of SLOs."""

Amounts = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A project as it was read: its own limits by resource, and its generation (0: it has no row yet)."""

    project_id: str
    generation: int
    limits: Amounts


def _account(project_id: str, row: tuple[int, str] | None) -> Account:
    generation, limits = row if row is not None else (0, "{}")
    return Account(project_id=project_id, generation=generation, limits=json.loads(limits))


def find(session: Session, project_id: str) -> Account:
    """The project, known or not."""
    row = session.execute(select(Project.generation, Project.limits).where(Project.project_id == project_id)).first()
    return _account(project_id, (row[0], row[1]) if row else None)


def page(session: Session, *, limit: int, marker: str | None) -> Sequence[Account]:
    """Projects that have or had an SLO or a limit of their own, by id, after ``marker``."""
    query = select(Project.project_id, Project.generation, Project.limits).order_by(Project.project_id).limit(limit)
    query = query.where(Project.project_id > marker) if marker is not None else query
    return [_account(row[0], (row[1], row[2])) for row in session.execute(query)]


def used(
    session: Session, project_ids: Collection[str], *, except_instance_id: int | None = None
) -> Mapping[str, dict[str, float]]:
    """What the SLOs in force of these projects hold, by project and resource; that of one instance may be left out."""
    found: dict[str, dict[str, float]] = {project_id: dict.fromkeys(RESOURCES, 0.0) for project_id in project_ids}
    in_force: list[ColumnElement[bool]] = [Instance.project_id.in_(list(found)), SloRow.objectives.is_not(None)]
    if except_instance_id is not None:
        in_force.append(Instance.id != except_instance_id)
    totals = (
        select(Instance.project_id, func.sum(SloRow.reserved_cpu_cores), func.count())
        .join(SloRow, SloRow.instance_id == Instance.id)
        .where(*in_force)
        .group_by(Instance.project_id)
    )
    floors = (
        select(Instance.project_id, SloFloor.metric, func.sum(SloFloor.value))
        .join(SloRow, SloRow.instance_id == Instance.id)
        .join(SloFloor, SloFloor.slo_id == SloRow.id)
        .where(*in_force)
        .group_by(Instance.project_id, SloFloor.metric)
    )
    for project_id, cores, count in session.execute(totals) if found else ():
        found[project_id] |= {RESERVED: float(cores), SLOS: float(count)}
    for project_id, metric, value in session.execute(floors) if found else ():
        found[project_id][metric] = float(value)
    return found


def hold(session: Session, seen: Account, *, is_counted: bool) -> bool:
    """Whether the project is still as it was ``seen``; it stays so until this session ends.

    ``is_counted``: the change counts against a limit, so the generation moves on and of two such changes one reads again. Without a
    limit many may go on at once: they only keep a limit from being set meanwhile. False: the caller rolls back.
    """
    if seen.generation == 0:
        return _insert(session, seen)
    same = (Project.project_id == seen.project_id, Project.generation == seen.generation)
    if not is_counted:
        return session.scalar(select(Project.id).where(*same).with_for_update(read=True)) is not None
    swap = update(Project).where(*same).values(generation=seen.generation + 1)
    return changed_rows(session.execute(swap.execution_options(synchronize_session=False))) == 1


def _insert(session: Session, seen: Account) -> bool:
    session.add(Project(project_id=seen.project_id, generation=1, limits=wire.dumps(seen.limits)))
    try:
        session.flush()
    except exception.DBDuplicateEntry:
        return False
    return True


def set_limits(session: Session, project_id: str, changes: Mapping[str, float | None]) -> tuple[Amounts, Amounts]:
    """Change the project's own limits of these resources (None: back to the default); what they were and are.

    -1 is no limit. Raises `oslo_db.exception.DBDuplicateEntry` where another makes the row at the same time.
    """
    row = session.scalar(select(Project).where(Project.project_id == project_id).with_for_update())
    if row is None:
        row = Project(project_id=project_id, generation=0, limits="{}")
        session.add(row)
    before: dict[str, float] = json.loads(row.limits)
    merged: dict[str, float | None] = {**before, **changes}
    after = {name: value for name, value in merged.items() if value is not None}
    row.limits, row.generation = wire.dumps(after), row.generation + 1
    session.flush()
    return before, after
