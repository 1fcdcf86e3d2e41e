"""The commands against the real API."""

import re
from pathlib import Path

import pytest
import requests
from client_shell import Shell, connect, connect_with_keystone
from osc_lib.exceptions import CommandError
from stellaclient.osc import apply, hosts, instances, plugin, records, slo, usage, watch
from stellaclient.sdk import proxy

from tests.functional.conftest import Cloud, uuid

A, B, C = uuid(1), uuid(2), uuid(3)


@pytest.fixture(autouse=True)
def agent(cloud: Cloud) -> object:
    made = cloud.host("compute-1")
    made.add(A, name="web-1")
    made.add(B, name="twin")
    made.add(C, name="twin")
    assert made.report().status_code == 200
    return made


def test_set_merges_and_shows(shell: Shell) -> None:
    first = shell.json(slo.Set, "--server", "web-1", "--net-pps", "20k", "--net-direction", "tx", "--priority", "7")
    assert first["objectives"] == {"network_packets": {"floor": 20000.0, "direction": "tx", "priority": 7}}
    assert (first["state"], first["generation"]) == ("pending", 1)
    second = shell.json(slo.Set, "--server", A, "--cpu", "20%")
    assert second["objectives"]["network_packets"] == first["objectives"]["network_packets"]
    assert second["objectives"]["cpu"]["floor"] == 0.2
    table = shell.run(slo.Show, "--server", "web-1")
    assert "floor 20kpps tx, priority 7" in table
    assert "floor 20%" in table
    replaced = shell.json(slo.Set, "--server", "web-1", "--cpu-ceiling", "1.5cores", "--replace")
    assert replaced["objectives"] == {"cpu": {"ceiling": 1.5}}


def test_dry_run_changes_nothing(shell: Shell) -> None:
    assert shell.json(slo.Set, "--server", "web-1", "--disk", "300MB/s", "--dry-run")["accepted"] is True
    with pytest.raises(CommandError, match="has no SLO"):
        shell.run(slo.Show, "--server", "web-1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--server", "web-1"), "name at least one objective"),
        (("--server", "web-1", "--cpu", "20furlongs"), "--cpu: '20furlongs' is not a quantity in cores"),
        (("--server", "web-1", "--cpu", "20%", "--priority", "101"), "--priority: must be from 0 to 100"),
        (("--server", "web-1", "--cpu", "20%", "--net-direction", "tx"), "--net-direction needs an objective"),
        (("--server", "twin", "--cpu", "20%"), f"2 instances are named 'twin'; give the uuid: {B}, {C}"),
        (("--server", "nobody", "--cpu", "20%"), "no instance is named 'nobody'"),
        (("--server", uuid(99), "--cpu", "20%"), f"Instance {uuid(99)} was not found"),
        (("--server", "web-1", "--cpu", "20%", "--cpu-ceiling", "10%"), "cpu.floor: is above the ceiling"),
    ],
)
def test_one_line_says_what_is_wrong(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError) as error:
        shell.run(slo.Set, *arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_refusal_has_the_counter_offer(shell: Shell, operator: Shell, cloud: Cloud) -> None:
    with pytest.raises(CommandError) as error:
        shell.run(slo.Set, "--server", "web-1", "--net-pps", "900k")
    text = str(error.value)
    assert text.startswith("network_packets.floor: ")
    assert "largest that fits: " in text
    largest = text.rpartition("largest that fits: ")[2]
    assert shell.json(slo.Set, "--server", "web-1", "--net-pps", largest.partition(";")[0], "--dry-run")["accepted"]


def test_conflict_is_explained(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    monkeypatch.setattr(shell.stella, "get_slo", lambda uuid: None)
    with pytest.raises(CommandError, match="changed by others after it was read"):
        shell.run(slo.Set, "--server", "web-1", "--cpu", "30%")


@pytest.mark.parametrize("state", ["enforced", "refused"])
def test_wait(shell: Shell, agent: object, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {} if state == "enforced" else {"reason": "no tap device", "largest": {"cpu": 0.1}}
    monkeypatch.setattr(slo, "sleep", lambda seconds: agent.acknowledge(state, **more))  # type: ignore[attr-defined]
    command = (slo.Set, "--server", "web-1", "--cpu", "20%", "--wait")
    if state == "enforced":
        assert shell.json(*command)["state"] == "enforced"
        return
    with pytest.raises(CommandError, match="refused by the host: no tap device; largest that fits: 10%"):
        shell.run(*command)
    assert shell.json(instances.Explain, "--server", "web-1")[0]["why"] == "its host says: no tap device"


def test_wait_ends(shell: Shell) -> None:
    with pytest.raises(CommandError, match="accepted, but not enforced by the host within 0 s; it is still pending"):
        shell.run(slo.Set, "--server", "web-1", "--cpu", "20%", "--wait", "--timeout", "0")


def test_unset(shell: Shell) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%", "--disk", "10MB/s")
    shell.run(slo.Unset, "--server", "web-1", "--objective", "cpu")
    assert list(shell.json(slo.Show, "--server", "web-1")["objectives"]) == ["block_bytes"]
    shell.run(slo.Unset, "--server", "web-1")
    with pytest.raises(CommandError, match="has no SLO"):
        shell.run(slo.Unset, "--server", "web-1")


def test_list_explain_watch(shell: Shell, cloud: Cloud, agent: object) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    agent.instances[A]["objectives"] = [  # type: ignore[attr-defined]
        {"metric": "cpu", "usage": 0.1, "demand": 0.3, "status": "VIOLATED", "cause": "cpu"}
    ]
    agent.acknowledge()  # type: ignore[attr-defined]
    assert [row["uuid"] for row in shell.json(instances.List)] == [A]
    assert len(shell.json(instances.List, "--all", "--long")) == 3
    assert "cpu VIOLATED (cpu)" in shell.run(instances.List)
    (row,) = shell.json(instances.Explain, "--server", "web-1")
    assert (row["objective"], row["usage"], row["status"]) == (0.2, 0.1, "VIOLATED")
    assert "waits for CPU" in row["why"]
    assert "usage 10%" in shell.run(watch.Watch, "--server", "web-1", "--count", "1")


def test_history_says_who_and_what(shell: Shell) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    shell.run(slo.Unset, "--server", "web-1")
    newest, oldest = shell.json(instances.History, "--server", "web-1")
    assert (newest["generation"], newest["user_id"], newest["after"]) == (2, "ann", None)
    assert oldest["after"] == {"cpu": {"floor": 0.2}}
    assert oldest["remote_address"]
    assert len(shell.json(instances.History, "--server", "web-1", "--limit", "1")) == 1


def test_hosts_are_for_operators(shell: Shell, operator: Shell) -> None:
    with pytest.raises(CommandError, match="does not allow this for your roles"):
        shell.run(hosts.List)
    (host,) = operator.json(hosts.List)
    assert (host["name"], host["mode"], host["instances"]) == ("compute-1", "enforce", 3)
    assert operator.json(hosts.Set, "compute-1", "--mode", "maintenance")["mode"] == "maintenance"
    assert operator.json(hosts.Show, "compute-1")["cpus"] == 2
    with pytest.raises(CommandError, match="in mode maintenance; an operator sets it with"):
        shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    with pytest.raises(CommandError, match="is not the name of a host"):
        operator.run(hosts.Show, "../instances")


def test_records(shell: Shell, operator: Shell, cloud: Cloud, agent: object) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    assert [d["user_id"] for d in shell.json(records.ListDecisions, "--server", "web-1", "--long")] == ["ann"]
    episode = {"id": "v1", "uuid": A, "metric": "cpu", "opened_at": cloud.clock.now - 5, "cause": "cpu"}
    agent.report(violations=[episode])  # type: ignore[attr-defined]
    assert [v["cause"] for v in shell.json(records.ListViolations, "--open")] == ["cpu"]
    assert shell.json(records.ListViolations, "--server", B) == []


FILE = """
instances:
  web-1:
    priority: 3
    objectives:
      cpu: {floor: 20%}
      network_packets: {floor: 20kpps, direction: tx}
"""


def test_apply_is_idempotent_and_prunes(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "slos.yaml"
    path.write_text(FILE)
    shell.run(slo.Set, "--server", B, "--cpu", "10%")
    assert shell.json(apply.Apply, "-f", str(path), "--dry-run")[0]["result"] == "would be accepted"
    (row,) = shell.json(apply.Apply, "-f", str(path))
    assert (row["action"], row["result"]) == ("create", "pending")
    assert "+ network_packets: floor 20kpps tx, priority 3" in row["difference"]
    assert [r["action"] for r in shell.json(apply.Apply, "-f", str(path))] == ["keep"]
    path.write_text(FILE.replace("20%", "30%"))
    removed, changed = shell.json(apply.Apply, "-f", str(path), "--prune")
    assert (removed["uuid"], removed["result"]) == (B, "withdrawn")
    assert changed["difference"] == "- cpu: floor 20%, priority 3\n+ cpu: floor 30%, priority 3"
    path.write_text(FILE.replace("20kpps", "900kpps"))
    assert "largest that fits" in shell.json(apply.Apply, "-f", str(path))[0]["result"]
    assert shell.status == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file: must be a mapping"),
        ("[", "not YAML"),
        ("hosts: {}", "file: must be a mapping|must have the one key"),
        ("instances: {}", "instances: must be a mapping that is not empty"),
        ("instances: {web-1: {objectives: {cpu: {floor: 20x}}}}", "instances.web-1.objectives.cpu.floor: '20x'"),
        ("instances: {web-1: {objectives: {gpu: {floor: 1}}}}", "no such metric"),
        ("instances: {web-1: {objectives: {cpu: {flor: 1}}}}", "cpu.flor: unknown key"),
        ("instances: {web-1: {objectives: {cpu: {weight: heavy}}}}", "cpu.weight: must be a number"),
        ("instances: {web-1: {objectives: {cpu: {floor: 1, direction: up}}}}", "cpu.direction: must be one of"),
        ("instances: {web-1: {objectives: {cpu: {floor: .nan}}}}", "cpu.floor: 'nan'"),
        ("instances: {web-1: {priority: high, objectives: {cpu: {floor: 1}}}}", "instances.web-1.priority: must be"),
        (
            f"instances: {{web-1: {{objectives: {{cpu: {{floor: 1}}}}}}, {A}: {{objectives: {{cpu: {{floor: 1}}}}}}}}",
            "twice",
        ),
    ],
)
def test_a_bad_file_changes_nothing(shell: Shell, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "slos.yaml"
    path.write_text(text)
    with pytest.raises(CommandError, match=message):
        shell.run(apply.Apply, "-f", str(path))
    assert shell.json(instances.List) == []


def test_prune_stays_in_one_project(operator: Shell, shell: Shell, cloud: Cloud, agent: object, tmp_path: Path) -> None:
    agent.add(uuid(9), project="p2", name="other")  # type: ignore[attr-defined]
    agent.report()  # type: ignore[attr-defined]
    operator.run(slo.Set, "--server", uuid(9), "--cpu", "10%")
    path = tmp_path / "slos.yaml"
    path.write_text(FILE)
    with pytest.raises(CommandError, match="name one with --project"):
        operator.run(apply.Apply, "-f", str(path), "--prune")
    assert [row["action"] for row in operator.json(apply.Apply, "-f", str(path), "--prune", "--project", "p1")] == [
        "create"
    ]


def test_lists_follow_pages(shell: Shell, cloud: Cloud) -> None:
    assert len(list(shell.stella.instances(limit=1))) == 3


def test_versions() -> None:
    assert proxy.common_version("1.0", "1.7") == "1.0"
    with pytest.raises(proxy.NoCommonVersion, match=r"this client speaks 1\.0 to 1\.0"):
        proxy.common_version("2.0", "2.1")


def test_with_keystone_the_endpoint_comes_from_the_catalogue(cloud: Cloud) -> None:
    found = list(connect_with_keystone(cloud.member, service_type="stella").instances())
    assert {i.id for i in found} == {A, B, C}
    with pytest.raises(CommandError, match="the service catalogue has no service of type stella"):
        Shell(connect_with_keystone(cloud.member, service_type="compute")).run(instances.List)


def test_a_wrong_token_is_one_line(cloud: Cloud) -> None:
    user = cloud.member
    user.token = "wrong"
    with pytest.raises(CommandError, match="valid token"):
        Shell(connect(user)).run(instances.List)


def test_every_command_has_an_example() -> None:
    for command in (
        slo.Set,
        slo.Show,
        slo.Unset,
        instances.List,
        instances.Explain,
        instances.History,
        watch.Watch,
        usage.Usage,
        apply.Apply,
        hosts.List,
        hosts.Show,
        hosts.Set,
        records.ListViolations,
        records.ListDecisions,
    ):
        assert "Example: openstack slo " in (command.__doc__ or "")
    assert plugin.DEFAULT_API_VERSION in plugin.API_VERSIONS


def test_the_client_knows_stella_through_its_api_alone() -> None:
    package = Path(plugin.__file__).parents[1]
    imports = [line for file in package.rglob("*.py") for line in file.read_text().splitlines()]
    assert not [line for line in imports if re.match(r"\s*(from|import) stella\b", line)]


@pytest.mark.parametrize("output", ["table", "json", "yaml", "csv", "value"])
def test_every_format(shell: Shell, output: str) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%", "--net-pps", "20k")
    printed = shell.run(instances.Explain, "--server", "web-1", "--format", output)
    assert ("20kpps" in printed) is (output == "table")
    assert ("20000.0" in printed) is (output != "table")


def test_a_server_that_is_not_there_is_one_line(cloud: Cloud) -> None:
    stella = connect(cloud.member)
    stella.session.session.mount("http://stella.test", requests.adapters.HTTPAdapter())
    with pytest.raises(CommandError, match=r"^Unable to establish connection to http://stella\.test/$"):
        Shell(stella).run(instances.List)
