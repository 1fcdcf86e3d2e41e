"""How long requests took, by kind, and what became of them."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MILLISECONDS = 1000.0


def percentile(ordered: Sequence[float], ratio: float) -> float:
    """The value that ``ratio`` of all do not exceed (nearest rank); NaN of none. ``ordered`` rises."""
    return ordered[max(0, math.ceil(ratio * len(ordered)) - 1)] if ordered else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of so many durations, in seconds."""

    count: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    max_seconds: float


def spread(durations: Iterable[float]) -> Spread:
    """The spread of durations in seconds; NaN of none."""
    ordered = sorted(durations)
    return Spread(
        count=len(ordered),
        p50_seconds=percentile(ordered, 0.5),
        p95_seconds=percentile(ordered, 0.95),
        p99_seconds=percentile(ordered, 0.99),
        max_seconds=ordered[-1] if ordered else math.nan,
    )


class Timings:
    """Durations and statuses by kind of request. Nothing is counted before `begin` or after `end`."""

    def __init__(self) -> None:
        self.durations: dict[str, list[float]] = defaultdict(list)
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.errors: Counter[str] = Counter()
        self.lags: list[float] = []
        self._counts = False

    def begin(self) -> None:
        """Count from now on."""
        self._counts = True

    def end(self) -> None:
        """Count no more."""
        self._counts = False

    def answered(self, kind: str, status: int, seconds: float, lag_seconds: float = 0.0) -> None:
        """A request got an answer ``seconds`` after it was due; it was sent ``lag_seconds`` late by the generator itself."""
        if self._counts:
            self.durations[kind].append(seconds)
            self.statuses[kind, status] += 1
            self.lags.append(lag_seconds)

    def failed(self, kind: str, error: str) -> None:
        """A request got no answer."""
        if self._counts:
            self.errors[f"{kind}: {error}"] += 1

    @property
    def kinds(self) -> Mapping[str, Spread]:
        """The spread of each kind of request."""
        return {kind: spread(found) for kind, found in sorted(self.durations.items())}

    @property
    def all(self) -> Spread:
        """The spread of all requests together."""
        return spread(seconds for found in self.durations.values() for seconds in found)

    def count_status(self, least: int, most: int) -> int:
        """How many answers had a status from ``least`` to ``most``."""
        return sum(count for (_, status), count in self.statuses.items() if least <= status <= most)

    def unexpected(self, allowed: Sequence[int]) -> Mapping[str, int]:
        """Answers with other statuses than ``allowed``, by kind and status."""
        return {f"{kind} {status}": n for (kind, status), n in sorted(self.statuses.items()) if status not in allowed}
