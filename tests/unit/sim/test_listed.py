"""Instances that a file lists: the machine follows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from stella.sim.listed import ListedInstances, read
from stella.sim.machine import Machine

_ONE = {"uuid": "u1", "name": "a", "project": "p", "flavor": "gold", "vcpus": 2, "running": True}


@pytest.fixture
def machine() -> Machine:
    return Machine(cores=4, seed=1, boot_unix_seconds=1_800_000_000.0)


def write(path: Path, *instances: dict[str, Any]) -> None:
    """Replaced whole, as the format asks."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"instances": list(instances)}))
    new.replace(path)


def test_the_machine_follows_the_file(tmp_path: Path, machine: Machine) -> None:
    path = tmp_path / "fake1.json"
    listed = ListedInstances(path)
    listed.follow(machine)
    assert machine.instances == {}, "no file, no instances"
    write(path, _ONE, {**_ONE, "uuid": "u2", "running": False})
    listed.follow(machine)
    assert set(machine.instances) == {"u1"} and set(machine.shut_off) == {"u2"}
    spec = machine.instances["u1"].spec
    assert (spec.name, spec.project, spec.flavor, spec.vcpus, spec.iothreads) == ("a", "p", "gold", 2, 0)
    pid = machine.instances["u1"].pid
    write(path, {**_ONE, "running": False}, {**_ONE, "uuid": "u2"})
    listed.follow(machine)
    assert set(machine.instances) == {"u2"} and set(machine.shut_off) == {"u1"}
    write(path, {**_ONE, "vcpus": 4})
    listed.follow(machine)
    assert set(machine.instances) == {"u1"} and machine.instances["u1"].spec.vcpus == 4 and not machine.shut_off
    assert machine.instances["u1"].pid != pid, "a resized one is another process"
    path.unlink()
    listed.follow(machine)
    assert not machine.instances and not machine.shut_off
    machine.advance(1.0)


def test_a_file_that_stays_is_not_read_again(tmp_path: Path, machine: Machine) -> None:
    path = tmp_path / "fake1.json"
    write(path, _ONE)
    listed = ListedInstances(path)
    listed.follow(machine)
    started = machine.instances["u1"]
    listed.follow(machine)
    write(path, _ONE)
    listed.follow(machine)
    assert machine.instances["u1"] is started


@pytest.mark.parametrize(
    "text", ["", "[]", '{"instances": 1}', '{"instances": [{}]}', json.dumps({"instances": [{**_ONE, "vcpus": 0}]})]
)
def test_what_is_no_list_changes_nothing(
    text: str, tmp_path: Path, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError):
        read(text)
    path = tmp_path / "fake1.json"
    write(path, _ONE)
    listed = ListedInstances(path)
    listed.follow(machine)
    path.write_text(text)
    listed.follow(machine)
    listed.follow(machine)
    assert set(machine.instances) == {"u1"} and len(caplog.records) == 1
