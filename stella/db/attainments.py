"""Attainment of many instances at once, as a list shows it: met seconds among those with demand.

The same sums as `stella.db.attainment`, from days and hours where they are rolled up and from minutes where they are not, in a few
queries for all instances of a page. Unknown seconds do not count here, so stretches are left out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import ColumnElement, and_, false, func, or_, select
from sqlalchemy.orm import Session

from stella.control.rollup import DAY_SECONDS, HOUR_SECONDS, floor_to
from stella.db.attainment import Span, without
from stella.db.models import Minute, RollUp
from stella.model.report import MINUTE_SECONDS
from stella.model.slo import Metric

_METRICS = tuple(metric.value for metric in Metric)
_LARGEST_SPANS = 60

Key = tuple[int, str]
"""(instance id, metric)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Seconds in which an objective was met, and in which it had demand."""

    met: int = 0
    with_demand: int = 0

    @property
    def ratio(self) -> float | None:
        """None where there was no demand."""
        return self.met / self.with_demand if self.with_demand else None

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(met=self.met + other.met, with_demand=self.with_demand + other.with_demand)


Attained = Mapping[str, Counted]
"""By metric; a metric of which nothing is known is left out."""


def read(session: Session, instance_ids: Sequence[int], spans: Sequence[Span]) -> Mapping[int, list[Attained]]:
    """For each instance what was counted in each span; minutes count that begin in it. Parts that spans share are read once."""
    edges = sorted({edge for span in spans for edge in span})
    pieces = {
        piece: _read(session, instance_ids, piece)
        for piece in pairwise(edges)
        if any(_is_within(piece, span) for span in spans)
    }
    found: dict[int, list[Attained]] = {}
    for span in spans:
        sums: dict[Key, Counted] = {}
        for piece, counted in pieces.items():
            if _is_within(piece, span):
                _add(sums, counted.items())
        for one in instance_ids:
            found.setdefault(one, []).append(
                {metric: sums[one, metric] for metric in _METRICS if (one, metric) in sums}
            )
    return found


def _is_within(piece: Span, span: Span) -> bool:
    return span[0] <= piece[0] and piece[1] <= span[1]


def _add(sums: dict[Key, Counted], counted: Iterable[tuple[Key, Counted]]) -> None:
    for key, one in counted:
        sums[key] = sums.get(key, Counted()) + one


def _ceil(span_seconds: int, at: int) -> int:
    return at + -at % span_seconds


def _read(session: Session, instance_ids: Sequence[int], span: Span) -> dict[Key, Counted]:
    first, last = _ceil(MINUTE_SECONDS, span[0]), _ceil(MINUTE_SECONDS, span[1])
    sums: dict[Key, Counted] = {}
    if first >= last or not instance_ids:
        return sums
    gaps: dict[Key, list[Span]] = {(one, metric): [(first, last)] for one in instance_ids for metric in _METRICS}
    for span_seconds in (DAY_SECONDS, HOUR_SECONDS):
        starts: dict[Key, list[int]] = {}
        for key, counted, found_starts in _rolled_up(session, gaps, span_seconds):
            _add(sums, [(key, counted)])
            starts.setdefault(key, []).extend(found_starts)
        for key, found in starts.items():
            gaps[key] = [left for gap in gaps[key] for left in without(gap, sorted(found), span_seconds)]
    _add(sums, _minutes(session, gaps))
    return sums


def _groups(gaps: Mapping[Key, Sequence[Span]]) -> Iterable[tuple[Sequence[Span], set[Key]]]:
    """Objectives that lack the same spans, nearly always nearly all of them; very many spans come in several groups."""
    found: dict[tuple[Span, ...], set[Key]] = {}
    for key, spans in gaps.items():
        for begin in range(0, len(spans), _LARGEST_SPANS):
            found.setdefault(tuple(spans[begin : begin + _LARGEST_SPANS]), set()).add(key)
    return found.items()


def _rolled_up(
    session: Session, gaps: Mapping[Key, Sequence[Span]], span_seconds: int
) -> Iterable[tuple[Key, Counted, Sequence[int]]]:
    """What is rolled up of each objective, and the starts of those hours or days. Where none lacks, the database adds up alone."""
    whole = {
        key: [(a, b) for start, end in spans if (a := _ceil(span_seconds, start)) < (b := floor_to(span_seconds, end))]
        for key, spans in gaps.items()
    }
    met, asked = (
        func.sum(RollUp.met_seconds),
        func.sum(RollUp.met_seconds + RollUp.violated_seconds + RollUp.degraded_seconds),
    )
    for spans, keys in _groups(whole):
        if not spans:
            continue
        all_starts = [start for a, b in spans for start in range(a, b, span_seconds)]
        within = (
            RollUp.instance_id.in_({key[0] for key in keys}),
            RollUp.metric.in_({key[1] for key in keys}),
            RollUp.span_seconds == span_seconds,
            or_(*(and_(RollUp.start >= a, RollUp.start < b) for a, b in spans)),
        )
        query = select(RollUp.instance_id, RollUp.metric, met, asked, func.count()).where(*within)
        partly: dict[Key, Counted] = {}
        for instance_id, metric, of_met, of_asked, count in session.execute(
            query.group_by(RollUp.instance_id, RollUp.metric)
        ):
            counted = Counted(met=int(of_met), with_demand=int(of_asked))
            if (instance_id, metric) not in keys:
                continue
            if count == len(all_starts):
                yield (instance_id, metric), counted, all_starts
            else:
                partly[instance_id, metric] = counted
        for key, starts in _starts(session, within, partly).items():
            yield key, partly[key], starts


def _starts(session: Session, within: Sequence[ColumnElement[bool]], keys: Collection[Key]) -> Mapping[Key, list[int]]:
    found: dict[Key, list[int]] = {key: [] for key in keys}
    if keys:
        few = RollUp.instance_id.in_({key[0] for key in keys})
        for instance_id, metric, start in session.execute(
            select(RollUp.instance_id, RollUp.metric, RollUp.start).where(*within, few)
        ):
            if (instance_id, metric) in found:
                found[instance_id, metric].append(start)
    return found


def _minutes(session: Session, gaps: Mapping[Key, Sequence[Span]]) -> Iterable[tuple[Key, Counted]]:
    met = func.sum(Minute.met_seconds)
    asked = func.sum(Minute.met_seconds + Minute.violated_seconds + Minute.degraded_seconds)
    for spans, keys in _groups(gaps):
        query = (
            select(Minute.instance_id, Minute.metric, met, asked)
            .where(
                Minute.instance_id.in_({key[0] for key in keys}),
                Minute.metric.in_({key[1] for key in keys}),
                Minute.is_stretch == false(),
                or_(*(and_(Minute.start >= a, Minute.start < b) for a, b in spans)),
            )
            .group_by(Minute.instance_id, Minute.metric)
        )
        for instance_id, metric, of_met, of_asked in session.execute(query):
            if (instance_id, metric) in keys:
                yield (instance_id, metric), Counted(met=int(of_met), with_demand=int(of_asked))
