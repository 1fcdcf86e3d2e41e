"""The instances of simulated hosts: who they are does not depend on the run."""

import uuid

import pytest

from stella.sim.population import OTHER_PROJECT, PROJECT, instance_uuid, specs


def test_uuids_come_from_the_host_and_the_number() -> None:
    found = specs("sim2", 2, 3, seed=1)
    assert [one.uuid for one in found] == [instance_uuid("sim2", n) for n in (1, 2, 3)]
    assert [one.uuid for one in specs("sim2", 2, 3, seed=9)] == [one.uuid for one in found]
    assert all(uuid.UUID(one.uuid).version == 5 for one in found)


@pytest.mark.parametrize("instances", [1, 3, 8, 20])
def test_names_and_uuids_are_unique_over_all_hosts(instances: int) -> None:
    found = [one for n in range(1, 6) for one in specs(f"sim{n}", n, instances)]
    assert len({one.name for one in found}) == len({one.uuid for one in found}) == 5 * instances


def test_names_and_projects() -> None:
    names = [one.name for one in specs("sim1", 1, 8)]
    assert names == ["web-1", "db-1", "batch-1", "acme-batch-1", "batch-2", "web-2", "db-2", "cache-1"]
    projects = [one.project for one in specs("sim1", 1, 20)]
    assert projects.count(OTHER_PROJECT) == 1
    assert projects.count(PROJECT) == 19
    assert specs("sim3", 3, 8)[0].name == "web-5"


def test_another_seed_gives_other_loads() -> None:
    assert specs("sim1", 1, 8, seed=1) == specs("sim1", 1, 8, seed=1)
    assert specs("sim1", 1, 8, seed=1) != specs("sim1", 1, 8, seed=2)
