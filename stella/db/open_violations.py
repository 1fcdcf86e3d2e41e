"""Violations that are open, with all that may tell that they ended."""

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from stella.control.episodes import Circumstances, Episode
from stella.db.instances import GONE
from stella.db.models import Host, Instance, Minute, SloRow, ViolationRow
from stella.db.violations import episode_of
from stella.model.report import MINUTE_SECONDS

Found = tuple[Episode, Circumstances]


def read(session: Session, *, after_id: int, largest: int, silent_before: float) -> Sequence[Found]:
    """Up to ``largest`` by id; a host counts as silent for long if its last report is from before ``silent_before`` (Unix seconds)."""
    query = (
        select(ViolationRow, Instance, Host, SloRow)
        .join(Instance, Instance.id == ViolationRow.instance_id)
        .join(Host, Host.id == ViolationRow.host_id)
        .join(SloRow, SloRow.instance_id == Instance.id, isouter=True)
        .where(ViolationRow.closed_at.is_(None), ViolationRow.id > after_id)
        .order_by(ViolationRow.id)
        .limit(largest)
    )
    rows = session.execute(query).all()
    later = _later(session, [row[0] for row in rows])
    return [_found(session, (row[0], row[1], row[2], row[3]), later, silent_before) for row in rows]


def _found(
    session: Session,
    found: tuple[ViolationRow, Instance, Host, SloRow | None],
    later: Mapping[tuple[int, int, str], float],
    silent_before: float,
) -> Found:
    row, instance, host, slo = found
    episode = episode_of(row)
    newest = later.get((row.host_id, row.instance_id, row.metric), row.opened_at)
    silent = host.silent_since is not None and host.reported_at is not None and host.reported_at < silent_before
    return episode, Circumstances(
        gone_at=instance.gone_at if instance.state == GONE else None,
        withdrawn_at=_withdrawn_at(slo, row.metric),
        silent_since=host.silent_since if silent else None,
        next_opened_at=newest if newest > row.opened_at else None,
        good_minute=_good_minute(session, row, episode),
    )


def _withdrawn_at(slo: SloRow | None, metric: str) -> float | None:
    if slo is None or metric in json.loads(slo.objectives or "{}"):
        return None
    return slo.changed_at


def _later(session: Session, rows: Sequence[ViolationRow]) -> Mapping[tuple[int, int, str], float]:
    query = (
        select(ViolationRow.host_id, ViolationRow.instance_id, ViolationRow.metric, func.max(ViolationRow.opened_at))
        .where(ViolationRow.instance_id.in_({row.instance_id for row in rows}))
        .group_by(ViolationRow.host_id, ViolationRow.instance_id, ViolationRow.metric)
    )
    return {(row[0], row[1], row[2]): row[3] for row in session.execute(query)} if rows else {}


def _good_minute(session: Session, row: ViolationRow, episode: Episode) -> float | None:
    """A host sends the end of an episode before the minute that follows: with such a minute it has no more to say of the episode."""
    query = select(func.min(Minute.start)).where(
        Minute.instance_id == row.instance_id,
        Minute.metric == row.metric,
        Minute.host_id == row.host_id,
        Minute.start >= episode.known_end,
        Minute.violated_seconds + Minute.degraded_seconds + Minute.unknown_seconds == 0,
        Minute.met_seconds + Minute.no_demand_seconds + Minute.self_limited_seconds >= MINUTE_SECONDS,
    )
    found = session.scalar(query)
    return None if found is None else float(found)
