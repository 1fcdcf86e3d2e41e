"""`openstack slo flavor` and `explain --flavor`, against the real API and an emulated Nova."""

import emulated_nova
import pytest
from client_shell import Shell, connect
from emulated_nova import Nova
from osc_lib.exceptions import CommandError
from stellaclient.osc import flavor, instances

from stella.model.flavor import slo_of
from stella.model.slo import Metric
from tests.functional.conftest import Cloud, uuid

_ASKED = ("--net-pps", "20k", "--disk", "300MB/s", "--cpu", "20%")


@pytest.fixture
def nova() -> Nova:
    made = Nova()
    made.add("gold", vcpus=2, **{"hw:cpu_policy": "shared"})
    made.add("plain")
    return made


@pytest.fixture
def admin(cloud: Cloud, nova: Nova) -> Shell:
    return Shell(connect(cloud.admin), sdk_connection=emulated_nova.connect(nova))


def test_set_show_change_unset(admin: Shell, nova: Nova) -> None:
    told = admin.json(flavor.Set, "gold", *_ASKED, "--net-direction", "tx", "--priority", "10")
    specs = nova.flavors["id-gold"]["extra_specs"]
    assert specs["stella:slo_network_packets_floor"] == "20000" and specs["hw:cpu_policy"] == "shared"
    assert specs["stella:slo_network_packets_direction"] == "tx" and specs["stella:slo_priority"] == "10"
    assert specs["resources:CUSTOM_STELLA_NET_KPPS"] == "20" and specs["resources:CUSTOM_STELLA_BLOCK_MBPS"] == "300"
    millicores = int(specs["resources:CUSTOM_STELLA_CPU_MILLICORES"])
    assert told["reserved_cpu_cores"] * 1000 <= millicores < told["reserved_cpu_cores"] * 1000 + 1
    assert told["resources"]["CUSTOM_STELLA_CPU_MILLICORES"] == millicores and told["estimated"] is True
    sold = slo_of(specs)
    assert sold is not None and sold.floor(Metric.BLOCK_BYTES) == 300e6
    shown = admin.json(flavor.Show, "id-gold")
    assert shown["objectives"] == told["objectives"] and shown["resources"] == told["resources"]
    assert "floor 20kpps tx, priority 10" in admin.run(flavor.Show, "gold")
    admin.run(flavor.Set, "gold", "--cpu", "50%")
    assert specs["stella:slo_cpu_floor"] == "0.5" and specs["stella:slo_network_packets_floor"] == "20000", "merged"
    assert int(specs["resources:CUSTOM_STELLA_CPU_MILLICORES"]) > 0
    admin.run(flavor.Set, "gold", "--cpu", "10%", "--replace")
    assert set(specs) == {"hw:cpu_policy", "stella:slo_cpu_floor", "resources:CUSTOM_STELLA_CPU_MILLICORES"}
    admin.run(flavor.Unset, "gold")
    assert specs == {"hw:cpu_policy": "shared"}


def test_the_new_is_written_before_the_old_is_dropped(admin: Shell, nova: Nova) -> None:
    admin.run(flavor.Set, "gold", *_ASKED)
    nova.changes.clear()
    admin.run(flavor.Set, "gold", "--cpu", "20%", "--replace")
    assert [method for method, _, _ in nova.changes] == ["POST"] + ["DELETE"] * 4
    nova.changes.clear()
    admin.run(flavor.Set, "gold", "--cpu", "20%", "--replace")
    admin.run(flavor.Set, "gold", "--cpu", "90%", "--dry-run")
    assert nova.changes == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gold",), "name at least one objective"),
        (("gold", "--cpu", "20kpps"), "--cpu: '20kpps' is not a quantity in cores"),
        (("gold", "--cpu", "20%", "--priority", "101"), "--priority: must be from 0 to 100"),
        (("gold", "--priority", "3"), "the flavor sells no SLO yet"),
        (("gold", "--cpu", "20%", "--net-direction", "tx"), "--net-direction needs an objective"),
        (("plain", "--cpu", "2cores"), "cpu.floor: the instance has 1 vCPU"),
        (("gold", "--net-pps", "1M"), "largest that fits: "),
        (("gold", "--cpu", "50%", "--cpu-ceiling", "20%"), "cpu.floor: is above the ceiling"),
        (("silver", "--cpu", "20%"), "no flavor is named 'silver'"),
        (("broken", "--cpu", "20%"), "stella:slo_cpu_floor='much', which is no number"),
        (("later", "--cpu", "20%"), "stella:slo_gpu_floor, which this client does not know"),
    ],
)
def test_flavors_that_cannot_be(admin: Shell, nova: Nova, arguments: tuple[str, ...], message: str) -> None:
    nova.add("broken", **{"stella:slo_cpu_floor": "much"})
    nova.add("later", **{"stella:slo_gpu_floor": "1"})
    with pytest.raises(CommandError) as error:
        admin.run(flavor.Set, *arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert nova.changes == []


def test_floors_above_the_limits_of_the_flavor(admin: Shell, nova: Nova) -> None:
    quotas = {"quota:cpu_quota": "20000", "quota:vif_outbound_average": "1000", "quota:cpu_shares": "99"}
    nova.add("capped", vcpus=1, **quotas)
    specs = nova.flavors["id-capped"]["extra_specs"]
    with pytest.raises(CommandError) as error:
        admin.run(flavor.Set, "capped", "--cpu", "50%")
    assert str(error.value) == (
        "cpu.floor: 50% is above the limit quota:cpu_quota of its flavor, 20%; no server of this flavor could get it"
    )
    assert nova.changes == []
    told = admin.json(flavor.Set, "capped", "--cpu", "20%", "--net-bandwidth", "2MB/s")
    assert [one["name"] for one in told["contradictions"]] == ["quota:vif_outbound_average"], "the other way is open"
    assert "can make up for it" in admin.run(flavor.Show, "capped")
    specs["stella:slo_cpu_floor"] = "0.5"  # by hand
    shown = admin.json(flavor.Show, "capped")
    assert [one["reachable"] for one in shown["contradictions"]] == [False, True]
    assert shown["quotas"] == dict(sorted(quotas.items()))
    assert admin.json(flavor.Show, "plain")["contradictions"] == []


def test_nova_refuses(admin: Shell, nova: Nova) -> None:
    nova.refuse = 403
    with pytest.raises(CommandError, match="the API answered 403: your roles do not allow this"):
        admin.run(flavor.Set, "gold", "--cpu", "20%")


def test_explain_tells_host_by_host(admin: Shell, nova: Nova, cloud: Cloud) -> None:
    admin.run(flavor.Set, "gold", "--net-pps", "20k", "--cpu", "40%")
    roomy, busy = cloud.host("roomy", cpus=8), cloud.host("busy", cpus=1)
    cloud.host("watching", mode="observe").report()
    busy.add(uuid(1))
    assert roomy.report().status_code == busy.report().status_code == 200
    assert cloud.member.put_slo(uuid(1), {"cpu": {"floor": 0.5}}).status_code == 201
    rows = {row["host"]: row for row in admin.json(instances.Explain, "--flavor", "gold")}
    assert {name: row["fits"] for name, row in rows.items()} == {"busy": False, "roomy": True, "watching": False}
    assert rows["watching"]["why_not"] == "the host is in mode observe" and rows["roomy"]["why_not"] == ""
    assert "cores of CPU" in rows["busy"]["why_not"]
    assert 0 < rows["roomy"]["head_room_left"] < 1 and rows["roomy"]["attainment_last_hour"] is None
    assert "the host is in mode observe" in admin.run(instances.Explain, "--flavor", "gold", "--vcpus", "4")


def test_explain_without_what_it_needs(admin: Shell, shell: Shell, nova: Nova) -> None:
    with pytest.raises(CommandError, match="flavor plain sells no SLO"):
        admin.run(instances.Explain, "--flavor", "plain")
    admin.run(flavor.Set, "gold", "--cpu", "20%")
    with pytest.raises(CommandError, match="--vcpus: goes with --flavor"):
        admin.run(instances.Explain, "--server", "x", "--vcpus", "1")
    shell.sdk_connection = emulated_nova.connect(nova)
    with pytest.raises(CommandError, match="does not allow this for your roles"):
        shell.run(instances.Explain, "--flavor", "gold")
