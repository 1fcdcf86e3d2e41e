"""Seconds by status of many instances over one span, all of their objectives at once.

The sum is that of `stella.db.attainment`, stretches included: days that are rolled up, hours where a day is not, minutes where an hour
is not. Of each day or hour it is asked only of whom it lacks, and neighbours that the same instances lack are asked for together; so
a month of a thousand instances costs a few dozen queries, most of them sums in the database over an index.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from stella.control import rollup
from stella.control.rollup import COUNTS, DAY_SECONDS, HOUR_SECONDS, Stretch, floor_to
from stella.db.models import Instance, Minute, RollUp
from stella.model.report import MINUTE_SECONDS, StatusCounts
from stella.model.slo import Metric
from stella.sla.spans import Span

Key = tuple[int, str]
"""(instance id, metric)."""

_METRICS = tuple(metric.value for metric in Metric)
_AT_ONCE = 500


class _Sums:
    """Seconds by objective, added up."""

    def __init__(self) -> None:
        self._found: dict[Key, list[int]] = {}

    def add(self, key: Key, seconds: Sequence[int]) -> None:
        known = self._found.get(key)
        whole = [int(value) for value in seconds]
        self._found[key] = whole if known is None else [a + b for a, b in zip(known, whole, strict=True)]

    def add_unknown(self, key: Key, seconds: int) -> None:
        if seconds:
            self.add(key, [seconds if name == "unknown" else 0 for name in COUNTS])

    def counts(self) -> dict[Key, StatusCounts]:
        return {key: StatusCounts(**dict(zip(COUNTS, seconds, strict=True))) for key, seconds in self._found.items()}


def read(session: Session, instance_ids: Sequence[int], span: Span) -> dict[Key, StatusCounts]:
    """The seconds of minutes that begin in the span; an objective without any is left out."""
    sums, whole = _Sums(), (_ceil(MINUTE_SECONDS, span[0]), _ceil(MINUTE_SECONDS, span[1]))
    for first in range(0, len(instance_ids), _AT_ONCE):
        keys = _existing(session, instance_ids[first : first + _AT_ONCE]) if whole[0] < whole[1] else set()
        for day, lacking in _rolled_up(session, sums, keys, whole, DAY_SECONDS):
            for hours, left in _rolled_up(session, sums, lacking, day, HOUR_SECONDS):
                _minutes(session, sums, left, hours)
    return sums.counts()


def on_host(session: Session, instance_ids: Sequence[int], span: Span, host_id: int) -> dict[Key, StatusCounts]:
    """The same of what one host counted. Only minutes tell that, so it is exact while they are kept."""
    sums = _Sums()
    for first in range(0, len(instance_ids), _AT_ONCE):
        keys = _existing(session, instance_ids[first : first + _AT_ONCE])
        _minutes(session, sums, keys, (_ceil(MINUTE_SECONDS, span[0]), _ceil(MINUTE_SECONDS, span[1])), host_id=host_id)
    return sums.counts()


def _ceil(span_seconds: int, at: int) -> int:
    return at + -at % span_seconds


def _existing(session: Session, instance_ids: Sequence[int]) -> set[Key]:
    """The objectives of which there is anything at all, looked up in the indexes."""
    if not instance_ids:
        return set()
    there = [
        or_(*(exists().where(table.instance_id == Instance.id, table.metric == metric) for table in (RollUp, Minute)))
        for metric in _METRICS
    ]
    rows = session.execute(select(Instance.id, *there).where(Instance.id.in_(instance_ids)))
    return {(row[0], metric) for row in rows for metric, found in zip(_METRICS, row[1:], strict=True) if found}


def _in(table: type[Minute] | type[RollUp], keys: Collection[Key]) -> ColumnElement[bool]:
    return and_(table.instance_id.in_({key[0] for key in keys}), table.metric.in_(sorted({key[1] for key in keys})))


def _rolled_up(
    session: Session, sums: _Sums, keys: set[Key], span: Span, span_seconds: int
) -> Iterable[tuple[Span, set[Key]]]:
    """Add what is rolled up; the spans that are left, in order, each with those that lack it."""
    first, last = _ceil(span_seconds, span[0]), floor_to(span_seconds, span[1])
    if not keys:
        return
    if first >= last:
        yield span, keys
        return
    lacking = _add_rolled_up(session, sums, keys, range(first, last, span_seconds))
    if span[0] < first:
        yield (span[0], first), keys
    yield from _alike(lacking, span_seconds)
    if last < span[1]:
        yield (last, span[1]), keys


def _add_rolled_up(session: Session, sums: _Sums, keys: set[Key], starts: range) -> Mapping[int, set[Key]]:
    """Add the roll-ups that begin at ``starts``; who lacks which of them."""
    seconds = [func.sum(getattr(RollUp, f"{name}_seconds")) for name in COUNTS]
    within = and_(
        _in(RollUp, keys),
        RollUp.span_seconds == starts.step,
        RollUp.start >= starts.start,
        RollUp.start < starts.stop,
    )
    query = select(RollUp.instance_id, RollUp.metric, func.count(), *seconds).where(within)
    partly: set[Key] = set(keys)
    for instance_id, metric, count, *found in session.execute(query.group_by(RollUp.instance_id, RollUp.metric)):
        key = (instance_id, metric)
        if key in keys:
            sums.add(key, found)
            if count == len(starts):
                partly.discard(key)
    lacking: dict[int, set[Key]] = {start: set(partly) for start in starts} if partly else {}
    if partly:
        some = select(RollUp.instance_id, RollUp.metric, RollUp.start).where(within, _in(RollUp, partly))
        for instance_id, metric, start in session.execute(some):
            lacking[start].discard((instance_id, metric))
    return lacking


def _alike(lacking: Mapping[int, set[Key]], span_seconds: int) -> Iterable[tuple[Span, set[Key]]]:
    """Neighbours that the same objectives lack, as one span."""
    begin, end, keys = 0, 0, set[Key]()
    for start in sorted(lacking):
        if start == end and lacking[start] == keys:
            end = start + span_seconds
            continue
        if keys:
            yield (begin, end), keys
        begin, end, keys = start, start + span_seconds, lacking[start]
    if keys:
        yield (begin, end), keys


def _minutes(session: Session, sums: _Sums, keys: set[Key], span: Span, *, host_id: int | None = None) -> None:
    """Add minute rows, and the unknown seconds of stretches where there are none."""
    if not keys or span[0] >= span[1]:
        return
    own = _in(Minute, keys) if host_id is None else and_(_in(Minute, keys), Minute.host_id == host_id)
    seconds = [func.sum(getattr(Minute, f"{name}_seconds")) for name in COUNTS]
    columns = (Minute.instance_id, Minute.metric, Minute.is_stretch)
    query = select(*columns, *seconds).where(own, Minute.start >= span[0], Minute.start < span[1]).group_by(*columns)
    stretched = False
    for instance_id, metric, is_stretch, *found in session.execute(query):
        if is_stretch:
            stretched = True
        elif (instance_id, metric) in keys:
            sums.add((instance_id, metric), found)
    # a stretch is cut at the hours when it is stored: one that reaches into the span from before begins in the span's first hour
    if stretched or span[0] % HOUR_SECONDS:
        for key, unknown in _stretches(session, own, span).items():
            if key in keys:
                sums.add_unknown(key, unknown)


def _stretches(session: Session, own: ColumnElement[bool], span: Span) -> Mapping[Key, int]:
    begin = floor_to(HOUR_SECONDS, span[0])
    within = and_(own, Minute.start >= begin, Minute.start < span[1])
    columns = (Minute.instance_id, Minute.metric, Minute.start, Minute.span_seconds, Minute.unknown_seconds)
    found: dict[Key, list[Stretch]] = {}
    for instance_id, metric, start, span_seconds, unknown in session.execute(
        select(*columns).where(within, Minute.is_stretch.is_(True))
    ):
        stretch = Stretch(start=start, span_seconds=span_seconds, unknown_seconds=unknown)
        found.setdefault((instance_id, metric), []).append(stretch)
    if not found:
        return {}
    rows: dict[Key, set[int]] = {}
    known = select(Minute.instance_id, Minute.metric, Minute.start).where(
        _in(Minute, found), Minute.is_stretch.is_(False), Minute.start >= begin, Minute.start < span[1] + HOUR_SECONDS
    )
    for instance_id, metric, start in session.execute(known):
        rows.setdefault((instance_id, metric), set()).add(start)
    return {
        key: rollup.unknown_seconds(stretches, rows.get(key, set()), start=span[0], end=span[1])
        for key, stretches in found.items()
    }
