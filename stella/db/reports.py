"""What taking in a report needs of the database: which reports came, and the host's instances. Few statements, whatever it holds."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Row, TextClause, bindparam, select, text, update
from sqlalchemy.orm import Session

from stella.db.instances import GONE
from stella.db.models import Host, Instance, Stream

_INSTANCES_A_STATEMENT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """``newest``: no report of this host that came before is newer. ``sequence``: the largest of this epoch that came."""

    newest: bool
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownInstance:
    """An instance as the database has it."""

    id: int
    uuid: str
    host_id: int
    previous_host_id: int | None
    project_id: str
    name: str
    state: str
    shape: str
    costs: str
    watched_until: float | None


_OPENED = (
    select(Host, Stream)
    .join(Stream, Stream.host_id == Host.id, isouter=True)
    .where(Host.id == bindparam("host_id"))
    .order_by(Stream.id)
    .with_for_update()
)
_COLUMNS = tuple(getattr(Instance, name) for name in KnownInstance.__slots__)
_ON_HOST = select(*_COLUMNS).where(Instance.host_id == bindparam("host_id"))
_BY_UUID = select(*_COLUMNS).where(Instance.uuid.in_(bindparam("uuids", expanding=True)))


def lock(session: Session, host_id: int) -> tuple[Host, Sequence[Stream]]:
    """The host, which no other writer changes before this session ends, and its streams, the oldest first."""
    rows = session.execute(_OPENED, {"host_id": host_id}).all()
    return rows[0][0], [row[1] for row in rows if row[1] is not None]


def advance(
    session: Session,
    host: Host,
    streams: Sequence[Stream],
    *,
    agent: str,
    epoch: str,
    sequence: int,
    sent_at: float,
    now: float,
) -> Position:
    """Note that a report came. The epoch that was first heard of last is the agent's present life.

    The sequence counts rows of the agent's outbox, so that two reports may have the same: then the one sent later is newer.
    """
    stream = next((s for s in streams if (s.agent, s.epoch) == (agent, epoch)), None)
    if stream is None:
        stream = Stream(
            host_id=host.id, agent=agent, epoch=epoch, sequence=sequence, sent_at=sent_at, first_reported_at=now
        )
        session.add(stream)
        session.flush()
        return Position(newest=True, sequence=sequence)
    newer = (sequence, sent_at) > (stream.sequence, stream.sent_at)
    if newer:
        stream.sequence, stream.sent_at = sequence, sent_at
    return Position(newest=newer and stream is streams[-1], sequence=stream.sequence)


def on_host(session: Session, host_id: int) -> Mapping[str, KnownInstance]:
    """The instances that this host was last known to run, by uuid."""
    return _by_uuid(session.execute(_ON_HOST, {"host_id": host_id}).all())


def named(session: Session, uuids: Iterable[str]) -> Mapping[str, KnownInstance]:
    """These instances, by uuid; unknown ones are left out."""
    wanted = sorted(set(uuids))
    return _by_uuid(session.execute(_BY_UUID, {"uuids": wanted}).all()) if wanted else {}


def _by_uuid(rows: Iterable[Row[tuple[object, ...]]]) -> dict[str, KnownInstance]:
    return {row.uuid: KnownInstance(**row._mapping) for row in rows}


def refresh(session: Session, reported: Mapping[int, str], now: float) -> None:
    """Keep what was reported (JSON) of these instances, by id, in one statement for hundreds: one for each takes far longer."""
    ids = list(reported)
    for first in range(0, len(ids), _INSTANCES_A_STATEMENT):
        some = ids[first : first + _INSTANCES_A_STATEMENT]
        values: dict[str, object] = {"now": now}
        for number, instance_id in enumerate(some):
            values[f"i{number}"], values[f"r{number}"] = instance_id, reported[instance_id]
        session.execute(_refreshing(len(some)), values)


@functools.lru_cache(maxsize=_INSTANCES_A_STATEMENT)
def _refreshing(count: int) -> TextClause:
    numbers = range(count)
    cases = " ".join(f"WHEN :i{n} THEN :r{n}" for n in numbers)
    ids = ", ".join(f":i{n}" for n in numbers)
    return text(
        f"UPDATE instances SET reported_at = :now, reported = CASE id {cases} ELSE reported END WHERE id IN ({ids})"  # noqa: S608
    )


def change(session: Session, instance_id: int, values: Mapping[str, object]) -> None:
    """Set these columns of an instance."""
    changed = update(Instance).where(Instance.id == instance_id).values(dict(values))
    session.execute(changed.execution_options(synchronize_session=False))


def lose(session: Session, instance_ids: Sequence[int], now: float) -> None:
    """These instances are not on their host any more."""
    lost = update(Instance).where(Instance.id.in_(instance_ids)).values(state=GONE, gone_at=now)
    session.execute(lost.execution_options(synchronize_session=False))
