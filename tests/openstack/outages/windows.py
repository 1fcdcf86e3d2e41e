"""Windows of one second from a counter that was read more often. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE_RATIO = 0.95
"""As everywhere in Stella: a floor is met from 95 % of it on."""

Sample = tuple[float, float]
"""(seconds, a counter that only grows)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``missed`` of ``windows`` seconds were below the floor, ``longest_seconds`` of them one after the other."""

    windows: int
    missed: int
    longest_seconds: int

    @property
    def text(self) -> str:
        """For a table."""
        return f"{self.missed}/{self.windows}, {self.longest_seconds} s"


def at(samples: Sequence[Sample], moment: float) -> float:
    """The counter at a moment: on the line between the samples around it; before the first and after the last it stays."""
    right = bisect_right(samples, moment, key=lambda sample: sample[0])
    if right == 0:
        return samples[0][1]
    if right == len(samples):
        return samples[-1][1]
    (t0, c0), (t1, c1) = samples[right - 1], samples[right]
    return c0 + (c1 - c0) * (moment - t0) / (t1 - t0)


def kept(samples: Sequence[Sample], floor: float, start: float, end: float) -> Kept:
    """How the floor (per second) was kept in the whole seconds from ``start`` to ``end``."""
    count = max(0, int(end - start))
    rates = [at(samples, start + k + 1) - at(samples, start + k) for k in range(count)]
    missed = longest = run = 0
    for rate in rates:
        run = run + 1 if rate < TOLERANCE_RATIO * floor else 0
        missed += run > 0
        longest = max(longest, run)
    return Kept(windows=count, missed=missed, longest_seconds=longest)
