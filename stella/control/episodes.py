"""Violations over a whole cloud, pure: which are one episode, and which have ended though their host does not say so.

A host's agent makes episodes of windows (`stella.xgos.accounting.violation_episodes`). Two of them are one when less than
`GAP_SECONDS` lies between: after a move, or when an agent lost its state.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

GAP_SECONDS = 5.0
SMALLEST_SECONDS = 2.0
"""What lasts for less is not shown as a violation."""

_SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One row of a host. Times are Unix seconds; ``closed_at`` None: the host has not closed it. ``missed_seconds`` None: unknown."""

    id: int
    opened_at: float
    closed_at: float | None
    missed_seconds: float | None = None
    cause: str | None = None
    offender: str | None = None

    @property
    def known_end(self) -> float:
        """Its end, or until when it is known to have lasted at least."""
        return self.closed_at if self.closed_at is not None else self.opened_at + (self.missed_seconds or 0.0)


def merge(episodes: Iterable[Episode]) -> Mapping[int, int | None]:
    """For each episode of one objective, by id, the first of those it is one with; None for that first one itself."""
    merged: dict[int, int | None] = {}
    first, end = 0, float("-inf")
    for episode in sorted(episodes, key=lambda e: (e.opened_at, e.id)):
        if episode.opened_at - end < GAP_SECONDS:
            merged[episode.id] = first
        else:
            merged[episode.id], first, end = None, episode.id, float("-inf")
        end = max(end, episode.known_end)
    return merged


def union(parts: Sequence[Episode]) -> Episode:
    """The episode that its parts make, under the id of the first; cause and offender are those of the most missed seconds.

    Where no part tells its missed seconds, they are those of the longest.
    """
    first = min(parts, key=lambda e: (e.opened_at, e.id))
    closed = [part.closed_at for part in parts if part.closed_at is not None]
    missed = [part.missed_seconds for part in parts if part.missed_seconds is not None]
    cause = _most(parts, [part.cause for part in parts])
    return Episode(
        id=first.id,
        opened_at=first.opened_at,
        closed_at=max(closed) if len(closed) == len(parts) else None,
        missed_seconds=sum(missed) if missed else None,
        cause=cause,
        offender=_most(parts, [part.offender if part.cause == cause else None for part in parts]),
    )


def _most(parts: Sequence[Episode], names: Sequence[str | None]) -> str | None:
    weights: dict[str, float] = {}
    tells = any(part.missed_seconds is not None for part in parts)
    for part, name in zip(parts, names, strict=True):
        if name is not None:
            seconds = part.missed_seconds or 0.0 if tells else part.known_end - part.opened_at
            weights[name] = weights.get(name, 0.0) + seconds
    return max(sorted(weights), key=lambda name: weights[name]) if weights else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What tells that an open episode has ended; each None when it does not. Times are Unix seconds.

    ``gone_at``: since when its instance is gone. ``withdrawn_at``: when the objective was taken from its SLO. ``silent_since``: the
    last report of its host, which is silent for long. ``next_opened_at``: its host opened a later one of the same objective.
    ``good_minute``: a whole minute, later than all that is known of it, in which its host missed nothing.
    """

    gone_at: float | None = None
    withdrawn_at: float | None = None
    silent_since: float | None = None
    next_opened_at: float | None = None
    good_minute: float | None = None


def ended_at(episode: Episode, found: Circumstances) -> float | None:
    """When an open episode ended, as far as can be told; None while it lasts."""
    ends = [at for at in (found.gone_at, found.silent_since) if at is not None]
    if found.withdrawn_at is not None and episode.opened_at <= found.withdrawn_at + _SETTLE_SECONDS:
        ends.append(found.withdrawn_at)  # later ones are of another SLO, such as one that the host has of its own
    if found.next_opened_at is not None or found.good_minute is not None:
        ends.append(episode.known_end)  # its agent lost its state before it could close it
    return max(episode.opened_at, min(ends)) if ends else None
