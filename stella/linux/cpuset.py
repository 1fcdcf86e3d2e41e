"""The cpuset controller's text: lists of CPUs, such as ``0-3,8``."""

import functools
from collections.abc import Iterable

from stella.linux.cgroup import InvalidText

_CACHED_LISTS = 512  # a host with many instances has few lists, and each is read and compared every tick
LARGEST_CPU = 65_535
"""No kernel counts further; a larger number is garbage."""


@functools.lru_cache(maxsize=_CACHED_LISTS)
def parse_cpus(text: str) -> tuple[int, ...]:
    """CPU numbers in order. An empty text (cgroup v2: the parent's CPUs) gives none."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        try:
            if part:
                begin, end = int(first), int(last if dash else first)
                if end > LARGEST_CPU:
                    raise ValueError(end)
                cpus += range(begin, end + 1)
        except ValueError:
            raise InvalidText(f"no list of CPUs: {text[:40]!r}") from None
    return tuple(sorted(set(cpus)))


def show_cpus(cpus: Iterable[int]) -> str:
    """The shortest list: runs as ``first-last``."""
    return _shown(cpus if isinstance(cpus, tuple) else tuple(cpus))


@functools.lru_cache(maxsize=_CACHED_LISTS)
def _shown(cpus: tuple[int, ...]) -> str:
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
