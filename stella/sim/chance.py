"""Chance that is a pure function of its arguments: the same in every run, whatever was asked for before."""

_MASK = (1 << 64) - 1


def unit(seed: int, number: int) -> float:
    """A number from 0 to below 1 for the ``number``-th draw of ``seed``; splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = (seed * 0xD1342543DE82EF95 + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / float(1 << 53)


def derived(seed: int, *names: object) -> int:
    """Another seed, for a part of what ``seed`` is for."""
    found = seed & _MASK
    for character in "\0".join(str(name) for name in names).encode():
        found = ((found ^ character) * 0x100000001B3) & _MASK  # FNV-1a
    return found
