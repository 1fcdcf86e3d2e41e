"""Violations: merged, closed, and never opened again by what comes late."""

from typing import Any

import pytest

from stella.api import times
from stella.engine.duties import DUTIES
from tests.functional.conftest import BOTH_DATABASES, NOW, Agent, Cloud, uuid
from tests.functional.engines import run_duties

pytestmark = BOTH_DATABASES

VM, OTHER = uuid(1), uuid(2)
MINUTE = int(NOW) // 60 * 60


@pytest.fixture
def host(cloud: Cloud) -> Agent:
    made = cloud.host("host1")
    made.add(VM)
    made.add(OTHER)
    made.report()
    return made


def violation(name: str, opened: float, closed: float | None = None, **more: Any) -> dict[str, Any]:
    missed = more.pop("missed", None)
    evidence = {} if missed is None else {"missed_seconds": missed}
    return {
        "id": name,
        "uuid": VM,
        "metric": "cpu",
        "opened_at": NOW + opened,
        "closed_at": None if closed is None else NOW + closed,
        "cause": "cpu",
        "evidence": evidence,
        **more,
    }


def listed(cloud: Cloud, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.admin.get("/v1/violations", params=query).json["violations"]
    return found


def span(shown: dict[str, Any]) -> tuple[str, str | None]:
    return shown["opened_at"][11:19], shown["closed_at"] and shown["closed_at"][11:19]


def test_episodes_less_than_five_seconds_apart_are_one(cloud: Cloud, host: Agent) -> None:
    host.report(
        violations=[
            violation("c", -40, -36, missed=4, cause="block"),
            violation("a", -60, -50, missed=10),
            violation("b", -46, -43, missed=3, cause="block"),
            violation("other", -20, -10, missed=9),
            violation("foreign", -48, -44, uuid=OTHER),
        ]
    )
    assert len(listed(cloud)) == 5
    run_duties(cloud, DUTIES)
    found = {(one["uuid"], one["opened_at"]): one for one in listed(cloud)}
    assert len(found) == 3
    whole = found[VM, times.show(NOW - 60)]
    assert (whole["closed_at"], whole["cause"]) == (times.show(NOW - 36), "cpu")
    run_duties(cloud, DUTIES)
    assert len(listed(cloud)) == 3
    late = violation("between", -35, -22, missed=10)
    host.report(violations=[late])
    run_duties(cloud, DUTIES)
    (mine,) = [one for one in listed(cloud) if one["uuid"] == VM]
    assert mine["id"] == whole["id"] and mine["cause"] == "cpu", "29 of 36 missed seconds"
    newest = listed(cloud, limit="1")[0]["id"]
    assert newest not in [one["id"] for one in listed(cloud, marker=str(newest))]


def test_a_merged_episode_is_open_while_a_part_is(cloud: Cloud, host: Agent) -> None:
    host.report(violations=[violation("a", -60, -50), violation("b", -47, missed=3)])
    run_duties(cloud, DUTIES)
    (shown,) = listed(cloud, open="true")
    assert shown["closed_at"] is None
    host.report(violations=[violation("b", -47, -44, missed=3)])
    assert listed(cloud, open="true") == [] and len(listed(cloud)) == 1
    host.report(violations=[violation("a", -60, -58)])
    assert len(listed(cloud)) == 1, "the host said before that it lasted longer"


def test_what_lasts_less_than_two_seconds_is_not_shown(cloud: Cloud, host: Agent) -> None:
    host.report(violations=[violation("a", -60, -58.5), violation("b", -40, -38)])
    assert len(listed(cloud)) == 1


def test_it_closes_when_the_instance_is_gone(cloud: Cloud, host: Agent) -> None:
    host.report(violations=[violation("a", -9, missed=9)])
    del host.instances[VM]
    cloud.clock.now += 7
    host.report()
    run_duties(cloud, DUTIES)
    (shown,) = listed(cloud)
    assert shown["closed_at"] is not None
    host.report(violations=[violation("a", -9, missed=8)])
    assert listed(cloud, open="true") == [], "a late duplicate opens nothing"


def test_it_closes_when_the_objective_is_withdrawn(cloud: Cloud, host: Agent) -> None:
    assert cloud.member.put_slo(VM, {"cpu": {"floor": 0.2}}).status_code == 201
    host.acknowledge()
    host.report(violations=[violation("a", -9, missed=9)])
    run_duties(cloud, DUTIES)
    assert len(listed(cloud, open="true")) == 1
    cloud.clock.now += 5
    assert cloud.member.ask("DELETE", f"/v1/instances/{VM}/slo?generation=1").status_code == 204
    run_duties(cloud, DUTIES)
    (shown,) = listed(cloud)
    assert shown["closed_at"] is not None
    host.report(violations=[violation("b", 200, missed=3)])
    run_duties(cloud, DUTIES)
    assert len(listed(cloud, open="true")) == 1, "a later one is of an SLO of the host's own"


def test_it_closes_at_the_last_report_of_a_host_that_is_silent_for_long(cloud: Cloud, host: Agent) -> None:
    host.report(violations=[violation("a", -9, missed=9)])
    cloud.clock.now += 100
    run_duties(cloud, DUTIES)
    assert len(listed(cloud, open="true")) == 1, "silent, but not for long"
    cloud.clock.now += 300
    run_duties(cloud, DUTIES)
    (shown,) = listed(cloud)
    assert span(shown)[1] == cloud.admin.get("/v1/hosts/host1").json["reported_at"][11:19]
    host.report(violations=[violation("a", -9, missed=9)])
    assert listed(cloud, open="true") == [], "a duplicate is no news"
    host.report(violations=[violation("a", -9, missed=300)])
    run_duties(cloud, DUTIES)
    assert len(listed(cloud, open="true")) == 1, "it went on while the host was cut off"
    host.report(violations=[violation("a", -9, 391, missed=400)])
    run_duties(cloud, DUTIES)
    (shown,) = listed(cloud)
    assert shown["closed_at"] is not None


def test_it_closes_when_its_agent_lost_its_state(cloud: Cloud, host: Agent) -> None:
    host.report(violations=[violation("a", -600, missed=30)])
    good = {"uuid": VM, "metric": "cpu", "start": MINUTE - 480, "counts": {"met": 60}}
    host.epoch, host.sequence = "epoch-2", 0
    host.report(minutes=[{**good, "start": MINUTE - 540, "counts": {"met": 59, "violated": 1}}])
    run_duties(cloud, DUTIES)
    assert len(listed(cloud, open="true")) == 1
    host.report(minutes=[good])
    run_duties(cloud, DUTIES)
    (shown,) = listed(cloud)
    assert shown["closed_at"] is not None
    host.report(violations=[violation("b", -300, missed=3), violation("c", -200, missed=4)])
    run_duties(cloud, DUTIES)
    assert len(listed(cloud, open="true")) == 1
