"""Placement by example: who shares a CPU with whom."""

from stella.control.placement import Item, place
from stella.model.snapshot import Role


def an_item(uuid: str, cores: float, *, vcpus: int = 1, serving: float = 0.3, guaranteed: bool = True) -> Item:
    """An instance whose main loop does ``serving`` of its work, its vCPUs the rest in equal parts."""
    vcpu_stages = {(Role.VCPU, n): (1 - serving) / vcpus for n in range(vcpus)}
    return Item(uuid=uuid, cores=cores, guaranteed=guaranteed, stages={**vcpu_stages, (Role.EMULATOR, 0): serving})


def cpus_of(uuid: str, items: list[Item]) -> set[int]:
    return set(place([0, 1], items, {})[uuid].values())


def test_what_fits_one_cpu_stays_whole_even_where_that_is_uneven() -> None:
    three = [an_item("net", 0.70), an_item("disk", 0.51), an_item("computing", 0.69, vcpus=2, serving=0.05)]
    assert all(len(cpus_of(item.uuid, three)) == 1 for item in three)


def test_what_needs_more_than_a_cpu_is_split() -> None:
    assert cpus_of("computing", [an_item("net", 0.5), an_item("computing", 1.3, vcpus=4)]) == {0, 1}


def test_a_neighbour_that_is_entitled_to_little_stays_whole_and_a_larger_one_does_not() -> None:
    net = an_item("net", 0.7)
    little, more = (an_item("hog", cores, vcpus=4, serving=0.02, guaranteed=False) for cores in (0.2, 1.2))
    assert len(cpus_of("hog", [net, little])) == 1
    assert len(cpus_of("hog", [net, more])) == 2
