"""Hosts: enrolment, credentials, capacity, the generation that admission swaps on."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from stella.db.database import changed_rows
from stella.db.models import Host


class AlreadyEnrolled(Exception):
    """The host has a credential; it must be revoked first."""


class NotEnrolled(Exception):
    """There is no such host, or its credential is revoked already."""


def _digest(credential: str) -> str:
    """A credential is 256 random bits, so one round of SHA-256 keeps it."""
    return hashlib.sha256(credential.encode()).hexdigest()


def find(session: Session, name: str) -> Host | None:
    """The host of this name."""
    return session.scalar(select(Host).where(Host.name == name))


def get(session: Session, host_id: int) -> Host:
    """The host of this id, which must exist."""
    return session.get_one(Host, host_id)


def page(session: Session, *, limit: int, marker: str | None) -> Sequence[Host]:
    """Hosts by name, after ``marker``."""
    query = select(Host).order_by(Host.name).limit(limit)
    return session.scalars(query.where(Host.name > marker) if marker is not None else query).all()


def names(session: Session, ids: set[int]) -> dict[int, str]:
    """The names of these hosts by id."""
    rows = session.execute(select(Host.id, Host.name).where(Host.id.in_(ids))) if ids else ()
    return {row[0]: row[1] for row in rows}


def enroll(session: Session, name: str, *, mode: str, now: float) -> str:
    """Give the host a credential, which is returned and stored only as a hash. Raises `AlreadyEnrolled`."""
    credential = secrets.token_urlsafe(32)
    host = find(session, name)
    if host is None:
        session.add(Host(name=name, credential_sha256=_digest(credential), mode=mode, enrolled_at=now))
    elif host.credential_sha256 is None:
        host.credential_sha256 = _digest(credential)
        host.enrolled_at = now
    else:
        raise AlreadyEnrolled(name)
    return credential


def revoke(session: Session, name: str) -> None:
    """Take the host's credential away; what is known of it stays. Raises `NotEnrolled`."""
    host = find(session, name)
    if host is None or host.credential_sha256 is None:
        raise NotEnrolled(name)
    host.credential_sha256 = None


def authenticate(session: Session, name: str, credential: str) -> Host | None:
    """The host, if ``credential`` is its own."""
    host = find(session, name)
    expected = (host.credential_sha256 if host else None) or ""
    return host if hmac.compare_digest(expected, _digest(credential)) else None


def knows_credential(session: Session, credential: str) -> bool:
    """Whether any host has this credential. It is found by its hash, so that the time of the answer tells nothing of it."""
    return session.scalar(select(Host.id).where(Host.credential_sha256 == _digest(credential))) is not None


def lock(session: Session, host_id: int) -> Host:
    """The host of this id, which no other writer changes before this session ends."""
    return session.scalars(select(Host).where(Host.id == host_id).with_for_update()).one()


def candidates(session: Session, *, except_id: int, limit: int) -> Sequence[Host]:
    """Other hosts that enforce, those with the most free CPU first."""
    query = select(Host).where(Host.mode == "enforce", Host.id != except_id)
    return session.scalars(query.order_by(Host.free_cpu_cores.desc()).limit(limit)).all()


def swap(session: Session, host: Host, **values: object) -> bool:
    """Move the host's generation on and set ``values``; False when it has moved since ``host`` was read (then roll back)."""
    swapped = update(Host).where(Host.id == host.id, Host.generation == host.generation)
    swapped = swapped.values(generation=host.generation + 1, **values).execution_options(synchronize_session=False)
    return changed_rows(session.execute(swapped)) == 1
