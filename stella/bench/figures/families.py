"""All families, in the order in which they are run and shown."""

from stella.bench.figures import attainment, ceiling, changes, demonstration, honesty, killing, mixed, seeds, solo
from stella.bench.figures.session import Family

FAMILIES: tuple[Family, ...] = (
    solo.FAMILY,
    demonstration.FAMILY,
    attainment.FAMILY,
    changes.CHANGES,
    changes.LATE,
    mixed.FAMILY,
    ceiling.FAMILY,
    honesty.FAMILY,
    killing.FAMILY,
    seeds.FAMILY,
)


class UnknownFamily(ValueError):
    """A family that there is not; one line for a person."""


def chosen(only: str) -> tuple[Family, ...]:
    """The families named, joined by commas, with those that they need; all for empty text. Raises `UnknownFamily`."""
    known = {family.name: family for family in FAMILIES}
    names = {name.strip() for name in only.split(",") if name.strip()}
    for name in sorted(names):
        if name not in known:
            raise UnknownFamily(f"--only: {name!r} is not one of {', '.join(known)}")
    if not names:
        return FAMILIES
    wanted = names.union(*(known[name].needs for name in names))
    return tuple(family for family in FAMILIES if family.name in wanted)
