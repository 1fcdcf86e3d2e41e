"""A host is drained: the mode maintenance moves nothing, takes nothing new, and is excluded from SLAs by rule, to the minute."""

from typing import Any

import pytest

from stella.api import times
from stella.api.maintenance import REASON
from tests.functional.conftest import BOTH_DATABASES, Agent, Cloud, error
from tests.functional.test_candidates import candidates
from tests.functional.test_sla import OTHER, SEOUL, VM, agent, attach, gold, minute, report, send

__all__ = ["agent"]
pytestmark = [BOTH_DATABASES, pytest.mark.timeout(120)]
_FIRST = SEOUL.start + 86_400


def _set_mode(cloud: Cloud, mode: str, at: float) -> None:
    cloud.clock.now = at
    answer = cloud.admin.ask("PATCH", "/v1/hosts/host1", json={"mode": mode})
    assert answer.status_code == 200, answer.text


def _exclusions(cloud: Cloud) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.admin.get("/v1/exclusions").json["exclusions"]
    return found


def test_what_it_counts_meanwhile_is_excluded_to_the_whole_minute(cloud: Cloud, agent: Agent) -> None:
    """Five minutes, each with 30 s violated; maintenance from 0:30 of the first to 3:30: minutes 1 and 2 do not count."""
    sla = gold(cloud)
    attach(cloud, sla)
    _set_mode(cloud, "maintenance", _FIRST + 30)
    send(cloud, agent, [minute(_FIRST + 60 * n, met=30, violated=30) for n in range(3)])
    _set_mode(cloud, "enforce", _FIRST + 3 * 60 + 30)
    send(cloud, agent, [minute(_FIRST + 60 * n, met=30, violated=30) for n in range(3, 5)])
    (made,) = _exclusions(cloud)
    assert (made["kind"], made["scope"], made["target"], made["reason"]) == ("maintenance", "host", "host1", REASON)
    assert (made["start"], made["until"]) == (times.show(_FIRST + 60), times.show(_FIRST + 180))
    assert (made["author"], made["withdrawn_at"]) == ("admin", None)
    (found,) = [one for one in report(cloud.member, sla, period="2026-11")["results"] if one["uuid"] == VM]
    (cpu,) = found["objectives"]
    assert (cpu["met_seconds"], cpu["missed_seconds"]) == (90, 90), "three of five minutes count"
    told = report(cloud.member, sla, period="2026-11")["exclusions"]
    assert [one["reason"] for one in told] == [REASON], "the tenant sees it"


def test_it_counts_while_it_lasts_and_in_a_month_that_ends_meanwhile(cloud: Cloud, agent: Agent) -> None:
    sla = gold(cloud)
    attach(cloud, sla)
    _set_mode(cloud, "maintenance", _FIRST)
    send(cloud, agent, [minute(_FIRST + 60 * n, violated=60) for n in range(3)])
    assert report(cloud.member, sla, period="2026-11")["results"][0]["attainment_ratio"] is None
    (lasting,) = _exclusions(cloud)
    assert lasting["until"] == times.show(_FIRST + 31 * 86_400), "it ends with the mode, or after 31 days"


def test_less_than_a_minute_excludes_nothing(cloud: Cloud, agent: Agent) -> None:
    _set_mode(cloud, "maintenance", _FIRST + 10)
    _set_mode(cloud, "enforce", _FIRST + 50)
    (made,) = _exclusions(cloud)
    assert made["withdrawn_by"] == "admin" and "whole minute" in made["withdrawn_reason"]
    _set_mode(cloud, "observe", _FIRST + 70)
    assert len(_exclusions(cloud)) == 1, "another mode excludes nothing"


def test_nothing_is_moved_and_nothing_new_is_taken(cloud: Cloud, agent: Agent) -> None:
    other = cloud.host("host2")
    other.report()
    slo = cloud.member.put_slo(VM, {"cpu": {"floor": 0.2}})
    assert slo.status_code == 201 and agent.acknowledge().status_code == 200
    before = agent.intent().json["slos"]
    _set_mode(cloud, "maintenance", cloud.clock.now + 1)
    assert agent.report().status_code == 200
    intent = agent.intent().json
    assert (intent["mode"], intent["slos"]) == ("maintenance", before), "what is in force stays so"
    shown = cloud.admin.get(f"/v1/instances/{VM}").json
    assert shown["host"] == "host1" and shown["slo"]["state"] == "enforced"
    assert other.intent().json["slos"] == {}
    refused = error(cloud.member.put_slo(OTHER, {"cpu": {"floor": 0.1}}), 409)
    assert "maintenance" in refused["detail"]
    kinds = [one["kind"] for one in cloud.admin.get("/v1/decisions").json["decisions"]]
    assert set(kinds) == {"slo_accepted", "host_mode", "sla"}, "no decision to move anything"
    fits = {name: one["fits"] for name, one in candidates(cloud, objectives={"cpu": {"floor": 0.1}}).items()}
    assert fits == {"host1": False, "host2": True}, "nor is anything sent there"
