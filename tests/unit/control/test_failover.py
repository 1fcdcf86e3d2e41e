"""Places that survive the loss of one host, by example."""

from stella.control.failover import (
    Keeper,
    Place,
    Wanted,
    cores_kept,
    keepers_in_order,
    plan,
    worst_loss,
)


def a_place(instance: int, lost: int, cores: float, vcpus: int = 1) -> Place:
    return Place(instance=instance, lost=lost, cores=cores, vcpus=vcpus)


def test_places_for_the_loss_of_different_hosts_share_their_room() -> None:
    places = [a_place(1, 10, 0.5), a_place(2, 10, 0.2), a_place(3, 11, 0.6)]
    assert [one.cores for one in worst_loss(places)] == [0.6, 0.2]
    assert cores_kept([]) == 0.0


def test_a_place_goes_where_the_least_more_has_to_be_kept() -> None:
    empty = Keeper(host="empty", free_cores=1.8, places=[])
    keeps = Keeper(host="keeps", free_cores=0.3, places=[a_place(7, 20, 0.5)])
    full = Keeper(host="full", free_cores=0.1, places=[])
    found = keepers_in_order(a_place(1, 10, 0.5), [empty, keeps, full])
    assert [one.host for one in found] == ["keeps", "empty"]


def test_the_place_that_an_instance_has_already_takes_no_room_a_second_time() -> None:
    keeper = Keeper(host="k", free_cores=0.1, places=[a_place(1, 10, 0.5)])
    assert keepers_in_order(a_place(1, 10, 0.6), [keeper]) == [keeper]
    assert keepers_in_order(a_place(2, 10, 0.6), [keeper]) == []


def test_what_is_planned() -> None:
    wanted = [Wanted(instance=n, lost=10, cores=0.5, io_ratio=0.0) for n in (1, 2, 3, 4, 5)]
    places = {
        1: (11, a_place(1, 10, 0.5)),  # as it should be
        2: (12, a_place(2, 10, 0.5)),  # its keeper keeps nothing any more
        3: (10, a_place(3, 10, 0.5)),  # it has moved to its keeper
        4: (11, a_place(4, 10, 0.2)),  # its SLO has grown
        9: (11, a_place(9, 10, 0.5)),  # nobody asks for it
    }
    made = plan(wanted, places, usable={10, 11})
    assert made.drop == (9,) and set(made.find) == {2, 3, 4, 5}
