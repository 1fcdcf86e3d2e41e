"""Following the declarative file: at once where it can be, never twice over, and nobody loses what is still asked for."""

import os
from pathlib import Path

import pytest

from stella.model.slo import Slo, parse_slo
from stella.xgos.intents.declared import RETRY_SECONDS, Declared, assign
from stella.xgos.intents.slo_file import SloFile
from stella.xgos.intents.store import FILE, MANUAL, IntentStore
from stella.xgos.local_api.agent_api import Refused

SLO = parse_slo({"cpu": {"floor": 0.5}})
OTHER = parse_slo({"cpu": {"floor": 0.25}})


class Host:
    """A file, intents, and an admission that can be told to refuse."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "slos.yaml"
        self.intents = IntentStore(directory / "intents.json")
        self.refuse = False
        self.asked: list[str] = []
        self.now = 0.0
        self.declared = Declared(SloFile(self.path), self.intents, self.declare)

    def declare(self, uuid: str, slo: Slo, key: str) -> None:
        self.asked.append(uuid)
        if self.refuse:
            raise Refused("cpu.floor", "does not fit")
        self.intents.set(uuid, slo, reserved_cpu_cores=0.5, estimated=True, source=FILE, declared_as=key)

    def write(self, **slos: str) -> None:
        text = "instances:\n" + "".join(f"  {name}: {{cpu: {{floor: {floor}}}}}\n" for name, floor in slos.items())
        self.path.write_text(text if slos else "")
        os.utime(self.path, ns=(0, len(text) + int(self.now * 1e9)))

    def follow(self, seconds: float = 0.25, **running: str) -> None:
        self.now += seconds
        self.declared.follow(running, self.now)

    def kept(self) -> dict[str, str | None]:
        return {uuid: self.intents.source(uuid) for uuid in self.intents.intents}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_uuid_goes_before_a_name_and_a_name_of_two_is_given_to_none() -> None:
    slos = {"u1": SLO, "web": SLO, "db": OTHER, "": SLO}
    assert assign(slos, {"u1": "db", "u2": "web", "u3": "", "u4": "idle"}) == ({"u1": "u1", "u2": "web"}, frozenset())
    assert assign(slos, {"u1": "web", "u2": "web"}) == ({"u1": "u1"}, frozenset({"web"}))
    assert assign(slos, {"u2": "db", "u3": "db"}) == ({}, frozenset({"db"}))
    assert assign({"u1": SLO}, {"u2": "u1", "u1": "x"}) == ({"u1": "u1"}, frozenset())


def test_what_the_file_names_is_kept_and_what_it_drops_is_taken_back(host: Host) -> None:
    host.intents.set("u3", SLO, reserved_cpu_cores=0.5, estimated=True)
    host.write(vm1="0.5", vm2="0.5")
    host.follow(u1="vm1", u2="vm2", u3="vm3")
    assert host.kept() == {"u1": FILE, "u2": FILE, "u3": MANUAL}
    host.write(vm2="0.25", vm3="0.5")
    host.follow(u1="vm1", u2="vm2", u3="vm3")
    assert host.kept() == {"u2": FILE, "u3": FILE} and host.intents.slo("u2") == OTHER
    host.write()
    host.follow(u1="vm1", u2="vm2", u3="vm3")
    assert host.kept() == {}


def test_an_instance_that_does_not_run_keeps_what_the_file_still_asks(host: Host) -> None:
    host.write(vm1="0.5", vm2="0.5")
    host.follow(u1="vm1", u2="vm2")
    assert host.intents.save()
    again = Host(host.path.parent)  # a restart, and the hypervisor does not answer yet
    again.now = 9.0
    again.write(vm1="0.25", vm3="0.5")
    again.follow()
    assert again.kept() == {"u1": FILE} and again.intents.slo("u1") == SLO
    again.follow(u1="vm1")
    assert again.intents.slo("u1") == OTHER


def test_what_an_older_release_kept_learns_its_name(host: Host) -> None:
    host.intents.set("u1", SLO, reserved_cpu_cores=0.5, estimated=True, source=FILE)
    host.write(vm1="0.5")
    host.follow(u1="vm1")
    assert host.intents.declared_as("u1") == "vm1" and host.intents.intents["u1"].generation == 1 and not host.asked


def test_a_refusal_is_told_once_and_tried_again_now_and_then(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.refuse = True
    host.write(vm1="0.5")
    for _ in range(int(3 * RETRY_SECONDS / 0.25)):
        host.follow(u1="vm1")
    assert len(host.asked) == 3
    assert [record.message for record in caplog.records] == ["SLO file: vm1: cpu.floor: does not fit"]
    host.write(vm1="0.25")
    host.follow(u1="vm1")
    assert len(host.asked) == 4 and len(caplog.records) == 2  # the file changed: at once, and told anew
    host.refuse = False
    host.follow(RETRY_SECONDS, u1="vm1")
    assert host.kept() == {"u1": FILE}


def test_one_that_comes_back_is_tried_at_once(host: Host) -> None:
    host.refuse = True
    host.write(vm1="0.5")
    host.follow(u1="vm1")
    host.follow()
    host.refuse = False
    host.follow(u1="vm1")
    assert host.kept() == {"u1": FILE}


def test_a_name_of_two_changes_neither(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.write(vm1="0.5")
    host.follow(u1="vm1")
    for _ in range(5):
        host.follow(u1="vm1", u2="vm1")
    host.write(vm1="0.25")
    host.follow(u1="vm1", u2="vm1")
    assert host.kept() == {"u1": FILE} and host.intents.slo("u1") == SLO and host.asked == ["u1"]
    assert [r.message.count("use uuids") for r in caplog.records] == [1, 1]  # once for each version of the file
