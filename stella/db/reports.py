"""Which reports of an agent came: one row for each of its lives."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from stella.db.models import Host, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """``newest``: no report of this host that came before is newer. ``sequence``: the largest of this epoch that came."""

    newest: bool
    sequence: int


def advance(
    session: Session, host: Host, *, agent: str, epoch: str, sequence: int, sent_at: float, now: float
) -> Position:
    """Note that a report came. The epoch that was first heard of last is the agent's present life.

    The sequence counts rows of the agent's outbox, so that two reports may have the same: then the one sent later is newer.
    """
    streams = session.scalars(select(Stream).where(Stream.host_id == host.id).order_by(Stream.id)).all()
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
