"""What is written where what is held differs from what is in force."""

from collections.abc import Mapping
from uuid import uuid4

import pytest

from stella.control.ledger import Change, Consumer, Plan, Surplus, consumer_of, could_be_ours, reconcile, unknown
from stella.model.resources import NAMES

CPU, KPPS = NAMES[0], NAMES[1]
ROOT = "8d0c2f5a-7a53-4f2f-9f3a-0c8f2a1b7d10"
INSTANCE = "5f0e3a52-4f0a-4f1f-8a38-8b1f2f7a9c01"
OWN = consumer_of(INSTANCE, ROOT)


def holds(resources: Mapping[str, int], generation: int = 3) -> dict[str, Consumer]:
    return {OWN: Consumer(generation=generation, resources=resources)}


def test_the_consumer_of_an_instance_on_a_host_is_always_the_same() -> None:
    assert OWN == consumer_of(INSTANCE.upper(), ROOT) != consumer_of(INSTANCE, INSTANCE)
    assert could_be_ours(OWN) and not could_be_ours(str(uuid4()))


def test_what_is_in_step_is_left_alone() -> None:
    assert reconcile({OWN: {CPU: 5}}, holds({CPU: 5}), {}) == Plan()
    assert reconcile({OWN: {}, consumer_of(ROOT, ROOT): {}}, {}, {}) == Plan()


def test_what_was_never_held_is_made_as_new() -> None:
    assert reconcile({OWN: {CPU: 5}}, {}, {}).raises == (Change(consumer=OWN, resources={CPU: 5}, generation=None),)


def test_a_raise_of_one_class_takes_nothing_of_another() -> None:
    """What is too much of the other may be a change that is not in the database yet."""
    plan = reconcile({OWN: {CPU: 5}}, holds({CPU: 3, KPPS: 20}), {})
    assert plan == Plan(raises=(Change(consumer=OWN, resources={CPU: 5, KPPS: 20}, generation=3),))


@pytest.mark.parametrize(
    ("seen", "goes"),
    [
        (None, False),
        (Surplus(generation=3, wanted={CPU: 2}), True),
        (Surplus(generation=2, wanted={CPU: 2}), False),
        (Surplus(generation=3, wanted={CPU: 1}), False),
    ],
)
def test_too_much_goes_when_it_is_seen_twice_unchanged(seen: Surplus | None, goes: bool) -> None:
    plan = reconcile({OWN: {CPU: 2}}, holds({CPU: 5}), {OWN: seen} if seen else {})
    lower = Change(consumer=OWN, resources={CPU: 2}, generation=3)
    assert plan.lowers == ((lower,) if goes else ())
    assert plan.surplus == ({} if goes else {OWN: Surplus(generation=3, wanted={CPU: 2})})


def test_consumers_with_random_uuids_are_in_no_plan() -> None:
    consumers = {str(uuid4()): Consumer(generation=1, resources={CPU: 100})}
    surplus = {consumer: Surplus(generation=1, wanted={}) for consumer in consumers}
    assert reconcile({}, consumers, surplus) == Plan()


def test_a_migration_may_be_among_consumers_that_are_neither_ours_nor_of_a_known_instance() -> None:
    known = {INSTANCE: Consumer(generation=1, resources={CPU: 1}), **holds({CPU: 1})}
    assert not unknown(known, (INSTANCE,))
    assert unknown({**known, str(uuid4()): Consumer(generation=1, resources={CPU: 1})}, (INSTANCE,))
