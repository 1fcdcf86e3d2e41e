"""`openstack slo quota`, and what the other commands say of a quota, against the real API."""

import pytest
from client_shell import Shell, connect
from osc_lib.exceptions import CommandError
from stellaclient.osc import quotas, records, slo

from tests.functional.conftest import Cloud, uuid


@pytest.fixture(autouse=True)
def agent(cloud: Cloud) -> object:
    made = cloud.host("compute-1", cpus=8)
    made.add(uuid(1), name="web-1")
    made.add(uuid(2), name="web-2")
    assert made.report().status_code == 200
    return made


def test_set_show_list_unset(shell: Shell, operator: Shell) -> None:
    rows = operator.json(
        quotas.Set, "--project", "p1", "--cpu", "1.5cores", "--net-pps", "200k", "--slos", "3", "--disk", "-1"
    )
    limits = {row["resource"]: row["limit"] for row in rows}
    assert limits == {
        "cpu": 1.5,
        "network_packets": 200000,
        "network_bytes": -1,
        "block_bytes": -1,
        "block_operations": -1,
        "reserved_cpu_cores": -1,
        "slos": 3,
    }
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    (row,) = [row for row in shell.json(quotas.Show) if row["resource"] == "cpu"]
    assert (row["used"], row["left"], row["default"]) == (0.2, 1.3, False), "the own project is known"
    assert "1.5cores" in shell.run(quotas.Show, "--project", "p1") and "unlimited" in shell.run(quotas.Show)
    assert operator.json(quotas.List)[0]["cpu"] == {"limit": 1.5, "used": 0.2, "is_default": False}
    assert "20% of 1.5cores" in operator.run(quotas.List)
    operator.run(quotas.Unset, "--project", "p1", "--cpu")
    limits = {row["resource"]: row["limit"] for row in shell.json(quotas.Show)}
    assert (limits["cpu"], limits["slos"]) == (-1, 3)
    operator.run(quotas.Unset, "--project", "p1")
    assert all(row["default"] for row in shell.json(quotas.Show))
    kinds = [d["reason"] for d in operator.json(records.ListDecisions, "--kind", "quota", "--sort", "id:asc")]
    assert kinds[0].startswith("quota of project p1: cpu default -> 1.5 cores")


def test_what_exceeds_it_is_told_in_one_line(shell: Shell, operator: Shell) -> None:
    operator.run(quotas.Set, "--project", "p1", "--cpu", "50%")
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%")
    for more in ((), ("--dry-run",)):
        with pytest.raises(CommandError) as error:
            shell.run(slo.Set, "--server", "web-2", "--cpu", "40%", *more)
        assert str(error.value) == (
            "the project's quota of cpu is 50%: its other SLOs hold 20% and this one asks for 40%; "
            "largest that the quota leaves: 30%"
        )
    operator.run(quotas.Set, "--project", "p1", "--slos", "1")
    with pytest.raises(CommandError, match="quota of slos is 1: its other SLOs hold 1 and this one asks for 1"):
        shell.run(slo.Set, "--server", "web-2", "--cpu", "10%")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--project", "p1"), "name at least one of --cpu, "),
        (("--project", "p1", "--cpu", "20kpps"), "--cpu: '20kpps' is not a quantity in cores"),
        (("--project", "p1", "--cpu", "nan"), "--cpu: 'nan' is not"),
        (("--project", "p1", "--cpu", "1e309"), "--cpu: '1e309' is too large"),
        (("--project", "p1", "--cpu=-2"), "--cpu: '-2' must be greater than zero; 0 is nothing, -1 no limit"),
        (("--project", "p1", "--slos", "1.5"), "--slos: '1.5' is not a whole number"),
        (("--project", "p1", "--net-pps", "$(reboot)"), "--net-pps: '$(reboot)' is not"),
        (("--project", "a b", "--cpu", "1"), "project_id must be"),
        (("--project", "../hosts", "--cpu", "1"), "--project: '../hosts' is not the id of a project"),
        (("--project", "", "--cpu", "1"), "--project: '' is not the id of a project"),
    ],
)
def test_quotas_that_cannot_be(operator: Shell, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError) as error:
        operator.run(quotas.Set, *arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert operator.json(quotas.List) == []


def test_quotas_of_others_are_for_operators(shell: Shell, operator: Shell, cloud: Cloud) -> None:
    with pytest.raises(CommandError, match="Project p2 was not found"):
        shell.run(quotas.Show, "--project", "p2")
    for command in ((quotas.Set, "--project", "p1", "--cpu", "1"), (quotas.Unset, "--project", "p1"), (quotas.List,)):
        with pytest.raises(CommandError, match="does not allow this for your roles"):
            shell.run(*command)
    with pytest.raises(CommandError, match="--project: name the id of a project"):
        Shell(connect(cloud.stranger)).run(quotas.Show)
