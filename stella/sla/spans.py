"""Which part of a period an instance is under a class, and which part of that is excluded.

Of the attachments that reach an instance the most specific counts: its own, then its flavor's, then its project's. Windows may
overlap; each second is excluded once, by the window with the lowest id, and by one of all hosts before one of a host alone.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int]
"""From the first to before the second, Unix seconds."""


class Scope(enum.StrEnum):
    """What a class is attached to, the most specific first."""

    INSTANCE = "instance"
    FLAVOR = "flavor"
    PROJECT = "project"


_ORDER = {scope: number for number, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A class that is attached to something that reaches the instance; ``end`` None: still."""

    sla_id: int
    scope: Scope
    start: int
    end: int | None = None

    def covers(self, span: Span) -> bool:
        """Whether it lasts all through a span."""
        return self.start <= span[0] and (self.end is None or span[1] <= self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window that excludes; ``host_id`` None: wherever the instance runs."""

    id: int
    start: int
    end: int
    host_id: int | None = None


def _pieces(whole: Span, edges: Iterable[int]) -> list[Span]:
    start, end = whole
    cuts = sorted({start, end, *(edge for edge in edges if start < edge < end)})
    return [(a, b) for a, b in pairwise(cuts)]


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    found: list[Span] = []
    for start, end in spans:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return tuple(found)


def chosen(attachments: Sequence[Attachment], span: Span) -> int | None:
    """The class that counts all through a span in which none of these attachments begins or ends; None: there is none."""
    covering = [one for one in attachments if one.covers(span)]
    first = min(covering, key=lambda one: (_ORDER[one.scope], -one.start), default=None)
    return first.sla_id if first is not None else None


def under(attachments: Sequence[Attachment], sla_id: int, whole: Span) -> tuple[Span, ...]:
    """The parts of a span in which the class counts for an instance that these attachments reach, in order."""
    edges = [edge for one in attachments for edge in (one.start, one.end) if edge is not None]
    return _joined(piece for piece in _pieces(whole, edges) if chosen(attachments, piece) == sla_id)


def within(parts: Sequence[Span], whole: Span) -> tuple[Span, ...]:
    """What of these parts lies in a span."""
    cut = ((max(start, whole[0]), min(end, whole[1])) for start, end in parts)
    return tuple((start, end) for start, end in cut if start < end)


def excluded(windows: Sequence[Window], spans: Sequence[Span]) -> tuple[Window, ...]:
    """The windows within these spans, cut so that no second is in two of them, in order."""
    edges = [edge for window in windows for edge in (window.start, window.end)]
    found: list[Window] = []
    for piece in (piece for span in spans for piece in _pieces(span, edges)):
        covering = sorted((w for w in windows if w.start <= piece[0] and piece[1] <= w.end), key=lambda w: w.id)
        general = [window for window in covering if window.host_id is None]
        chosen = general[:1] or list({window.host_id: window for window in reversed(covering)}.values())
        found += [Window(id=w.id, start=piece[0], end=piece[1], host_id=w.host_id) for w in chosen]
    return tuple(sorted(found, key=lambda w: (w.start, w.id)))
