"""An operator who is refused is told what would have to move; a tenant sees nothing of others."""

from tests.functional.conftest import BOTH_DATABASES, Cloud, error, uuid

pytestmark = BOTH_DATABASES


def crowded(cloud: Cloud) -> None:
    """host1 (1.8 cores) has two SLOs of another project; host2 is empty but too small for 0.85 core and more."""
    first, second = cloud.host("host1"), cloud.host("host2")
    for number, project in ((1, "p1"), (2, "p2"), (3, "p2")):
        first.add(uuid(number), project=project)
    assert first.report().status_code == 200 and second.report().status_code == 200
    assert cloud.admin.put_slo(uuid(2), {"cpu": {"floor": 0.3}}, priority=2).status_code == 201
    assert cloud.admin.put_slo(uuid(3), {"cpu": {"floor": 0.6}}, priority=1).status_code == 201


def test_what_would_have_to_move(cloud: Cloud) -> None:
    crowded(cloud)
    wanted = {"cpu": {"floor": 0.7}}
    for query in ("", "dry_run=true"):
        refused = error(cloud.admin.put_slo(uuid(1), wanted, priority=1, query=query), 422)
        (move,) = refused["counter_offer"]["moves"]
        assert (move["uuid"], move["to"], move["project_id"], move["priority"]) == (uuid(3), "host2", "p2", 1)
        assert move["reserved_cpu_cores"] > 0.6 and move["name"] == "vm-0000"
    none = error(cloud.admin.put_slo(uuid(1), wanted, priority=0, query="dry_run=true"), 422)
    assert none["counter_offer"]["moves"] == [], "never one of a higher priority"
    impossible = error(
        cloud.admin.put_slo(uuid(1), {"cpu": {"floor": "2cores"}}, priority=9, query="dry_run=true"), 422
    )
    assert impossible["counter_offer"]["moves"] == [], "its one vCPU is the limit"
    told = error(cloud.member.put_slo(uuid(1), wanted, priority=9), 422)
    assert "moves" not in told["counter_offer"] and uuid(3) not in str(told) and "host2" not in str(told)


def test_nothing_moves_to_a_host_that_has_no_room_or_does_not_enforce(cloud: Cloud) -> None:
    crowded(cloud)
    cloud.admin.ask("PATCH", "/v1/hosts/host2", json={"mode": "maintenance"})
    refused = error(cloud.admin.put_slo(uuid(1), {"cpu": {"floor": 0.7}}, priority=5), 422)
    assert refused["counter_offer"]["moves"] == [] and refused["counter_offer"]["elsewhere"] is False
