"""What users add, held in an emulated Placement: amounts, refusals, other clients, answers that do not come."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID, uuid5

import pytest

from stella.clouds.openstack.allocations import CONSUMER_TYPE, NO_PROJECT, PlacementLedger
from stella.clouds.openstack.session import Refused
from stella.clouds.port import Claim, NoRoom, Unanswered
from stella.model.resources import NAMES
from tests.unit.clouds.emulated_placement import Answer, EmulatedPlacement, unreachable

CPU, KPPS = NAMES[0], NAMES[1]
ROOT = "8d0c2f5a-7a53-4f2f-9f3a-0c8f2a1b7d10"
OTHER_ROOT = "b1f9c6de-1f6c-4a51-8a51-2a4f0c7e9d22"
CHILD = str(uuid5(UUID(ROOT), "stella"))
INSTANCE = "5f0e3a52-4f0a-4f1f-8a38-8b1f2f7a9c01"
MIGRATION = "0d6f4a9e-2f6b-4f57-b7f4-3a5b1c2d4e5f"
OWN = str(uuid5(UUID(INSTANCE), ROOT))


@pytest.fixture
def cloud() -> EmulatedPlacement:
    made = EmulatedPlacement()
    made.provider(CHILD, {CPU: 1000, KPPS: 50})
    return made


def claim(resources: Mapping[str, int], *, project: str = "p1") -> Claim:
    return Claim(instance=INSTANCE, project=project, provider=ROOT, resources=resources)


def ledger(cloud: EmulatedPlacement, *migrations: str) -> PlacementLedger:
    return PlacementLedger(cloud.adapter(), migrations=lambda instance: migrations)


def test_what_the_flavor_does_not_hold_is_held_under_a_consumer_of_our_own(cloud: EmulatedPlacement) -> None:
    cloud.allocate(INSTANCE, {ROOT: {"VCPU": 1}, CHILD: {CPU: 200}})
    ledger(cloud).hold(claim({CPU: 300, KPPS: 20}))
    assert cloud.held(OWN, CHILD) == {CPU: 100, KPPS: 20}
    assert cloud.held(INSTANCE, CHILD) == {CPU: 200}, "Nova's allocation is as it was"
    made = cloud.consumers[OWN]
    assert (made.type, made.project) == (CONSUMER_TYPE, "p1")


def test_doing_it_again_writes_nothing(cloud: EmulatedPlacement) -> None:
    for _ in range(2):
        ledger(cloud).hold(claim({CPU: 300}))
    assert [one for one in cloud.asked if one.startswith("PUT")] == [f"PUT /allocations/{OWN}"]


def test_a_claim_within_the_flavor_leaves_no_consumer(cloud: EmulatedPlacement) -> None:
    cloud.allocate(INSTANCE, {CHILD: {CPU: 200}})
    ledger(cloud).hold(claim({CPU: 300}))
    ledger(cloud).hold(claim({CPU: 200}))
    assert OWN not in cloud.consumers
    ledger(cloud).hold(claim({}))
    assert set(cloud.consumers) == {INSTANCE}


def test_at_least_takes_nothing_away(cloud: EmulatedPlacement) -> None:
    cloud.allocate(INSTANCE, {CHILD: {CPU: 200}})
    ledger(cloud).hold(claim({CPU: 500}))
    ledger(cloud).hold(replace(claim({CPU: 400, KPPS: 10}), at_least=True))
    assert cloud.held(OWN, CHILD) == {CPU: 300, KPPS: 10}
    ledger(cloud).hold(claim({CPU: 400, KPPS: 10}))
    assert cloud.held(OWN, CHILD) == {CPU: 200, KPPS: 10}


def test_what_has_no_room_names_the_class_and_what_the_slo_could_hold(cloud: EmulatedPlacement) -> None:
    cloud.allocate(INSTANCE, {CHILD: {CPU: 200}})
    cloud.allocate(MIGRATION, {CHILD: {CPU: 500}})
    ledger(cloud).hold(claim({CPU: 300}))
    with pytest.raises(NoRoom) as refused:
        ledger(cloud).hold(claim({CPU: 501, KPPS: 10}))
    assert (refused.value.resource_class, refused.value.free) == (CPU, 500)
    assert cloud.held(OWN, CHILD) == {CPU: 100}, "nothing changed"
    ledger(cloud).hold(claim({CPU: 500, KPPS: 10}))


def test_a_class_that_the_host_does_not_have_has_no_room(cloud: EmulatedPlacement) -> None:
    with pytest.raises(NoRoom) as refused:
        ledger(cloud).hold(claim({NAMES[4]: 1}))
    assert (refused.value.resource_class, refused.value.free) == (NAMES[4], 0)


def test_less_is_held_where_the_host_takes_nothing_more(cloud: EmulatedPlacement) -> None:
    ledger(cloud).hold(claim({CPU: 300, KPPS: 20}))
    cloud.reserved[CHILD] = {CPU: 1000, KPPS: 50}
    ledger(cloud).hold(claim({CPU: 100, KPPS: 20}))
    assert cloud.held(OWN, CHILD) == {CPU: 100, KPPS: 20}
    with pytest.raises(NoRoom) as refused:
        ledger(cloud).hold(claim({CPU: 101, KPPS: 20}))
    assert refused.value.free == 100


def test_another_client_in_between_makes_it_read_again(cloud: EmulatedPlacement) -> None:
    ledger(cloud).hold(claim({CPU: 100}))
    left = [3]

    def other(method: str, path: str) -> Answer | None:
        if method == "PUT" and left[0]:
            left[0] -= 1
            cloud.allocate(OWN, {CHILD: {CPU: 150 + left[0]}}, type=CONSUMER_TYPE)
        return None

    cloud.before = other
    ledger(cloud).hold(claim({CPU: 300}))
    assert cloud.held(OWN, CHILD) == {CPU: 300} and left == [0]
    left[0] = 10**6
    with pytest.raises(Refused):
        ledger(cloud).hold(claim({CPU: 400}))


def test_room_that_is_made_meanwhile_is_taken(cloud: EmulatedPlacement) -> None:
    cloud.allocate(MIGRATION, {CHILD: {CPU: 900}})

    def leaves(method: str, path: str) -> Answer | None:
        if path.endswith("/inventories"):
            cloud.allocate(MIGRATION, {})
        return None

    cloud.before = leaves
    ledger(cloud).hold(claim({CPU: 300}))
    assert cloud.held(OWN, CHILD) == {CPU: 300}


def test_a_server_that_moves_holds_its_place_under_its_migration(cloud: EmulatedPlacement) -> None:
    cloud.allocate(MIGRATION, {ROOT: {"VCPU": 1}, CHILD: {CPU: 200}})
    cloud.allocate(INSTANCE, {OTHER_ROOT: {"VCPU": 1}})
    ledger(cloud, "00000000-0000-4000-8000-000000000000", MIGRATION).hold(claim({CPU: 300}))
    assert cloud.held(OWN, CHILD) == {CPU: 100}


def test_nova_is_asked_only_for_a_server_that_may_be_moving(cloud: EmulatedPlacement) -> None:
    asked = []

    def migrations(instance: str) -> tuple[str, ...]:
        asked.append(instance)
        return ()

    cloud.allocate(MIGRATION, {CHILD: {CPU: 200}})
    cloud.allocate(INSTANCE, {ROOT: {"VCPU": 1}})
    PlacementLedger(cloud.adapter(), migrations=migrations).hold(claim({CPU: 300}))
    assert cloud.held(OWN, CHILD) == {CPU: 300}, "the other consumer is not of this server"
    assert asked == []


def test_a_resize_on_one_host_counts_the_new_flavor_alone(cloud: EmulatedPlacement) -> None:
    cloud.allocate(MIGRATION, {CHILD: {CPU: 200}})
    cloud.allocate(INSTANCE, {CHILD: {CPU: 250}})
    ledger(cloud, MIGRATION).hold(claim({CPU: 300}))
    assert cloud.held(OWN, CHILD) == {CPU: 50}


def test_an_instance_without_a_project_gets_placements_own_word_for_that(cloud: EmulatedPlacement) -> None:
    ledger(cloud).hold(claim({CPU: 1}, project=""))
    assert cloud.consumers[OWN].project == NO_PROJECT


def test_a_host_without_a_provider_of_ours_holds_nothing_and_says_so() -> None:
    cloud = EmulatedPlacement()
    ledger(cloud).hold(claim({}))
    with pytest.raises(Refused, match=CHILD):
        ledger(cloud).hold(claim({CPU: 1}))


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_is_no_answer_is_unanswered(cloud: EmulatedPlacement, method: str, status: int) -> None:
    cloud.before = lambda asked, path: Answer(status, {"errors": []}) if asked == method else None
    with pytest.raises(Unanswered):
        ledger(cloud).hold(claim({CPU: 1}))


def test_a_placement_that_is_away_is_unanswered(cloud: EmulatedPlacement) -> None:
    cloud.before = unreachable
    with pytest.raises(Unanswered):
        ledger(cloud).hold(claim({CPU: 1}))


def test_a_host_whose_provider_is_not_known_yet_holds_nothing_and_says_so(cloud: EmulatedPlacement) -> None:
    ledger(cloud).hold(Claim(instance=INSTANCE, project="p1", provider="", resources={}))
    with pytest.raises(Refused, match="not known yet"):
        ledger(cloud).hold(Claim(instance=INSTANCE, project="p1", provider="", resources={CPU: 1}))
    assert cloud.asked == []


def test_before_a_move_only_what_nova_will_not_hold_is_reserved_at_the_destination(cloud: EmulatedPlacement) -> None:
    other_child, there = str(uuid5(UUID(OTHER_ROOT), "stella")), str(uuid5(UUID(INSTANCE), OTHER_ROOT))
    cloud.provider(other_child, {CPU: 250, KPPS: 50})
    cloud.allocate(INSTANCE, {ROOT: {"VCPU": 1}, CHILD: {CPU: 200}})
    ledger(cloud).hold(claim({CPU: 300, KPPS: 20}))
    wanted = replace(claim({CPU: 300, KPPS: 20}), provider=OTHER_ROOT)
    held = ledger(cloud).reserve(wanted, source=ROOT)
    assert held == cloud.held(there, other_child) == {CPU: 100, KPPS: 20}
    assert cloud.held(OWN, CHILD) == {CPU: 100, KPPS: 20}, "the source holds on"
    with pytest.raises(NoRoom):
        ledger(cloud).reserve(replace(wanted, resources={CPU: 500}), source=ROOT)
    for _ in range(2):
        ledger(cloud).release(wanted)
    assert there not in cloud.consumers and OWN in cloud.consumers
    assert ledger(cloud).reserve(replace(wanted, resources={CPU: 200}), source=ROOT) == {}, "the flavor sells all of it"
    assert ledger(cloud).reserve(replace(wanted, resources={}), source=ROOT) == {}, "best-effort"
