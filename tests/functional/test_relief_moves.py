"""Relief from the violation to the measured effect, on an emulated Nova and Placement, with the API's own reports and admission."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stella.control.relief_view import Limits, Mode
from stella.db import moves
from stella.engine.duties import retention
from stella.engine.duties.relief import Relief
from stella.engine.duty import Outcome
from stella.model.resources import CPU_MILLICORES
from tests.functional.conftest import Cloud, error
from tests.functional.engines import run_duties
from tests.functional.moving import MovingCloud
from tests.functional.nova import EmulatedNova


class World(MovingCloud):
    """``victim`` on host a misses its floor for the sake of ``hog``, which has no SLO."""

    def __init__(self, cloud: Cloud, nova: EmulatedNova, directory: Path) -> None:
        super().__init__(cloud, nova, directory)
        self.relief = self.duty(Mode.ACT)
        self.victim = self.instance(1, "a", floor=0.8, used=0.4, priority=5)
        self.hog = self.instance(2, "a", used=1.2)
        self.violate(self.victim, "a", 20.0, offender=self.hog)

    def duty(self, mode: Mode, *, can_move: bool = True, **limits: Any) -> Relief:
        return Relief(self.mover if can_move else None, cloud=mode, limits=Limits(**limits), margin=1.1)

    def run(self, seconds: float = 0.0) -> Outcome:
        self.cloud.clock.now += seconds
        self.report()
        return self.relief.run(self.work)

    def guaranteed_mover(self) -> None:
        """Only an instance with an SLO of lower priority can go; the hog may not."""
        self.lesser = self.instance(3, "a", floor=0.5, used=0.5, priority=1)
        answer = self.cloud.member.ask("PATCH", f"/v1/instances/{self.hog}", json={"relief_opt_out": True})
        assert answer.status_code == 200 and answer.json["relief_opt_out"] is True
        self.violate(self.victim, "a", 20.0)


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Iterator[World]:
    nova = EmulatedNova()
    yield World(cloud, nova, tmp_path)
    nova.stop()


@pytest.mark.parametrize("cloud", ["sqlite", "mariadb"], indirect=True)
def test_an_instance_with_an_slo_is_reserved_moved_and_measured(world: World) -> None:
    world.guaranteed_mover()
    before = world.cloud.clock.now
    world.minutes(world.victim, "a", start=before - 360, count=6, violated=30)
    world.run()
    (made,) = world.decisions("relief")
    move = made["move"]
    assert (made["uuid"], made["host"], move["state"], move["from"]) == (world.lesser, "a", "moving", "a")
    assert move["to"] == "b" and move["victims"] == [world.victim] and move["measured_effect_seconds_per_hour"] is None
    assert 0.5 < move["freed_cpu_cores"] < 0.6 and move["predicted_effect_seconds_per_hour"] == 600.0
    held = world.own(world.lesser, "b")
    assert held == CPU_MILLICORES.amount(move["freed_cpu_cores"]), "the whole SLO: no flavor sells a part of it"
    assert world.host("b")["reserved_cpu_cores"] == pytest.approx(move["freed_cpu_cores"])
    beside = world.instance(4, "b", floor=0.7)
    third = world.instance(5, "b")
    refused = error(world.cloud.member.put_slo(third, {"cpu": {"floor": 0.5}}), 422)
    assert "cores left to guarantee" in refused["detail"], "what is on its way is counted"
    reserved = world.host("b")["reserved_cpu_cores"]
    for _ in range(2):
        world.allocations.run(world.work)
        world.cloud.clock.now += 60.0
        world.report()
    assert world.own(world.lesser, "b") == held, "the duty `ledger` knows of it"
    assert world.run(5.0).changed == 0 and world.moves_asked() == 1
    world.servers.finish(world.lesser)
    world.run(5.0)
    world.run(1.0)
    (made,) = world.decisions("relief", state="done")
    assert world.where(world.lesser) == "b" and world.host("b")["reserved_cpu_cores"] == pytest.approx(reserved)
    assert world.own(world.lesser, "b") == held and world.own(beside, "b") > 700
    world.cloud.clock.now += 480.0
    world.minutes(world.victim, "a", start=world.cloud.clock.now - 480, count=8, violated=5)
    world.run()
    move = world.cloud.admin.get(f"/v1/decisions/{made['id']}").json["move"]
    assert (move["measured_effect_seconds_per_hour"], move["helped"]) == (1500.0, True)


def test_a_failed_move_lets_go_waits_and_is_told(world: World) -> None:
    world.guaranteed_mover()
    world.run()
    assert world.own(world.lesser, "b") > 0
    world.servers.finish(world.lesser, status="error")
    world.run(5.0)
    (made,) = world.decisions("relief", state="failed")
    assert made["move"]["reason"] == "the cloud calls the live-migration error"
    assert world.own(world.lesser, "b") == 0 and world.host("b")["reserved_cpu_cores"] == 0.0
    world.violate(world.victim, "a", 30.0)
    world.run(5.0)
    (refused,) = world.decisions("relief", state="refused")
    assert "waits 60 s after a move that failed" in refused["reason"] and refused["uuid"] is None
    assert world.moves_asked() == 1
    world.cloud.clock.now += 60.0
    world.violate(world.victim, "a", 30.0)
    world.run()
    assert world.decisions("relief")[-1]["uuid"] == world.victim, "the other one moved less than 10 minutes ago"


def test_what_the_cloud_refuses_has_failed_at_once(world: World) -> None:
    world.servers.refuses = "Instance is locked"
    world.run()
    (made,) = world.decisions("relief")
    assert (made["uuid"], made["move"]["state"]) == (world.hog, "failed")
    assert made["move"]["reason"] == "the cloud refuses: Instance is locked"


def test_without_room_in_placement_nothing_moves(world: World) -> None:
    world.guaranteed_mover()
    for name in ("b", "c"):
        world.placement.totals[world.children[name]] = {}
    world.run()
    assert world.decisions("relief") == [] and world.moves_asked() == 0
    assert world.host("b")["reserved_cpu_cores"] == 0.0


def test_an_engine_that_died_after_it_asked_does_not_ask_twice(world: World) -> None:
    world.nova.answers[f"/servers/{world.hog}"] = (503, {})
    world.run()
    world.servers.set(world.hog, task_state=None)
    (made,) = world.decisions("relief")
    assert made["move"]["state"] == "moving" and world.moves_asked() == 1
    fresh = world.duty(Mode.ACT)
    del world.nova.answers[f"/servers/{world.hog}"]
    fresh.run(world.work)
    assert world.moves_asked() == 1, "Nova has the migration"


def test_suggest_records_once_and_moves_nothing(world: World) -> None:
    world.relief = world.duty(Mode.SUGGEST)
    for _ in range(3):
        world.run(5.0)
    (made,) = world.decisions("relief")
    assert (made["move"]["state"], made["uuid"], made["move"]["to"]) == ("suggested", world.hog, "b")
    assert world.moves_asked() == 0 and world.host("b")["reserved_cpu_cores"] == 0.0
    world.relief = world.duty(Mode.ACT, can_move=False)
    world.run(5.0)
    assert len(world.decisions("relief")) == 1, "stand-alone, act is suggest"


def test_a_suggestion_that_an_operator_followed_is_measured(world: World) -> None:
    world.relief = world.duty(Mode.SUGGEST)
    world.minutes(world.victim, "a", start=world.cloud.clock.now - 360, count=6, violated=30)
    world.run()
    (made,) = world.decisions("relief")
    assert made["move"]["state"] == "suggested" and made["why"][0]["code"] == "other_floor_missed"
    world.servers.set(world.hog, host="b")
    world.run(5.0)  # its report comes first
    (taken,) = world.decisions("relief", state="done")
    assert taken["id"] == made["id"] and taken["move"]["measured_effect_seconds_per_hour"] is None
    world.cloud.clock.now += 480.0
    world.minutes(world.victim, "a", start=world.cloud.clock.now - 480, count=8, violated=5)
    world.run()
    move = world.cloud.admin.get(f"/v1/decisions/{made['id']}").json["move"]
    assert (move["measured_effect_seconds_per_hour"], move["helped"]) == (1500.0, True)
    assert world.moves_asked() == 0, "Stella asked Nova for none"


def test_an_old_suggestion_is_not_taken_for_followed(world: World) -> None:
    world.relief = world.duty(Mode.SUGGEST)
    world.run()
    world.servers.set(world.hog, host="b")
    world.run(3700.0)
    assert world.decisions("relief", state="done") == []


def test_the_mode_of_a_host_goes_before_that_of_the_cloud_but_for_off(world: World) -> None:
    def mode(value: str | None) -> None:
        answer = world.cloud.admin.ask("PATCH", "/v1/hosts/a", json={"relief_mode": value})
        assert answer.status_code == 200 and answer.json["relief_mode"] == value

    mode("off")
    world.run()
    assert world.decisions("relief") == []
    mode("act")
    world.relief = world.duty(Mode.OFF)
    world.run()
    assert world.decisions("relief") == []
    world.relief = world.duty(Mode.SUGGEST)
    world.run()
    assert world.decisions("relief")[0]["move"]["state"] == "moving"
    mode(None)


def test_nothing_goes_into_maintenance_and_what_does_not_help_stops(world: World) -> None:
    for name in ("b", "c"):
        world.cloud.admin.ask("PATCH", f"/v1/hosts/{name}", json={"mode": "maintenance"})
    world.run()
    assert "no other host can take" in world.decisions("relief")[0]["reason"]
    world.cloud.admin.ask("PATCH", "/v1/hosts/b", json={"mode": "enforce"})
    world.relief = world.duty(Mode.ACT, stop_after=1)
    world.minutes(world.victim, "a", start=world.cloud.clock.now - 360, count=6, violated=60)
    world.run(5.0)
    world.servers.finish(world.hog)
    world.run(5.0)
    world.cloud.clock.now += 480.0
    world.minutes(world.victim, "a", start=world.cloud.clock.now - 480, count=8, violated=60)
    world.violate(world.victim, "a", 600.0)
    assert world.run().hosts == {"relief_stopped": 1}
    (stopped,) = world.decisions("relief", state="stopped")
    assert stopped["reason"] == "the last 1 moves from a did not help"
    assert world.decisions("relief", state="done")[0]["move"]["helped"] is False


def test_who_may_see_and_change(world: World) -> None:
    world.run()
    (made,) = world.decisions("relief")
    path = f"/v1/decisions/{made['id']}"
    told = world.cloud.reader.get(path).json
    assert told["uuid"] == world.hog and told["reason"] == "the instance is to move to another host"
    assert (told["host"], told["move"]["to"], told["move"]["victims"]) == (None, None, [])
    assert world.victim not in str(told) and told["move"]["predicted_effect_seconds_per_hour"] is None
    error(world.cloud.stranger.get(path), 404)
    error(world.cloud.admin.get("/v1/decisions/999999"), 404)
    host_row = world.cloud.admin.get("/v1/decisions", params={"kind": "host_silent"})
    assert host_row.status_code == 200
    one = f"/v1/instances/{world.hog}"
    error(world.cloud.reader.ask("PATCH", one, json={"relief_opt_out": True}), 403)
    error(world.cloud.stranger.ask("PATCH", one, json={"relief_opt_out": True}), 404)
    wrong = error(world.cloud.member.ask("PATCH", one, json={"relief_opt_out": 1}), 400)
    assert "relief_opt_out" in wrong["detail"]
    error(world.cloud.member.ask("PATCH", "/v1/hosts/a", json={"relief_mode": "act"}), 403)
    wrong = error(world.cloud.admin.ask("PATCH", "/v1/hosts/a", json={"relief_mode": "maybe"}), 400)
    assert "relief_mode" in wrong["detail"]


def test_old_moves_go_with_their_decisions(world: World) -> None:
    world.run()
    world.cloud.clock.now += 401 * 86_400.0
    run_duties(world.cloud, [retention.DUTY])
    assert world.decisions("relief") == []
    with world.cloud.database.reader() as session:
        assert moves.past(session, since=0.0) == []
