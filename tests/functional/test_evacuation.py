"""Dead hosts: fenced or not, by whom, and what is rebuilt where, on an emulated Nova and Placement."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stella.control.relief_view import Limits, Mode
from stella.engine.duties import failover, hosts
from stella.engine.duties.evacuation import Evacuation
from stella.engine.duty import Outcome
from stella.engine.fencing import Ended, Fencing, InvalidCommand
from tests.functional.conftest import Cloud, error
from tests.functional.moving import MovingCloud
from tests.functional.nova import EmulatedNova

NOTHING = Fencing(None, seconds=1.0)


class World(MovingCloud):
    """Host a dies with two guaranteed instances and one without SLO."""

    def __init__(self, cloud: Cloud, nova: EmulatedNova, directory: Path) -> None:
        super().__init__(cloud, nova, directory)
        self.evacuation = self.duty()
        self.low = self.instance(1, "a", floor=0.5, priority=1)
        self.high = self.instance(2, "a", floor=0.6, priority=9)
        self.plain = self.instance(3, "a")

    def duty(self, mode: Mode = Mode.ACT, fencing: Fencing = NOTHING, *, can_move: bool = True) -> Evacuation:
        mover = self.mover if can_move else None
        return Evacuation(mover, cloud=mode, limits=Limits(), margin=1.1, fencing=fencing)

    def die(self, *names: str) -> None:
        self.alive -= set(names)
        self.servers.down |= set(names)
        self.cloud.clock.now += 100.0
        self.report()

    def run(self, seconds: float = 5.0) -> Outcome:
        self.cloud.clock.now += seconds
        self.report()
        hosts.run(self.work)
        return self.evacuation.run(self.work)

    def fenced(self, name: str = "a", value: bool = True) -> Any:
        return self.cloud.admin.ask("PATCH", f"/v1/hosts/{name}", json={"fenced": value})


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Iterator[World]:
    nova = EmulatedNova()
    yield World(cloud, nova, tmp_path)
    nova.stop()


def test_not_fenced_is_a_recommendation_that_is_given_once(world: World) -> None:
    world.die("a")
    for _ in range(3):
        assert world.run().hosts == {"dead": 1, "too_many_silent": 0}
    (made,) = world.decisions("evacuation")
    assert (made["move"]["state"], made["host"], made["uuid"]) == ("suggested", "a", None)
    assert "is silent" in made["reason"] and "not fenced: 2 instances" in made["reason"]
    assert world.moves_asked() == 0, "a partitioned host may live"


def test_fenced_by_an_operator_the_highest_priority_goes_first(world: World) -> None:
    living = error(world.fenced(), 409)
    assert living["code"] == "stella.host.reports" and living["field"] == "fenced"
    world.die("a")
    assert world.fenced().json["fenced_at"] is not None
    world.run()
    made = world.decisions("evacuation")
    assert [one["uuid"] for one in made] == [world.high, world.low], "none without SLO"
    assert {one["move"]["state"] for one in made} == {"moving"} and world.moves_asked() == 2
    goes = {one["uuid"]: one["move"]["to"] for one in made}
    assert world.own(world.high, goes[world.high]) > 600
    world.run()
    assert world.moves_asked() == 2
    for one in (world.high, world.low):
        world.servers.finish(one)
    world.run()
    world.run()
    assert {world.where(one) for one in (world.high, world.low)} <= {"b", "c"}
    assert [one["move"]["state"] for one in world.decisions("evacuation")] == ["done", "done"]
    kinds = [one["kind"] for one in world.decisions("host_fenced")]
    assert kinds == ["host_fenced"]
    world.alive.add("a")
    world.cloud.clock.now += 5.0
    world.report()
    assert world.host("a")["fenced_at"] is None, "it reports: nothing is certain of it any more"


def test_nothing_while_the_cloud_calls_it_up_or_another_service_acts(world: World) -> None:
    world.die("a")
    world.servers.down.clear()
    world.fenced()
    world.run()
    assert "does not call it down yet" in world.decisions("evacuation")[0]["reason"] and world.moves_asked() == 0
    world.servers.down.add("a")
    world.servers.set(world.high, task_state="rebuilding")
    world.servers.set(world.low, host="b")
    world.run()
    assert world.moves_asked() == 0, "Masakari was quicker"


def test_many_that_look_dead_at_once(world: World) -> None:
    world.die("a", "b")
    world.fenced()
    assert world.run().hosts == {"dead": 1, "too_many_silent": 2}
    (made,) = world.decisions("evacuation")
    assert (made["move"]["state"], world.moves_asked()) == ("refused", 0)
    assert made["reason"] == "2 of 3 hosts are silent at once: nothing is evacuated"


def test_suggest_and_stand_alone_name_each_instance_and_its_place(world: World) -> None:
    world.die("a")
    world.fenced()
    for duty in (world.duty(Mode.SUGGEST), world.duty(Mode.ACT, can_move=False), world.duty(Mode.OFF)):
        world.evacuation = duty
        world.run()
    made = world.decisions("evacuation")
    assert [(one["uuid"], one["move"]["state"]) for one in made] == [
        (world.high, "suggested"),
        (world.low, "suggested"),
    ]
    assert {one["move"]["to"] for one in made} <= {"b", "c"} and world.moves_asked() == 0


def test_two_never_take_the_same_room(world: World) -> None:
    for name in ("b", "c"):
        world.instance(10 + ord(name), name, floor=0.8)
    world.die("a")
    world.fenced()
    world.run()
    goes = [one["move"]["to"] for one in world.decisions("evacuation")]
    assert sorted(goes) == ["b", "c"]


def command(text: str) -> str:
    return f"{sys.executable} -c '{text}' {{host}}"


def wait(fencing: Fencing) -> Ended:
    until = time.monotonic() + 20.0
    while time.monotonic() < until:
        ended = fencing.poll()
        if ended:
            return ended[0]
        time.sleep(0.01)
    pytest.fail("the command did not end")


def test_the_fencing_command_fences(world: World) -> None:
    fencing = Fencing(command("import sys; print(sys.argv[1])"), seconds=20.0)
    world.evacuation = world.duty(fencing=fencing)
    world.die("a")
    world.run()
    until = time.monotonic() + 20.0
    while not world.decisions("host_fenced") and time.monotonic() < until:
        time.sleep(0.05)
        world.run(0.1)
    (made,) = world.decisions("host_fenced")
    assert (made["host"], made["reason"]) == ("a", "the fencing command succeeded: a")
    world.run()
    assert [one["uuid"] for one in world.decisions("evacuation", state="moving")] == [world.high, world.low]


def test_a_fencing_command_that_fails_or_hangs_fences_nothing() -> None:
    now = [0.0]
    fails = Fencing(command('import sys; sys.exit("no power switch")'), seconds=20.0, monotonic=lambda: now[0])
    assert fails.start("a") is None
    assert wait(fails) == Ended(host="a", succeeded=False, text="no power switch")
    assert fails.start("a") is None and fails.poll() == [], "not again at once"
    now[0] = 30.0
    fails.start("a")
    assert not wait(fails).succeeded
    hangs = Fencing(command("import time; time.sleep(60)"), seconds=0.2)
    hangs.start("a")
    assert wait(hangs) == Ended(host="a", succeeded=False, text="took longer than 0.2 s")
    missing = Fencing("/no/such/command {host}", seconds=1.0).start("a")
    assert missing is not None and missing.text == "/no/such/command: No such file or directory"
    for wrong, message in (("fence", "does not name {host}"), ("fence '{host}", "No closing quotation")):
        with pytest.raises(InvalidCommand, match=r"\[relief\] fencing_command.*" + message):
            Fencing(wrong, seconds=1.0)


def test_one_whose_class_survives_the_loss_of_a_host_goes_to_the_place_that_was_kept(world: World) -> None:
    admin, duty = world.cloud.admin, failover.duty(world.cloud.config)
    body = {"name": "gold", "terms": {"attainment_target_ratio": "0.999"}, "failover": True}
    sla = admin.ask("POST", "/v1/slas", json=body).json["uuid"]
    admin.ask("POST", f"/v1/slas/{sla}/attachments", json={"scope": "instance", "target": world.low})
    duty.run(world.work)
    keeper = admin.get(f"/v1/instances/{world.low}/slo").json["failover"]["host"]
    (other,) = {"b", "c"} - {keeper}
    for number, host in ((4, keeper), (5, other), (6, other)):
        world.instance(number, host, floor=0.5)
    world.die("a")
    world.fenced()
    world.run()
    found = {one["uuid"]: one["move"] for one in world.decisions("evacuation")}
    assert (found[world.low]["state"], found[world.low]["to"]) == ("moving", keeper)
    assert found[world.high]["state"] == "refused", "its priority is higher, and no place was kept for it"
    world.servers.finish(world.low)
    world.run()
    assert world.where(world.low) == keeper
    duty.run(world.work)
    assert world.host(keeper)["failover_cpu_cores"] == 0.0, "it has arrived"
