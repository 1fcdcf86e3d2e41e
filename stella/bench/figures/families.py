"""All families, in the order in which they are run and shown."""

from stella.bench.figures import (
    attainment,
    ceiling,
    changes,
    contention,
    demonstration,
    honesty,
    killing,
    mixed,
    offender,
    seeds,
)
from stella.bench.figures.session import Family

FAMILIES: tuple[Family, ...] = (
    demonstration.FAMILY,
    attainment.FAMILY,
    changes.FAMILY,
    mixed.FAMILY,
    ceiling.FAMILY,
    honesty.FAMILY,
    offender.FAMILY,
    killing.FAMILY,
    seeds.FAMILY,
)
OF_OTHER_PAGES: tuple[Family, ...] = (contention.FAMILY,)
"""Run when they are named only: with them all figures would take more than they may."""


class UnknownFamily(ValueError):
    """A family that there is not; one line for a person."""


def chosen(only: str) -> tuple[Family, ...]:
    """The families named, joined by commas, all for empty text. Raises `UnknownFamily`."""
    known = {family.name: family for family in (*FAMILIES, *OF_OTHER_PAGES)}
    names = {name.strip() for name in only.split(",") if name.strip()}
    for name in sorted(names):
        if name not in known:
            raise UnknownFamily(f"--only: {name!r} is not one of {', '.join(known)}")
    if not names:
        return FAMILIES
    return tuple(family for family in known.values() if family.name in names)
