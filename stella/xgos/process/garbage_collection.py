"""Garbage collection of a process that makes thousands of short-lived values in each tick.

Nearly all of them are freed by reference counting when the next tick replaces them. Python's cyclic collector would look through them
all again and again: with its defaults, planning for 200 instances took up to 27 ms where its median is 7 (`scripts/bench_tick.py`).
It stays on, for the cycles that libraries make, but runs rarely, and does not look at what was loaded at the start.
"""

import gc

_ALLOCATIONS, _YOUNG_RUNS, _MIDDLE_RUNS = 100_000, 20, 10


def settle() -> None:
    """To be called once the process is set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, _YOUNG_RUNS, _MIDDLE_RUNS)
