"""Hosts that are silent or back, and instances that are gone."""

from collections.abc import Collection
from typing import Any

import pytest
from sqlalchemy import select

from stella.clouds.port import Missing, Unanswered
from stella.clouds.standalone import NoLedger
from stella.db import gone_instances
from stella.db.models import Host
from stella.engine.duties import DUTIES, instances
from stella.engine.duty import Work, limits_of
from tests.functional.conftest import BOTH_DATABASES, NOW, Agent, Cloud, uuid
from tests.functional.engines import run_duties

pytestmark = BOTH_DATABASES

VM = uuid(1)


@pytest.fixture
def host(cloud: Cloud) -> Agent:
    made = cloud.host("host1")
    made.add(VM)
    made.add(uuid(2))
    made.report()
    for number in (1, 2):
        assert cloud.member.put_slo(uuid(number), {"cpu": {"floor": 0.2}}).status_code == 201
    made.acknowledge()
    return made


def decided(cloud: Cloud, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.admin.get("/v1/decisions", params={"kind": kind}).json["decisions"]
    return found


def reserved(cloud: Cloud) -> float:
    return float(cloud.admin.get("/v1/hosts/host1").json["reserved_cpu_cores"])


def test_a_host_is_noted_as_silent_and_as_back_once_each(cloud: Cloud, host: Agent) -> None:
    cloud.clock.now += 59
    run_duties(cloud, DUTIES)
    assert decided(cloud, "host_silent") == []
    for _ in range(3):
        cloud.clock.now += 40
        run_duties(cloud, DUTIES)
    (silent,) = decided(cloud, "host_silent")
    assert (silent["host"], silent["user_id"]) == ("host1", "system")
    with cloud.database.reader() as session:
        assert session.scalar(select(Host.silent_since)) == NOW
    assert cloud.member.get("/v1/decisions", params={"kind": "host_silent"}).json["decisions"] == []
    host.report()
    for _ in range(2):
        run_duties(cloud, DUTIES)
    (back,) = decided(cloud, "host_back")
    assert "179 s" in back["reason"]
    with cloud.database.reader() as session:
        assert session.scalar(select(Host.silent_since)) is None


def test_an_instance_that_is_gone_for_a_minute_loses_its_slo(cloud: Cloud, host: Agent) -> None:
    before, revision = reserved(cloud), host.intent().json["revision"]
    del host.instances[VM]
    host.report()
    cloud.clock.now += 59
    host.report()
    run_duties(cloud, DUTIES)
    assert cloud.member.get(f"/v1/instances/{VM}/slo").status_code == 200
    cloud.clock.now += 1
    host.report()
    run_duties(cloud, DUTIES)
    assert cloud.member.get(f"/v1/instances/{VM}/slo").status_code == 404
    assert reserved(cloud) == pytest.approx(before / 2)
    intent = host.intent().json
    assert intent["revision"] > revision and set(intent["slos"]) == {uuid(2)}
    (decision,) = decided(cloud, "instance_gone")
    assert (decision["uuid"], decision["user_id"]) == (VM, "system") and "60 s" in decision["reason"]
    history = cloud.member.get(f"/v1/instances/{VM}/slo/history").json["changes"]
    assert history[0]["user_id"] == "system" and history[0]["after"] is None
    run_duties(cloud, DUTIES)
    assert len(decided(cloud, "instance_gone")) == 1


def test_an_instance_that_is_back_in_time_keeps_its_slo(cloud: Cloud, host: Agent) -> None:
    vm = host.instances.pop(VM)
    host.report()
    cloud.clock.now += 50
    host.instances[VM] = vm
    host.report()
    cloud.clock.now += 20
    del host.instances[VM]
    host.report()
    cloud.clock.now += 50
    host.report()
    run_duties(cloud, DUTIES)
    assert cloud.member.get(f"/v1/instances/{VM}/slo").status_code == 200, "gone for 50 s"


def test_an_instance_on_a_silent_host_keeps_its_slo(cloud: Cloud, host: Agent) -> None:
    del host.instances[VM]
    host.report()
    cloud.clock.now += 3600
    run_duties(cloud, DUTIES)
    assert cloud.member.get(f"/v1/instances/{VM}/slo").status_code == 200
    assert decided(cloud, "instance_gone") == []


def test_nothing_is_withdrawn_when_the_host_changed_after_it_was_read(cloud: Cloud, host: Agent) -> None:
    """The cloud answers slowly: meanwhile the instance is back, or its host is changed."""
    vm = host.instances.pop(VM)
    host.report()
    cloud.clock.now += 100
    host.report()

    class Slow:
        def gone(self, missing: Collection[Missing]) -> frozenset[str]:
            host.instances[VM] = vm
            host.report()
            return frozenset(one.uuid for one in missing)

    work = Work(
        store=cloud.database, cloud=Slow(), ledger=NoLedger(), limits=limits_of(cloud.config), clock=cloud.clock
    )
    assert instances.run(work).changed == 0
    assert cloud.member.get(f"/v1/instances/{VM}/slo").status_code == 200


def test_a_cloud_that_does_not_answer_withdraws_nothing(cloud: Cloud, host: Agent) -> None:
    del host.instances[VM]
    host.report()
    cloud.clock.now += 100
    host.report()

    class Away:
        def gone(self, missing: Collection[Missing]) -> frozenset[str]:
            raise Unanswered("no route to host")

    work = Work(
        store=cloud.database, cloud=Away(), ledger=NoLedger(), limits=limits_of(cloud.config), clock=cloud.clock
    )
    assert instances.run(work).changed == 0 and instances.run(work).backlog == 1
    with cloud.database.reader() as session:
        assert gone_instances.find(session, gone_before=NOW + 50, reported_since=NOW, largest=9) == [(VM, "host1", NOW)]
