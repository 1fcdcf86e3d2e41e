"""Hosts: enrolment, credentials, capacity, the generation that admission swaps on."""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, func, or_, select, update
from sqlalchemy.orm import Session

from stella.db.database import changed_rows
from stella.db.models import Host, Instance, SloRow, ViolationRow
from stella.db.paging import Page, SortKeys, paged
from stella.db.slos import PENDING


class AlreadyEnrolled(Exception):
    """The host has a credential; it must be revoked first."""


class NotEnrolled(Exception):
    """There is no such host, or its credential is revoked already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedHost:
    """A host that proved who it is. ``has_pending``: it has an SLO to acknowledge that changed lately.

    ``watched``: until when (Unix seconds) somebody watches each of its instances, by uuid.
    """

    id: int
    name: str
    mode: str
    intent_revision: int
    has_pending: bool
    watched: Mapping[str, float] = field(default_factory=dict)


def _digest(credential: str) -> str:
    """A credential is 256 random bits, so one round of SHA-256 keeps it."""
    return hashlib.sha256(credential.encode()).hexdigest()


def find(session: Session, name: str) -> Host | None:
    """The host of this name."""
    return session.scalar(select(Host).where(Host.name == name))


def get(session: Session, host_id: int) -> Host:
    """The host of this id, which must exist."""
    return session.get_one(Host, host_id)


def by_ids(session: Session, host_ids: Collection[int]) -> Sequence[Host]:
    """The hosts of these ids."""
    return session.scalars(select(Host).where(Host.id.in_(host_ids))).all() if host_ids else ()


def _open_violations() -> ColumnElement[int]:
    """How many violations that last began on the host."""
    lasting = select(func.count()).where(ViolationRow.host_id == Host.id, ViolationRow.closed_at.is_(None))
    return lasting.correlate(Host).scalar_subquery()


SORT_KEYS: SortKeys = {
    "name": Host.name,
    "mode": Host.mode,
    "capacity_cpu_cores": func.coalesce(Host.capacity_cpu_cores, 0.0),
    "reserved_cpu_cores": Host.reserved_cpu_cores,
    "free_cpu_cores": Host.free_cpu_cores,
    "open_violations": _open_violations(),
}


def page(
    session: Session,
    at: Page,
    *,
    mode: str | None = None,
    name_contains: str | None = None,
    silent: bool | None = None,
    silent_before: float = 0.0,
) -> Sequence[Host]:
    """Hosts; each filter that is given must match. ``silent``: no report since ``silent_before`` (Unix seconds), or the others.

    Raises `stella.db.paging.UnknownMarker`.
    """
    query = select(Host).where(Host.mode == mode) if mode is not None else select(Host)
    if name_contains is not None:
        query = query.where(Host.name.icontains(name_contains, autoescape=True))
    if silent is not None:
        query = query.where(_is_silent(silent_before) if silent else Host.reported_at >= silent_before)
    return session.scalars(paged(session, query, at, keys=SORT_KEYS, unique=Host.name)).all()


def _is_silent(before: float) -> ColumnElement[bool]:
    return or_(Host.reported_at.is_(None), Host.reported_at < before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All hosts together: how many there are, are silent, are in each mode; what those that reported can hold and hold, in cores.

    ``free_without_one_cpu_cores`` is what is free, in sum, once any one host is lost and what it held is placed on the others; below 0
    where so much finds no place.
    """

    hosts: int
    silent: int
    by_mode: Mapping[str, int]
    capacity_cpu_cores: float
    reserved_cpu_cores: float
    free_cpu_cores: float
    free_without_one_cpu_cores: float


def totals(session: Session, *, silent_before: float) -> Totals:
    """The sums over all hosts; what a silent one, or one in another mode than enforce, has free is free for nobody."""
    numbers = counts(session, silent_before=silent_before)
    by_mode: dict[str, int] = {}
    for (mode, _), count in numbers.items():
        by_mode[mode] = by_mode.get(mode, 0) + count
    is_usable = and_(Host.mode == "enforce", Host.reported_at >= silent_before)
    usable = case((is_usable, Host.free_cpu_cores), else_=0.0)
    held = case((is_usable, Host.free_cpu_cores + Host.reserved_cpu_cores), else_=Host.reserved_cpu_cores)
    sums = (func.sum(Host.capacity_cpu_cores), func.sum(Host.reserved_cpu_cores), func.sum(usable), func.max(held))
    found = session.execute(select(*(func.coalesce(one, 0.0) for one in sums))).one()
    capacity, reserved, free, largest = (float(one) for one in found)
    return Totals(
        hosts=sum(numbers.values()),
        silent=sum(count for (_, silent), count in numbers.items() if silent),
        by_mode=by_mode,
        capacity_cpu_cores=capacity,
        reserved_cpu_cores=max(0.0, reserved),
        free_cpu_cores=max(0.0, free),
        free_without_one_cpu_cores=free - largest,
    )


def counts(session: Session, *, silent_before: float) -> dict[tuple[str, bool], int]:
    """How many hosts there are by mode and whether they are silent: no report since ``silent_before`` (Unix seconds)."""
    silent = _is_silent(silent_before)
    query = select(Host.mode, silent, func.count()).group_by(Host.mode, silent)
    return {(row[0], bool(row[1])): row[2] for row in session.execute(query)}


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


_LINKED = (
    select(
        Host.id,
        Host.name,
        Host.credential_sha256,
        Host.mode,
        Host.intent_revision,
        exists(
            select(SloRow.id)
            .join(Instance, Instance.id == SloRow.instance_id)
            .where(
                Instance.host_id == Host.id,
                SloRow.state == PENDING,
                SloRow.objectives.is_not(None),
                SloRow.changed_at > bindparam("changed_since"),
            )
            .correlate(Host)
        ),
        Instance.uuid,
        Instance.watched_until,
    )
    .join(Instance, and_(Instance.host_id == Host.id, Instance.watched_until > bindparam("now")), isouter=True)
    .where(Host.name == bindparam("name"))
)
"""All that a host's poll needs, in one query: a row for each of its watched instances, one where there is none."""


def authenticate(
    session: Session, name: str, credential: str, *, now: float, changed_since: float
) -> LinkedHost | None:
    """The host, if ``credential`` is its own. SLOs that changed before ``changed_since`` do not count as pending."""
    rows = session.execute(_LINKED, {"name": name, "now": now, "changed_since": changed_since}).all()
    expected = (rows[0][2] if rows else None) or ""
    if not hmac.compare_digest(expected, _digest(credential)):
        return None
    first = rows[0]
    return LinkedHost(
        id=first[0],
        name=first[1],
        mode=first[3],
        intent_revision=first[4],
        has_pending=bool(first[5]),
        watched={row[6]: row[7] for row in rows if row[6] is not None},
    )


def count_enrolled(session: Session) -> int:
    """How many hosts have a credential."""
    return session.scalar(select(func.count()).where(Host.credential_sha256.is_not(None))) or 0


def knows_credential(session: Session, credential: str) -> bool:
    """Whether any host has this credential. It is found by its hash, so that the time of the answer tells nothing of it."""
    return session.scalar(select(Host.id).where(Host.credential_sha256 == _digest(credential))) is not None


def lock(session: Session, host_id: int) -> Host:
    """The host of this id, which no other writer changes before this session ends."""
    return session.scalars(select(Host).where(Host.id == host_id).with_for_update()).one()


def candidates(session: Session, *, except_id: int, limit: int) -> Sequence[Host]:
    """Other hosts that enforce and report, those with the most free CPU first."""
    query = select(Host).where(Host.mode == "enforce", Host.id != except_id, Host.silent_since.is_(None))
    return session.scalars(query.order_by(Host.free_cpu_cores.desc()).limit(limit)).all()


def named(session: Session, given: Collection[str]) -> Sequence[Host]:
    """The hosts of these names, by name."""
    return session.scalars(select(Host).where(Host.name.in_(given)).order_by(Host.name)).all() if given else ()


def freest(session: Session, *, limit: int) -> Sequence[Host]:
    """Hosts, whatever their mode, those with the most free CPU first."""
    return session.scalars(select(Host).order_by(Host.free_cpu_cores.desc(), Host.name).limit(limit)).all()


def after(session: Session, name: str, *, limit: int) -> Sequence[Host]:
    """Hosts that have reported their capacity, by name, those behind ``name``."""
    query = select(Host).where(Host.name > name, Host.capacity_cpu_cores.is_not(None))
    return session.scalars(query.order_by(Host.name).limit(limit)).all()


def largest_margin(session: Session) -> float | None:
    """The largest reservation margin that any host reports."""
    return session.scalar(select(func.max(Host.reservation_margin_ratio)))


def keep_provider(session: Session, host_id: int, uuid: str) -> None:
    """Keep the uuid of the resource provider of a host's compute node. It moves no generation: nothing is decided on it."""
    session.execute(update(Host).where(Host.id == host_id).values(resource_provider=uuid))


def fence(session: Session, host_id: int, *, at: float | None) -> None:
    """Keep since when it is certain that nothing runs on a host; None: it is not. A later report makes it void."""
    session.execute(update(Host).where(Host.id == host_id).values(fenced_at=at))


def swap(session: Session, host: Host, **values: object) -> bool:
    """Move the host's generation on and set ``values``; False when it has moved since ``host`` was read (then roll back)."""
    swapped = update(Host).where(Host.id == host.id, Host.generation == host.generation)
    swapped = swapped.values(generation=host.generation + 1, **values).execution_options(synchronize_session=False)
    return changed_rows(session.execute(swapped)) == 1
