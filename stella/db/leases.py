"""Leases: who leads, and the fence that keeps one who led before from writing (`docs/decisions/0033`).

``token`` moves with every new holder, ``renewal`` with every sign of life. Nothing here compares times: ``renewed_at`` is for people.
"""

from dataclasses import dataclass

from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from stella.db.database import Database, changed_rows
from stella.db.models import Lease


class LeaseLost(Exception):
    """Another holds the lease now; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A lease as it was read. ``holder`` None: it was released."""

    holder: str | None
    token: int
    renewal: int


def read(session: Session, name: str) -> Sighting:
    """The lease; one that was never taken is released, with token 0."""
    row = session.execute(select(Lease.holder, Lease.token, Lease.renewal).where(Lease.name == name)).first()
    return Sighting(holder=row[0], token=row[1], renewal=row[2]) if row else Sighting(holder=None, token=0, renewal=0)


def take(session: Session, name: str, seen: Sighting, *, holder: str, now: float) -> int | None:
    """Become the holder if the lease is still as it was ``seen``; the new token, or None.

    Raises oslo.db's DBDuplicateEntry when two take one that never was.
    """
    token = seen.token + 1
    values = {"holder": holder, "token": token, "renewal": 0, "renewed_at": now}
    if session.get(Lease, name) is None:
        session.add(Lease(name=name, **values))
        session.flush()
        return token
    swap = update(Lease).where(Lease.name == name, Lease.token == seen.token, Lease.renewal == seen.renewal)
    swap = swap.values(values).execution_options(synchronize_session=False)
    return token if changed_rows(session.execute(swap)) == 1 else None


def renew(session: Session, name: str, *, token: int, now: float) -> bool:
    """Give a sign of life; False when another has taken the lease."""
    swap = update(Lease).where(Lease.name == name, Lease.token == token, Lease.holder.is_not(None))
    swap = swap.values(renewal=Lease.renewal + 1, renewed_at=now).execution_options(synchronize_session=False)
    return changed_rows(session.execute(swap)) == 1


def release(session: Session, name: str, *, token: int) -> bool:
    """Give the lease up, so that another takes it at once; False when another has it already."""
    swap = update(Lease).where(Lease.name == name, Lease.token == token)
    swap = swap.values(holder=None).execution_options(synchronize_session=False)
    return changed_rows(session.execute(swap)) == 1


def require(session: Session, name: str, *, token: int) -> None:
    """First statement of a fenced transaction: until it ends nobody else takes the lease. Raises `LeaseLost`."""
    held = select(Lease.token).where(Lease.name == name, Lease.holder.is_not(None)).with_for_update()
    if session.scalar(held) != token:
        raise LeaseLost(name)


def bound_transactions(database: Database, *, idle_seconds: int) -> None:
    """Let MariaDB end a transaction that is idle for longer, so that the locks of a frozen process do not stop the others.

    SQLite cannot: there a process that is frozen in the middle of a write holds up every other.
    """
    if database.engine.dialect.name == "sqlite":
        return

    @event.listens_for(database.engine, "connect")
    def limit(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection, which has no type
        cursor.execute(f"SET SESSION idle_transaction_timeout = {max(1, idle_seconds)}")
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {max(1, idle_seconds)}")
        cursor.close()

    database.engine.dispose()  # connections made before have no bound
