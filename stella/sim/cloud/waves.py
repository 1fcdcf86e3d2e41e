"""Levels of many loads at once, pure functions of their seeds and of time: bursts within daily patterns.

The same waves as `stella.sim.loads.Wave` and the same chance as `stella.sim.chance`, over arrays: a day of thousands of hosts asks
millions of times.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Seeds = npt.NDArray[np.uint64]

DAY_SECONDS = 86_400.0
BEGINS_AT_HOUR = 12.0
"""A simulated day begins at noon, when most is asked for: an hour of it is the hardest one."""
DAILY_STEP_SECONDS = 600.0
"""The daily pattern moves in steps of so long, so that most hosts ask for the same as a step before."""


def units(seeds: Seeds, numbers: Seeds) -> Floats:
    """`stella.sim.chance.unit` of each seed and number."""
    with np.errstate(over="ignore"):
        z = seeds * np.uint64(0xD1342543DE82EF95) + (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Floats = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    return found


@dataclass(slots=True)
class Bursts:
    """When each of many loads is awake; the fields are those of `stella.sim.loads.Wave`. A period of 0: always awake."""

    seeds: Seeds
    period_seconds: Floats
    awake_ratio: Floats

    def awake(self, seconds: float) -> Bools:
        """Whether each is awake ``seconds`` after the start."""
        period = np.where(self.period_seconds > 0, self.period_seconds, 1.0)
        at = seconds / period + units(self.seeds, np.zeros_like(self.seeds))
        cycle = np.floor(at)
        spread = 0.6 + 0.8 * units(self.seeds, cycle.astype(np.uint64) + np.uint64(1))
        return (at - cycle < self.awake_ratio * spread) | (self.period_seconds <= 0)


def daily(seconds: float, *, depth: Floats, peak_hour: Floats) -> Floats:
    """The part of its peak that each asks for ``seconds`` after the start: 1 at ``peak_hour``, 1 - ``depth`` twelve hours later."""
    hour = BEGINS_AT_HOUR + seconds // DAILY_STEP_SECONDS * DAILY_STEP_SECONDS / 3600.0
    return 1.0 - depth * (1.0 - np.cos((hour - peak_hour) * (2.0 * np.pi / 24.0))) / 2.0
