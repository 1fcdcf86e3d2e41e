"""What Stella's own consumers hold in Placement, compared with what they should: pure.

An instance's SLO takes so much of a host. Its flavor's part of that is in Nova's own allocation, the rest under a consumer of
Stella's own, one for each instance and host. The database says what is in force; a process that changes an SLO writes first what is
more, then the database, then what is less. It may end at any point between. So what is missing is added at once, and what is too much
goes only when it was found twice, unchanged: a process that is at work has written its change by then.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid5

from stella.model.resources import at_least, beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """What one consumer holds on one provider, and its generation."""

    generation: int
    resources: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a consumer should hold (nothing: it is deleted), if it still has that generation (None: if there is none)."""

    consumer: str
    resources: Mapping[str, int]
    generation: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """A consumer that held more than it should, as it was found."""

    generation: int
    wanted: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write now. ``surplus`` is to be given to the next `reconcile` of the same provider."""

    raises: tuple[Change, ...] = ()
    lowers: tuple[Change, ...] = ()
    surplus: Mapping[str, Surplus] = field(default_factory=dict)


def consumer_of(instance: str, provider: str) -> str:
    """The uuid of the consumer that holds what is added to ``instance`` on the host of ``provider``, its root provider."""
    return str(uuid5(UUID(instance), provider))


def could_be_ours(consumer: str) -> bool:
    """Whether its uuid is made as ours are. Nova's instances and migrations have random ones."""
    return UUID(consumer).version == 5


def part_of_nova(consumers: Mapping[str, Consumer], instance: str, migrations: Collection[str]) -> Mapping[str, int]:
    """What Nova holds for ``instance`` on a provider: its own allocation, else that of one of its ``migrations``.

    While a server moves, its migration holds its place on the host that it leaves. After a resize on one host both hold: then the
    migration keeps the old flavor's part for a revert, and is not counted.
    """
    for consumer in (str(UUID(instance)), *sorted(migrations)):
        if consumer in consumers:
            return consumers[consumer].resources
    return {}


def unknown(consumers: Mapping[str, Consumer], instances: Collection[str]) -> bool:
    """Whether there may be migrations among the consumers: such as are neither ours nor one of ``instances``."""
    known = {str(UUID(instance)) for instance in instances}
    return any(consumer not in known and not could_be_ours(consumer) for consumer in consumers)


def reconcile(
    wanted: Mapping[str, Mapping[str, int]], consumers: Mapping[str, Consumer], before: Mapping[str, Surplus]
) -> Plan:
    """What to write so that our consumers on one provider hold what is ``wanted`` of them; those not named there, nothing.

    ``consumers`` are all that hold anything on the provider; those that cannot be ours stay as they are. ``before`` is the surplus
    that the last run found.
    """
    raises, lowers, surplus = [], [], {}
    for consumer in sorted({*wanted, *filter(could_be_ours, consumers)}):
        found = consumers.get(consumer)
        held: Mapping[str, int] = found.resources if found else {}
        should = {name: amount for name, amount in wanted.get(consumer, {}).items() if amount > 0}
        if beyond(should, held):
            generation = found.generation if found else None
            raises.append(Change(consumer=consumer, resources=at_least(should, held), generation=generation))
        elif found is not None and beyond(held, should):
            seen = Surplus(generation=found.generation, wanted=should)
            if before.get(consumer) == seen:
                lowers.append(Change(consumer=consumer, resources=should, generation=found.generation))
            else:
                surplus[consumer] = seen
    return Plan(raises=tuple(raises), lowers=tuple(lowers), surplus=surplus)
