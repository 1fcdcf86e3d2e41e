"""What a move has done: the violated seconds an hour that ended on both of its hosts, measured after it has settled.

Both hosts are counted, so that a violation that only moved with its instance is no effect, and one that the move brings about at the
destination counts against it. Before and after are spans of the same length.
"""

from dataclasses import dataclass

SPAN_SECONDS = 300
"""Before the decision, and after the move: five whole minutes, which hosts report within seconds of their end."""

_LATE_SECONDS = 30
_LEAST_RATIO = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Unix seconds, whole minutes: what is compared, each from its start to before its end."""

    before: tuple[int, int]
    after: tuple[int, int]


def spans(decided_at: float, ended_at: float, settle_seconds: float) -> Spans:
    """The minutes before the decision, and those after the move has settled."""
    end, start = int(decided_at) // 60 * 60, -(-int(ended_at + settle_seconds) // 60) * 60
    return Spans(before=(end - SPAN_SECONDS, end), after=(start, start + SPAN_SECONDS))


def is_due(found: Spans, now: float) -> bool:
    """Whether the minutes after the move are over and reported."""
    return now >= found.after[1] + _LATE_SECONDS


def measured_effect(missed_before_seconds: float, missed_after_seconds: float) -> float:
    """Violated seconds an hour that ended; below 0 where there are more than before."""
    return (missed_before_seconds - missed_after_seconds) * 3600.0 / SPAN_SECONDS


def helped(predicted_effect: float, measured: float) -> bool:
    """Whether a move did what it was made for: at least a quarter of what was predicted ended."""
    return measured > 0.0 and measured >= _LEAST_RATIO * predicted_effect
