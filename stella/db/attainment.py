"""Attainment of an instance's objectives over a span: from days and hours where they are rolled up, from minutes where they are not.

A roll-up exists only while it is exactly the sum of its minutes (`stella.db.minutes`), so the answer is that of adding up every minute
that begins in the span, whatever is rolled up so far. Where minutes are kept no longer, only whole hours count, and so on.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import Session

from stella.control import rollup
from stella.control.rollup import COUNTS, DAY_SECONDS, HOUR_SECONDS, Stretch, floor_to
from stella.db.models import Instance, Minute, RollUp
from stella.model.report import MINUTE_SECONDS, StatusCounts
from stella.model.slo import Metric

Span = tuple[int, int]
"""From the first to before the second, in Unix seconds."""

Gaps = Mapping[str, Sequence[Span]]
"""For each metric the spans for which nothing was found yet, in order."""

_LARGEST_SPANS = 60


def read(session: Session, instance_id: int, start: int, end: int) -> Mapping[str, StatusCounts]:
    """For each objective with a minute that begins from ``start`` to before ``end`` its seconds by status, by metric."""
    return read_spans(session, instance_id, [(start, end)])[0]


def read_spans(session: Session, instance_id: int, spans: Sequence[Span]) -> list[Mapping[str, StatusCounts]]:
    """`read` of several spans, of which each part is read once however many spans it is in."""
    metrics = _metrics(session, instance_id)
    edges = sorted({edge for span in spans for edge in span})
    pieces = {
        piece: _read(session, instance_id, piece, metrics)
        for piece in pairwise(edges)
        if any(_is_within(piece, span) for span in spans)
    }
    return [_add(found for piece, found in pieces.items() if _is_within(piece, span)) for span in spans]


def _is_within(piece: Span, span: Span) -> bool:
    return span[0] <= piece[0] and piece[1] <= span[1]


def _add(found: Iterable[Mapping[str, StatusCounts]]) -> Mapping[str, StatusCounts]:
    parts: dict[str, list[StatusCounts]] = {}
    for piece in found:
        for metric, counts in piece.items():
            parts.setdefault(metric, []).append(counts)
    return {metric: rollup.add_counts(parts[metric]) for metric in sorted(parts)}


def _metrics(session: Session, instance_id: int) -> list[str]:
    """The metrics of which there is anything at all, looked up in the indexes by one query."""
    there = {
        metric.value: or_(
            *(
                exists().where(table.instance_id == instance_id, table.metric == metric.value)
                for table in (RollUp, Minute)
            )
        )
        for metric in Metric
    }
    row = session.execute(select(*there.values())).one()
    return [metric for metric, found in zip(there, row, strict=True) if found]


def _read(session: Session, instance_id: int, span: Span, metrics: Sequence[str]) -> Mapping[str, StatusCounts]:
    first, last = _ceil(MINUTE_SECONDS, span[0]), _ceil(MINUTE_SECONDS, span[1])
    parts: dict[str, list[StatusCounts]] = {}
    gaps: dict[str, list[Span]] = {metric: [(first, last)] if first < last else [] for metric in metrics}
    for span_seconds in (DAY_SECONDS, HOUR_SECONDS):
        found = _rolled_up(session, instance_id, span_seconds, gaps)
        for metric, rows in found.items():
            parts.setdefault(metric, []).extend(rows.values())
            gaps[metric] = [gap for span in gaps[metric] for gap in without(span, sorted(rows), span_seconds)]
    for metric, counts in _minutes(session, instance_id, gaps).items():
        parts.setdefault(metric, []).append(counts)
    return {metric: rollup.add_counts(counted) for metric, counted in parts.items()}


def by_host(session: Session, host_ids: Collection[int], start: float) -> Mapping[int, tuple[int, int]]:
    """(met, with demand) seconds of all objectives on each of these hosts in minutes that began since ``start`` (Unix seconds).

    A host on which none had demand is left out. Minutes of instances that have left the host do not count: those of the host's own
    instances are found by their index, however many hosts there are.
    """
    if not host_ids:
        return {}
    met = func.sum(Minute.met_seconds)
    asked = func.sum(Minute.met_seconds + Minute.violated_seconds + Minute.degraded_seconds)
    query = (
        select(Minute.host_id, met, asked)
        .join(Instance, Instance.id == Minute.instance_id)
        .where(Instance.host_id.in_(host_ids), Minute.host_id == Instance.host_id, Minute.is_stretch == false())
        .where(Minute.metric.in_([metric.value for metric in Metric]), Minute.start >= int(start))
        .group_by(Minute.host_id)
    )
    return {row[0]: (int(row[1]), int(row[2])) for row in session.execute(query) if row[2]}


def _ceil(span_seconds: int, at: int) -> int:
    return at + -at % span_seconds


def without(span: Span, starts: Iterable[int], span_seconds: int) -> list[Span]:
    """What is left of a span without the pieces of ``span_seconds`` that begin at ``starts``, in order."""
    left, (begin, end) = [], span
    for start in starts:
        if not begin <= start < end:
            continue
        if begin < start:
            left.append((begin, start))
        begin = start + span_seconds
    return [*left, (begin, end)] if begin < end else left


def _inner(span: Span, span_seconds: int) -> Span:
    """The whole hours or days in a span."""
    return _ceil(span_seconds, span[0]), floor_to(span_seconds, span[1])


def _asked(gaps: Gaps) -> list[tuple[Span, list[str]]]:
    """Each span with the metrics that lack it: nearly always all of them lack the same few. Very many are asked for as one."""
    found: dict[Span, list[str]] = {}
    for metric, spans in gaps.items():
        few = spans if len(spans) <= _LARGEST_SPANS else [(spans[0][0], spans[-1][1])]
        for span in few:
            found.setdefault(span, []).append(metric)
    return list(found.items())


def _begins(table: type[Minute] | type[RollUp], span: Span, metrics: Sequence[str]) -> ColumnElement[bool]:
    return and_(table.metric.in_(metrics), table.start >= span[0], table.start < span[1])


def _in(spans: Sequence[Span], start: int) -> bool:
    return len(spans) <= _LARGEST_SPANS or any(a <= start < b for a, b in spans)


def _rolled_up(
    session: Session, instance_id: int, span_seconds: int, gaps: Gaps
) -> Mapping[str, Mapping[int, StatusCounts]]:
    whole = {metric: [_inner(span, span_seconds) for span in spans] for metric, spans in gaps.items()}
    whole = {metric: [span for span in spans if span[0] < span[1]] for metric, spans in whole.items()}
    columns = [getattr(RollUp, f"{name}_seconds") for name in COUNTS]
    found: dict[str, dict[int, StatusCounts]] = {}
    for span, metrics in _asked(whole):
        query = select(RollUp.metric, RollUp.start, *columns).where(
            RollUp.instance_id == instance_id, RollUp.span_seconds == span_seconds, _begins(RollUp, span, metrics)
        )
        for metric, start, *counts in session.execute(query):
            if _in(whole[metric], start):
                found.setdefault(metric, {})[start] = _counts(counts)
    return found


def _counts(values: Sequence[int]) -> StatusCounts:
    return StatusCounts(**dict(zip(COUNTS, (int(value) for value in values), strict=True)))


def _minutes(session: Session, instance_id: int, gaps: Gaps) -> Mapping[str, StatusCounts]:
    """The sums of minute rows, and what stretches add where there are none."""
    own = Minute.instance_id == instance_id
    sums = [func.sum(getattr(Minute, f"{name}_seconds")) for name in COUNTS]
    found: dict[str, StatusCounts] = {}
    for some in _batches(gaps):
        for span, metrics in _asked(some):
            query = select(Minute.metric, *sums).where(
                own, Minute.is_stretch == false(), _begins(Minute, span, metrics)
            )
            for metric, *counts in session.execute(query.group_by(Minute.metric)):
                found[metric] = rollup.add_counts([found.get(metric, StatusCounts()), _counts(counts)])
        for metric, seconds in _stretches(session, own, some).items():
            unknown = StatusCounts(unknown=seconds)
            found[metric] = rollup.add_counts([found.get(metric, StatusCounts()), unknown])
    return found


def _batches(gaps: Gaps) -> Iterable[Gaps]:
    longest = max((len(spans) for spans in gaps.values()), default=0)
    for first in range(0, longest, _LARGEST_SPANS):
        yield {metric: spans[first : first + _LARGEST_SPANS] for metric, spans in gaps.items()}


def _stretches(session: Session, own: ColumnElement[bool], gaps: Gaps) -> Mapping[str, int]:
    """Unknown seconds. A stretch is cut at the hours when it is stored, so those that reach into a gap begin in its first hour."""
    columns = (Minute.metric, Minute.start, Minute.span_seconds, Minute.unknown_seconds)
    found: dict[str, set[Stretch]] = {}
    for (first, end), metrics in _asked(gaps):
        wider = _begins(Minute, (floor_to(HOUR_SECONDS, first), end), metrics)
        for metric, start, span_seconds, unknown in session.execute(
            select(*columns).where(own, Minute.is_stretch == true(), wider)
        ):
            stretch = Stretch(start=start, span_seconds=span_seconds, unknown_seconds=unknown)
            found.setdefault(metric, set()).add(stretch)
    return {metric: _lost(session, own, metric, stretches, gaps[metric]) for metric, stretches in found.items()}


def _lost(
    session: Session, own: ColumnElement[bool], metric: str, stretches: Collection[Stretch], spans: Sequence[Span]
) -> int:
    first = min(stretch.start for stretch in stretches)
    last = max(stretch.start + stretch.span_seconds for stretch in stretches)
    known = select(Minute.start).where(
        own, Minute.metric == metric, Minute.is_stretch == false(), Minute.start >= first, Minute.start < last
    )
    rows = set(session.scalars(known))
    return sum(rollup.unknown_seconds(stretches, rows, start=a, end=b) for a, b in spans)
