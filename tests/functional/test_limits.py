"""What limits instances from outside Stella: read from an emulated Nova, Neutron and Cinder, kept, shown, and held against floors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stella import conf
from stella.clouds.openstack import limits as reads
from stella.clouds.openstack import servers
from stella.clouds.openstack.session import OpenStack
from stella.clouds.port import Unanswered
from stella.clouds.standalone import NoLedger, Standalone
from stella.db import limits as kept
from stella.db.models import Instance
from stella.engine.duties.limits import ExistingLimits, duties
from stella.engine.duty import Work, limits_of
from tests.functional.conftest import Cloud, error, uuid
from tests.functional.emulated_openstack import EmulatedOpenStack, Services

_EGRESS = {"type": "bandwidth_limit", "max_kbps": 8000, "direction": "egress"}


@pytest.fixture
def emulated() -> Iterator[EmulatedOpenStack]:
    made = EmulatedOpenStack()
    yield made
    made.stop()


@pytest.fixture
def services(emulated: EmulatedOpenStack) -> Services:
    return emulated.services


@pytest.fixture
def openstack(emulated: EmulatedOpenStack, tmp_path: Path) -> OpenStack:
    path = tmp_path / "openstack.conf"
    path.write_text(f"[database]\nconnection = sqlite://\n{emulated.section}")
    return OpenStack(conf.load([str(path)]))


@pytest.fixture
def duty(openstack: OpenStack) -> ExistingLimits:
    return ExistingLimits(openstack)


def run(cloud: Cloud, duty: ExistingLimits) -> int:
    """One round; how many instances changed."""
    work = Work(
        store=cloud.database, cloud=Standalone(), ledger=NoLedger(), limits=limits_of(cloud.config), clock=cloud.clock
    )
    changed = 0
    for _ in range(50):
        outcome = duty.run(work)
        changed += outcome.changed
        if not outcome.more:
            return changed
    pytest.fail("it has always more to do")


def known(cloud: Cloud, *numbers: int, cpus: int = 8) -> None:
    host = cloud.host("host1", cpus=cpus)
    for number in numbers:
        host.add(uuid(number))
    assert host.report().status_code == 200


def limits(cloud: Cloud, number: int) -> dict[str, Any]:
    """The limits that the API shows, by name and device."""
    shown = cloud.reader.get(f"/v1/instances/{uuid(number)}").json["limits"]
    return {" ".join(filter(None, (one["name"], one["device"]))): one for one in shown}


def test_each_source_is_read_and_kept(cloud: Cloud, services: Services, duty: ExistingLimits) -> None:
    known(cloud, 1, 2)
    services.server(
        uuid(1), vcpus=2, volumes=("v1",), **{"quota:cpu_quota": "25000", "quota:vif_inbound_average": "1000"}
    )
    services.server(uuid(2), image=False, volumes=("v1", "v2"), **{"quota:disk_total_iops_sec": "9"})
    services.server(uuid(3), **{"quota:cpu_quota": "1000"})
    services.policy("slow", _EGRESS, {"type": "minimum_bandwidth", "min_kbps": 8, "direction": "egress"})
    services.policy("other", {"type": "packet_rate_limit", "max_kpps": 1, "direction": "ingress"})
    services.port("a", uuid(1), own="slow", of_network="other")
    services.port("b", uuid(1), of_network="other")
    services.port("c", uuid(2))
    services.specs("gold", volume_type="fast", total_iops_sec_per_gb="10")
    services.specs("back", volume_type="slow", consumer="back-end", total_iops_sec="1")
    services.volume("v1", volume_type="fast", size=5)
    services.volume("v2", volume_type="slow")
    assert run(cloud, duty) == 2
    found = limits(cloud, 1)
    assert sorted(found) == [
        "bandwidth_limit port a",
        "minimum_bandwidth port a",
        "packet_rate_limit port b",
        "quota:cpu_quota",
        "quota:vif_inbound_average port a",
        "quota:vif_inbound_average port b",
        "total_iops_sec_per_gb volume v1",
    ]
    assert found["quota:cpu_quota"] == {
        "source": "flavor",
        "name": "quota:cpu_quota",
        "metric": "cpu",
        "direction": "both",
        "value": 0.5,
        "device": "",
        "devices": 1,
        "is_floor": False,
    }
    assert found["bandwidth_limit port a"]["value"] == 1e6 and found["bandwidth_limit port a"]["devices"] == 2
    assert found["minimum_bandwidth port a"]["is_floor"] is True
    assert found["total_iops_sec_per_gb volume v1"]["value"] == 50
    assert list(limits(cloud, 2)) == ["total_iops_sec_per_gb volume v1"], "a flavor's limits are of local disks alone"
    assert run(cloud, duty) == 0, "nothing is written twice"
    assert not [path for path in services.asked if len(path) > 4000]


def test_nothing_limited_asks_little(cloud: Cloud, services: Services, duty: ExistingLimits) -> None:
    known(cloud, 1)
    services.server(uuid(1), volumes=("v1",))
    services.port("a", uuid(1))
    services.volume("v1", volume_type=None)
    assert run(cloud, duty) == 0 and limits(cloud, 1) == {}
    paths = [path.partition("?")[0] for path in services.asked if not path.startswith("/identity")]
    assert paths == ["/nova/servers/detail", "/neutron/v2.0/qos/policies", "/cinder/qos-specs"]


def test_services_that_the_cloud_does_not_have_limit_nothing(
    cloud: Cloud, services: Services, duty: ExistingLimits
) -> None:
    known(cloud, 1)
    services.offered = {"nova"}
    services.server(uuid(1), **{"quota:cpu_quota": "25000", "quota:vif_inbound_average": "1000"})
    assert run(cloud, duty) == 1
    assert list(limits(cloud, 1)) == ["quota:cpu_quota"]


def test_a_neutron_without_qos_limits_nothing(cloud: Cloud, services: Services, duty: ExistingLimits) -> None:
    known(cloud, 1)
    services.policies = None
    services.server(uuid(1), **{"quota:vif_inbound_average": "1000"})
    services.port("a", uuid(1))
    assert run(cloud, duty) == 1
    assert list(limits(cloud, 1)) == ["quota:vif_inbound_average port a"]


def test_what_is_not_answered_stays_as_it_was(cloud: Cloud, services: Services, duty: ExistingLimits) -> None:
    known(cloud, 1)
    services.server(uuid(1), volumes=("v1",), **{"quota:cpu_quota": "25000", "quota:vif_inbound_average": "1000"})
    services.policy("slow", _EGRESS)
    services.port("a", uuid(1), own="slow")
    services.specs("gold", volume_type="fast", total_iops_sec="10")
    services.volume("v1", volume_type="fast")
    assert run(cloud, duty) == 1
    before = limits(cloud, 1)
    assert len(before) == 4
    services.silent = {"neutron", "cinder"}
    services.ports, services.policies, services.qos_specs = [], [], []
    assert run(cloud, duty) == 0 and limits(cloud, 1) == before
    services.servers[0]["flavor"]["extra_specs"] = {"quota:cpu_quota": "10000"}
    assert run(cloud, duty) == 1
    now = limits(cloud, 1)
    assert now["quota:cpu_quota"]["value"] == 0.1 and len(now) == 3, "the flavor is told, the others are kept"
    del services.servers[0]["flavor"]
    services.silent = {"neutron"}
    assert run(cloud, duty) == 1
    assert sorted(limits(cloud, 1)) == ["bandwidth_limit port a", "quota:cpu_quota"], "a cell that is down"
    services.silent = {"nova"}
    with pytest.raises(Unanswered):
        run(cloud, duty)
    assert sorted(limits(cloud, 1)) == ["bandwidth_limit port a", "quota:cpu_quota"]
    services.silent = set()
    assert run(cloud, duty) == 1 and list(limits(cloud, 1)) == ["quota:cpu_quota"]


def test_a_policy_made_meanwhile_is_read_in_the_next_round(
    cloud: Cloud, services: Services, openstack: OpenStack
) -> None:
    services.policy("slow", _EGRESS)
    services.server(uuid(1))
    services.port("a", uuid(1), own="new")
    (server,) = servers.page(openstack.nova).servers
    ports = reads.list_ports(openstack.network, [server.uuid])
    found = reads.limits_of(
        server, ports=ports[server.uuid], policies=reads.list_policies(openstack.network), volumes={}
    )
    assert found == {"flavor": [], "neutron": None, "cinder": []}


def test_many_servers_are_read_in_pages(
    cloud: Cloud, services: Services, duty: ExistingLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "PAGE_SIZE", 50)
    known(cloud, *range(120))
    services.policy("slow", _EGRESS)
    for number in range(130):
        services.server(uuid(number))
        services.port(f"p{number}", uuid(number), own="slow")
    assert run(cloud, duty) == 120
    pages = [path for path in services.asked if path.startswith("/nova/servers/detail")]
    assert len(pages) == 3 and sum("/v2.0/ports" in path for path in services.asked) == 5
    assert sum("/qos/policies" in path for path in services.asked) == 1
    work = Work(
        store=cloud.database, cloud=Standalone(), ledger=NoLedger(), limits=limits_of(cloud.config), clock=cloud.clock
    )
    assert duty.run(work).more
    del services.servers[:60]
    with pytest.raises(Unanswered):  # the server that the next page follows is gone
        duty.run(work)
    assert run(cloud, duty) == 0, "the next round begins anew"


def test_the_duty_runs_under_openstack(openstack: OpenStack) -> None:
    (made,) = duties(openstack)
    assert (made.name, made.interval_seconds) == ("limits", 120.0)


def limit(cloud: Cloud, number: int, services: Services, duty: ExistingLimits, **specs: str) -> None:
    """Have Nova tell of a flavor with these extra specs."""
    services.servers = []
    services.server(uuid(number), **{f"quota:{name}": value for name, value in specs.items()})
    services.ports = []
    services.port("a", uuid(number))
    run(cloud, duty)


def put(cloud: Cloud, number: int, query: str = "", generation: int | None = None, **objectives: Any) -> Any:
    more = {} if generation is None else {"generation": generation}
    return cloud.member.put_slo(uuid(number), objectives, query=query, **more)


def test_a_floor_above_a_limit_is_refused(cloud: Cloud, services: Services, duty: ExistingLimits) -> None:
    known(cloud, 1)
    limit(cloud, 1, services, duty, cpu_quota="50000", vif_outbound_average="1000")
    for query in ("dry_run=true", ""):
        found = error(put(cloud, 1, query, cpu={"floor": "80%"}), 422)
        assert found["code"] == "stella.slo.above_limit" and found["field"] == "objectives.cpu.floor"
        assert found["limit"]["name"] == "quota:cpu_quota" and found["limit"]["value"] == 0.5
        assert found["largest"] == {"cpu": 0.5}
        assert found["detail"] == "objectives.cpu.floor: 80% is above the limit quota:cpu_quota of its flavor, 50%."
    kept = cloud.admin.get("/v1/decisions?kind=slo_above_limit").json["decisions"]
    assert len(kept) == 1 and kept[0]["detail"]["objectives"]["cpu"]["floor"] == 0.8, "a dry run is not kept"
    assert put(cloud, 1, cpu={"floor": "50%"}).json["contradictions"] == []
    refused = {"floor": "2MB/s", "direction": "tx"}
    assert put(cloud, 1, generation=1, network_bytes=refused).status_code == 422
    assert put(cloud, 1, generation=1, network_bytes={**refused, "direction": "rx"}).status_code == 200
    shown = cloud.reader.get(f"/v1/instances/{uuid(1)}/slo").json
    assert shown["contradictions"] == [] and len(shown["limits"]) == 2


def test_what_could_be_reached_otherwise_is_flagged(cloud: Cloud, services: Services, duty: ExistingLimits) -> None:
    known(cloud, 1)
    limit(cloud, 1, services, duty, vif_outbound_average="1000")
    asked = {"floor": "2MB/s"}
    (flagged,) = put(cloud, 1, "dry_run=true", network_bytes=asked).json["contradictions"]
    assert flagged["field"] == "objectives.network_bytes.floor" and flagged["reachable"] is True
    assert (flagged["name"], flagged["source"]) == ("quota:vif_outbound_average", "flavor")
    assert (flagged["value"], flagged["device"]) == (1e6, "port a")
    assert put(cloud, 1, network_bytes=asked).json["contradictions"] == [flagged]
    assert cloud.reader.get(f"/v1/instances/{uuid(1)}").json["contradictions"] == [flagged]
    assert cloud.reader.get("/v1/instances").json["instances"][0]["contradictions"] == [flagged]


def test_a_limit_that_comes_later_is_flagged_and_blocks_no_other_change(
    cloud: Cloud, services: Services, duty: ExistingLimits
) -> None:
    known(cloud, 1)
    assert put(cloud, 1, cpu={"floor": "50%"}).status_code == 201
    limit(cloud, 1, services, duty, cpu_quota="20000")
    (flagged,) = cloud.reader.get(f"/v1/instances/{uuid(1)}").json["contradictions"]
    assert flagged["reachable"] is False and "quota:cpu_quota" in flagged["message"]
    both = {"cpu": {"floor": "50%"}, "block_bytes": {"floor": "1MB/s"}}
    answer = put(cloud, 1, generation=1, **both)
    assert answer.status_code == 200 and answer.json["contradictions"] == [flagged]
    assert put(cloud, 1, generation=2, cpu={"floor": "60%"}).status_code == 422
    assert put(cloud, 1, generation=2, cpu={"floor": "30%"}).status_code == 200, "less is never refused"


def test_a_flavor_that_contradicts_itself_is_flagged(cloud: Cloud, services: Services, duty: ExistingLimits) -> None:
    known(cloud, 1)
    limit(cloud, 1, services, duty, cpu_quota="20000")
    sold = '{"cpu":{"floor":0.5}}'
    cloud.database.write(lambda session: setattr(session.query(Instance).one(), "flavor_objectives", sold))
    answer = put(cloud, 1, block_bytes={"floor": "1MB/s"})
    assert answer.status_code == 201, "what its user does not ask for is not held against him"
    (flagged,) = answer.json["contradictions"]
    assert flagged["field"] == "objectives.cpu.floor"
    assert cloud.reader.get(f"/v1/instances/{uuid(1)}").json["contradictions"] == [flagged]


def test_an_estimate_tells_what_the_flavor_contradicts(cloud: Cloud) -> None:
    body = {"objectives": {"cpu": {"floor": "80%"}, "network_bytes": {"floor": "5MB/s", "direction": "rx"}}, "vcpus": 2}

    def ask(**specs: str) -> Any:
        answer = cloud.reader.ask("POST", "/v1/estimates", json={**body, "extra_specs": specs})
        assert answer.status_code == 200, answer.text
        return answer.json["contradictions"]

    assert cloud.reader.ask("POST", "/v1/estimates", json=body).json["contradictions"] == []
    assert ask(**{"quota:cpu_quota": "50000", "hw:cpu_policy": "shared"}) == []
    (found,) = ask(**{"quota:cpu_quota": "30000", "quota:vif_outbound_average": "1"})
    assert found["message"] == "cpu.floor: 80% is above the limit quota:cpu_quota of its flavor, 60%"
    assert [one["reachable"] for one in ask(**{"quota:vif_inbound_average": "4999"})] == [False]


def test_what_a_later_release_wrote_is_left_out(cloud: Cloud) -> None:
    known(cloud, 1)
    text = '[{"source":"mars","name":"x"},{"source":"flavor","name":"quota:cpu_quota","metric":"cpu","direction":"both","value":0.5}]'
    cloud.database.write(lambda session: kept.write(session, {uuid(1): text}))
    assert [one["value"] for one in limits(cloud, 1).values()] == [0.5]
