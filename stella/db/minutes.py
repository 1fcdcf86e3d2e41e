"""Minute rows: what hosts counted, once each.

A roll-up exists only while it is the sum of its minutes: storing a minute deletes those that it would make wrong, in the same
transaction (`docs/decisions/0034`). Whoever stores or rolls up minutes of an instance has locked the row of its host.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from stella.control import rollup
from stella.control.rollup import COUNTS, DAY_SECONDS, HOUR_SECONDS, Stretch, floor_to
from stella.db.models import Minute, RollUp

__all__ = ["COUNTS", "Kept", "Key", "keep", "key_of"]

Key = tuple[int, str, int, bool]
"""(instance id, metric, start in Unix seconds, whether it is a stretch)."""

Hour = tuple[int, str, int]
"""(instance id, metric, start in Unix seconds)."""

LARGEST_ROWS = 100_000
"""The most that one report stores: a stretch of weeks is a row for each of its hours."""

_REPLACED = [column.key for column in Minute.__table__.columns if column.key != "id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How many rows were stored, and those that were not taken, each with the reason. A row that is known already is neither."""

    stored: int
    ignored: tuple[tuple[Key, str], ...]


def key_of(row: Minute) -> Key:
    """What a row is kept once by."""
    return row.instance_id, row.metric, row.start, row.is_stretch


def _hour_of(key: Key) -> Hour:
    return key[0], key[1], floor_to(HOUR_SECONDS, key[2])


def keep(session: Session, rows: Mapping[Key, Minute], *, oldest: int, newest: int) -> Kept:
    """Store these rows; one that is there already is replaced by one with more seconds, else kept.

    A row from before ``oldest`` or after ``newest`` (Unix seconds), or of an hour that is kept as a roll-up alone, is ignored.
    """
    taken, ignored = _pieces(rows, oldest=oldest, newest=newest)
    known = _known(session, taken)
    news = {key: row for key, row in taken.items() if key not in known or row.seconds > known[key].seconds}
    purged = _forget_rollups(session, news)
    stored = 0
    for key, row in news.items():
        if _hour_of(key) in purged:
            ignored.append((key, "minutes: its hour is kept as a whole alone"))
            continue
        before = known.get(key)
        if before is None:
            session.add(row)
        else:
            for column in _REPLACED:
                setattr(before, column, getattr(row, column))
        stored += 1
    return Kept(stored=stored, ignored=tuple(ignored))


def _pieces(rows: Mapping[Key, Minute], *, oldest: int, newest: int) -> tuple[dict[Key, Minute], list[tuple[Key, str]]]:
    """The rows within bounds, stretches cut at the hours."""
    taken: dict[Key, Minute] = {}
    ignored: list[tuple[Key, str]] = []
    for key, row in rows.items():
        row.is_rolled_up = False
        if row.start < oldest:
            ignored.append((key, "minutes: older than minutes are kept"))
        elif len(taken) >= LARGEST_ROWS:
            ignored.append((key, "minutes: too many for one report"))
        elif not row.is_stretch:
            taken[key] = row
        else:
            for piece in _cut(row):
                if piece.start <= newest and piece.seconds > getattr(taken.get(key_of(piece)), "seconds", 0):
                    taken[key_of(piece)] = piece
    return taken, ignored


def _cut(row: Minute) -> Iterable[Minute]:
    whole = Stretch(start=row.start, span_seconds=row.span_seconds, unknown_seconds=row.unknown_seconds)
    for piece in rollup.by_hour(whole):
        yield Minute(
            instance_id=row.instance_id,
            host_id=row.host_id,
            metric=row.metric,
            start=piece.start,
            is_stretch=True,
            span_seconds=piece.span_seconds,
            **{f"{name}_seconds": piece.unknown_seconds if name == "unknown" else 0 for name in COUNTS},
            causes="{}",
            is_rolled_up=False,
        )


def _known(session: Session, rows: Mapping[Key, Minute]) -> Mapping[Key, Minute]:
    found: dict[Key, Minute] = {}
    for is_stretch in (False, True):
        keys = [key for key in rows if key[3] is is_stretch]
        if not keys:
            continue
        starts = [key[2] for key in keys]
        query = select(Minute).where(
            Minute.instance_id.in_({key[0] for key in keys}),
            Minute.metric.in_({key[1] for key in keys}),
            Minute.start >= min(starts),
            Minute.start <= max(starts),
            Minute.is_stretch == is_stretch,
        )
        found |= {key_of(row): row for row in session.scalars(query)}
    return found


def _forget_rollups(session: Session, news: Collection[Key]) -> Collection[Hour]:
    """Delete the hours and days that these rows change; the hours of which there are no minutes any more are returned, and stay."""
    if not news:
        return ()
    hours = {_hour_of(key) for key in news}
    query = select(RollUp.id, RollUp.instance_id, RollUp.metric, RollUp.span_seconds, RollUp.start).where(
        RollUp.instance_id.in_({hour[0] for hour in hours}),
        RollUp.metric.in_({hour[1] for hour in hours}),
        RollUp.span_seconds.in_((HOUR_SECONDS, DAY_SECONDS)),
        RollUp.start >= floor_to(DAY_SECONDS, min(hour[2] for hour in hours)),
        RollUp.start <= max(hour[2] for hour in hours),
    )
    found = session.execute(query).all()
    if not found:  # nearly always: the hour under way has none
        return ()
    rolled = {(row[1], row[2], row[4]) for row in found if row[3] == HOUR_SECONDS} & hours
    purged = {hour for hour in rolled if not _has_minutes(session, hour)}
    changed = hours - purged
    days = {(instance, metric, floor_to(DAY_SECONDS, start)) for instance, metric, start in changed}
    doomed = [row[0] for row in found if (row[1], row[2], row[4]) in (changed if row[3] == HOUR_SECONDS else days)]
    _delete(session, doomed)
    return purged


def _has_minutes(session: Session, hour: Hour) -> bool:
    instance_id, metric, start = hour
    query = select(Minute.id).where(
        Minute.instance_id == instance_id,
        Minute.metric == metric,
        Minute.start >= start,
        Minute.start < start + HOUR_SECONDS,
    )
    return session.scalar(query.limit(1)) is not None


def _delete(session: Session, ids: Sequence[int]) -> None:
    for first in range(0, len(ids), 1000):
        session.execute(delete(RollUp).where(RollUp.id.in_(ids[first : first + 1000])))
