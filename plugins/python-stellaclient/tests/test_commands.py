"""The commands against the real API."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
import requests
from client_shell import Shell, connect, connect_with_keystone
from osc_lib.exceptions import CommandError
from stellaclient.osc import apply, hosts, instances, plugin, records, slo, watch
from stellaclient.sdk import proxy
from stellaclient.sdk.resources import Attainment

from stella.api import times
from stella.db import limits as known_limits
from stella.model.limits import of_flavor, of_port, to_text
from tests.functional.conftest import Agent, Cloud, uuid

A, B, C = uuid(1), uuid(2), uuid(3)


@pytest.fixture(autouse=True)
def agent(cloud: Cloud) -> Agent:
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


def test_an_operator_is_told_what_would_have_to_move(shell: Shell, operator: Shell, cloud: Cloud) -> None:
    assert cloud.host("compute-2").report().status_code == 200
    operator.run(slo.Set, "--server", B, "--cpu", "50%")
    operator.run(slo.Set, "--server", C, "--cpu", "60%")
    wish = (slo.Set, "--server", "web-1", "--cpu", "70%", "--priority", "1")
    for more in (("--dry-run",), ()):
        with pytest.raises(CommandError, match=r"to make room here, move twin \(5\d.*% reserved\) to compute-2$"):
            operator.run(*wish, *more)
    operator.run(instances.Explain, "--server", "web-1")
    told = operator.stderr.getvalue()
    assert told.startswith("refused at 2026-") and "cpu: floor 70%, priority 1; now: cpu.floor: " in told
    assert "to make room here, move twin" in told and told.count("\n") == 1
    shell.run(instances.Explain, "--server", "web-1")
    assert "largest that fits: " in shell.stderr.getvalue() and "move" not in shell.stderr.getvalue()
    operator.run(slo.Unset, "--server", B)
    operator.run(slo.Unset, "--server", C)
    operator.stderr.truncate(0)
    operator.run(instances.Explain, "--server", "web-1")
    assert operator.stderr.getvalue().endswith("now it would be accepted\n")


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


def test_a_host_is_explained(shell: Shell, operator: Shell, cloud: Cloud, agent: Agent) -> None:
    shell.run(slo.Set, "--server", "web-1", "--net-pps", "20k")
    packets = {"metric": "network_packets", "usage": 9000.0, "demand": 2e4, "status": "VIOLATED", "cause": "cpu"}
    agent.instances[A] |= {"objectives": [packets], "cpu": {"used_cores": 0.2, "entitled_cores": 0.5}}
    agent.instances[B] |= {"cpu": {"used_cores": 1.4, "entitled_cores": 0.6}}
    episode = {"id": "v1", "uuid": A, "metric": "network_packets", "opened_at": cloud.clock.now - 9, "cause": "cpu"}
    found = {**episode, "offender": B, "evidence": {"missed_seconds": 7}}
    assert agent.report(violations=[found]).status_code == 200
    rows = operator.json(hosts.Explain, "compute-1")
    assert "compute-1 (enforce): " in operator.stderr.getvalue() and " cores reserved, " in operator.stderr.getvalue()
    assert [row["kind"] for row in rows] == ["instance"] * 3 + ["host", "head-room"]
    offender, rest = rows[0], {row["uuid"]: row for row in rows[1:3]}
    assert (offender["uuid"], offender["slo"], offender["excess_cpu_cores"]) == (B, None, pytest.approx(0.8))
    assert (offender["offends"]["violations"], offender["offends"]["victims"][0]["uuid"]) == (1, A)
    assert rest[A]["objectives"][0]["guaranteed"] == 20_000 and rest[A]["missed_seconds"] == 7
    assert sum(row["reserved_cpu_cores"] or 0.0 for row in rows) == pytest.approx(1.8), (
        "with the head-room the capacity"
    )
    table = operator.run(hosts.Explain, "compute-1")
    for words in ("9kpps of 20kpps VIOLATED (cpu)", "1 violations, 1 still lasting, 7 s missed by web-1", "0.8 cores"):
        assert words in table, table
    with pytest.raises(CommandError, match="does not allow this for your roles"):
        shell.run(hosts.Explain, "compute-1")
    with pytest.raises(CommandError, match="Host compute-9 was not found"):
        operator.run(hosts.Explain, "compute-9")
    with pytest.raises(CommandError, match="is not the name of a host"):
        operator.run(hosts.Explain, "compute-1/intent")
    cloud.clock.now += 7200
    operator.run(hosts.Explain, "compute-1")
    assert "it is silent since" in operator.stderr.getvalue()


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


def _commands() -> dict[str, str]:
    text = Path(plugin.__file__).parents[2].joinpath("pyproject.toml").read_text()
    return tomllib.loads(text)["project"]["entry-points"]["openstack.slo.v1"]


@pytest.mark.parametrize("name", sorted(_commands()))
def test_every_command_helps_with_an_example(name: str) -> None:
    module, _, attribute = _commands()[name].partition(":")
    command = getattr(importlib.import_module(module), attribute)
    words = name.replace("_", " ")
    assert f"Example: openstack {words}" in (command.__doc__ or "")
    text = command(None, None).get_parser(f"openstack {words}").format_help()
    assert f"Example: openstack {words}" in " ".join(text.split())
    assert plugin.DEFAULT_API_VERSION in plugin.API_VERSIONS


def test_show_tells_attainment_and_the_last_violation(shell: Shell, cloud: Cloud, agent: object) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    empty = shell.json(slo.Show, "--server", "web-1")
    assert empty["last_violation"] is None and empty["attainment_today"]["objectives"] == []
    start = int(cloud.clock.now) // 60 * 60 - 120
    agent.report(  # type: ignore[attr-defined]
        minutes=[{"uuid": A, "metric": "cpu", "start": start, "counts": {"met": 45, "violated": 15}}],
        violations=[{"id": "v", "uuid": A, "metric": "cpu", "opened_at": cloud.clock.now - 60, "cause": "cpu"}],
    )
    shown = shell.json(slo.Show, "--server", "web-1")
    assert shown["last_violation"]["cause"] == "cpu" and shown["last_violation"]["closed_at"] is None
    for span in ("attainment_today", "attainment_this_month"):
        assert [(o["metric"], o["attainment_ratio"]) for o in shown[span]["objectives"]] == [("cpu", 0.75)]
    table = shell.run(slo.Show, "--server", "web-1")
    assert "cpu 75.00%" in table and "cpu: cause cpu, from " in table and "still lasting" in table


def test_show_of_an_older_api_has_no_today(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    old = Attainment.new(instance_id=A, objectives=[{"metric": "cpu", "attainment_ratio": None}])
    monkeypatch.setattr(shell.stella, "get_attainment", lambda uuid: old)
    shown = shell.json(slo.Show, "--server", "web-1")
    assert shown["attainment_today"] is None and shown["attainment_this_month"]["objectives"][0]["metric"] == "cpu"


def test_unset_waits_until_the_host_tells_of_it_no_longer(
    shell: Shell, cloud: Cloud, agent: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report_later(seconds: float) -> None:
        cloud.clock.now += 1
        agent.instances[A]["objectives"] = reported.pop(0)  # type: ignore[attr-defined]
        agent.acknowledge()  # type: ignore[attr-defined]

    told = [{"metric": "cpu", "usage": 0.1, "demand": 0.1, "status": "MET", "cause": None}]
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%", "--disk", "10MB/s")
    agent.instances[A]["objectives"] = told  # type: ignore[attr-defined]
    agent.acknowledge()  # type: ignore[attr-defined]
    monkeypatch.setattr(slo, "sleep", report_later)
    reported = [told]
    shell.run(slo.Unset, "--server", "web-1", "--objective", "block_bytes", "--wait")
    assert reported == [], "it waited for the acknowledgement"
    reported = [told, []]
    shell.run(slo.Unset, "--server", "web-1", "--wait")
    assert reported == [], "a report that still tells of it is not enough"
    with pytest.raises(CommandError, match="has no SLO"):
        shell.run(slo.Show, "--server", "web-1")


def test_records_by_time_and_order(shell: Shell, cloud: Cloud) -> None:
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    cloud.clock.now += 3600
    shell.run(slo.Set, "--server", A, "--cpu", "30%")
    everything = [d["id"] for d in shell.json(records.ListDecisions, "--sort", "decided_at:asc")]
    assert everything == sorted(everything) and len(everything) == 2
    later = times.show(cloud.clock.now - 60)
    assert [d["id"] for d in shell.json(records.ListDecisions, "--from", later)] == everything[1:]
    assert [d["id"] for d in shell.json(records.ListDecisions, "--to", later.removesuffix("Z"))] == everything[:1]
    with pytest.raises(CommandError, match="--from: 'yesterday' is not a time, such as 2026-11-24T00:00:00Z"):
        shell.run(records.ListViolations, "--from", "yesterday")
    with pytest.raises(CommandError, match="from is after to"):
        shell.run(records.ListViolations, "--from", "2026-12-01", "--to", "2026-11-01")
    assert shell.json(instances.List, "--all", "--sort", "name:desc")[0]["name"] == "web-1"
    assert shell.json(instances.List, "--all", "--name", "nobody") == []


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


def test_limits_from_outside_stella(shell: Shell, cloud: Cloud) -> None:
    limits = of_flavor({"quota:cpu_quota": "20000", "quota:vif_outbound_average": "1000"}, vcpus=1, nics=["port a"])
    limits += of_port([{"type": "minimum_bandwidth", "min_kbps": 80}], device="port a", nics=1)
    cloud.database.write(lambda session: known_limits.write(session, {A: to_text(limits)}))
    for dry_run in ((), ("--dry-run",)):
        with pytest.raises(CommandError) as error:
            shell.run(slo.Set, "--server", "web-1", "--cpu", "50%", *dry_run)
        assert str(error.value) == "cpu.floor: 50% is above the limit quota:cpu_quota of its flavor, 20%"
    flagged = shell.json(slo.Set, "--server", "web-1", "--net-bandwidth", "2MB/s", "--dry-run")["contradictions"]
    assert [one["name"] for one in flagged] == ["quota:vif_outbound_average"]
    shell.run(slo.Set, "--server", "web-1", "--net-bandwidth", "2MB/s")
    shown = shell.run(slo.Show, "--server", "web-1")
    assert "quota:vif_outbound_average 1MB/s tx on port a" in shown and "quota:cpu_quota 20%" in shown
    assert "minimum_bandwidth at least 10kB/s tx on port a" in shown and "can make up for it" in shown
    assert [row["contradictions"] for row in shell.json(instances.List, "--long")] == [flagged]
    (told,) = shell.json(instances.Explain, "--server", "web-1")
    assert "quota:vif_outbound_average" in told["why"] and told["why"].startswith("its host has not")
