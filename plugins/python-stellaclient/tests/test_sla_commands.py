"""`openstack slo sla`, `exclusion`, `correction`, `budget`, `attainment` and `violation show`, against the real API."""

import json
from pathlib import Path
from typing import Any

import pytest
from client_shell import Shell, connect
from osc_lib.exceptions import CommandError
from stellaclient.osc import budgets, exclusions, records, sla_reports, slas

from stella.api import times
from stella.cmd import stella_manage
from tests.functional.conftest import Agent, Cloud, uuid

GOLD = ("gold", "--target", "99.9%", "--time-zone", "Asia/Seoul", "--credit", "99.9%:10%", "--credit", "0.99:0.25")


@pytest.fixture(autouse=True)
def agent(cloud: Cloud) -> Agent:
    made = cloud.host("compute-1")
    made.add(uuid(1), name="web-1")
    made.add(uuid(2), name="web-2")
    assert made.report().status_code == 200
    return made


def use(cloud: Cloud, agent: Agent) -> int:
    """Ten minutes of demand with 6 s missed in the last; when they began."""
    start = int(cloud.clock.now) // 60 * 60
    seconds = [{"met": 60}] * 9 + [{"met": 54, "violated": 6}]
    rows = [
        {"uuid": uuid(1), "metric": "cpu", "start": start + 60 * n, "counts": counts}
        for n, counts in enumerate(seconds)
    ]
    cloud.clock.now = start + 600.0
    episode = {
        "id": "e1",
        "uuid": uuid(1),
        "metric": "cpu",
        "opened_at": start + 550,
        "cause": "cpu",
        "offender": uuid(2),
    }
    evidence = {"value": 0.2, "worst": 0.1, "missed_seconds": 6, "offender_used_cores": 0.9}
    assert agent.report(minutes=rows, violations=[{**episode, "evidence": evidence}]).status_code == 200
    return start


def test_create_show_set_list_delete(shell: Shell, operator: Shell) -> None:
    limits = ("--limit", "network_packets=1kpps+5kpps/vcpu", "--default", "network_packets=1kpps", "--objective", "cpu")
    made = operator.json(slas.Create, *GOLD, "--price", "49.90EUR", *limits)
    assert (made["name"], made["target"], made["unknown"], made["price"]) == ("gold", "0.999", "missed", "49.90")
    assert [tuple(step.values()) for step in made["credits"]] == [("0.999", "0.1"), ("0.99", "0.25")]
    assert made["objectives"] == {"network_packets": "limit 1kpps+5kpps/vcpu, default 1kpps", "cpu": "any"}
    operator.run(slas.Set, "gold", "--attach-project", "p1", "--attach-server", "web-1", "--attach-flavor", "large")
    assert operator.json(slas.Show, "gold")["attached_to"] == f"instance {uuid(1)}\nflavor large\nproject p1"
    assert shell.json(slas.Show, made["uuid"])["attached_to"] == "for operators"
    operator.run(
        slas.Set,
        "gold",
        "--detach-flavor",
        "large",
        "--detach-server",
        "web-1",
        "--target",
        "99.5%",
        "--credit",
        "none",
    )
    shown = operator.json(slas.Show, "gold")
    assert (shown["target"], shown["attached_to"]) == ("0.999", "project p1")
    assert shown["next_terms"].endswith(": 0.995"), "from the next month on"
    assert [row["name"] for row in shell.json(slas.List)] == ["gold"] and "below 99.9%: 10%" in shell.run(slas.List)
    with pytest.raises(CommandError, match="detach it first, or ask for detach"):
        operator.run(slas.Delete, "gold")
    operator.run(slas.Delete, "gold", "--detach")
    assert shell.json(slas.List) == []
    (past,) = shell.json(slas.List, "--withdrawn")
    assert past["uuid"] == made["uuid"] and past["withdrawn_at"] != "-"
    assert shell.json(sla_reports.Report, past["uuid"]) == []


def test_attainment_budget_and_report(
    cloud: Cloud, agent: Agent, shell: Shell, operator: Shell, tmp_path: Path, capsys: Any
) -> None:
    assert shell.json(budgets.ShowAttainment, "--server", "web-1") == []
    assert "under no SLA class" in shell.stderr.getvalue()
    operator.run(slas.Create, *GOLD, "--price", "49.90EUR")
    operator.run(slas.Set, "gold", "--attach-project", "p1")
    start = use(cloud, agent)
    (row,) = shell.json(budgets.ShowAttainment, "--server", "web-1")
    assert (row["attainment"], row["with_demand"], row["allowed"], row["used"], row["left"]) == (
        "0.990000",
        600,
        0,
        6,
        -6,
    )
    assert "99%" in shell.run(budgets.ShowAttainment, "--server", "web-1")
    (first, second) = shell.json(budgets.ListBudgets)
    assert (first["name"], first["worst"], first["credit"], first["at_stake"]) == ("web-1", "cpu", "4.99", "12.48")
    assert second["name"] == "web-2" and "4.99 EUR" in shell.run(budgets.ListBudgets, "--sla", "gold")
    window = ("--from", times.show(start + 540), "--to", times.show(start + 600), "--reason", "new kernel")
    made = operator.json(exclusions.CreateExclusion, "--host", "compute-1", *window)
    assert (made["scope"], made["target"], made["author"]) == ("host", "compute-1", "admin")
    assert shell.json(exclusions.ListExclusions)[0]["target"] is None
    (row,) = shell.json(budgets.ShowAttainment, "--server", "web-1")
    assert (row["attainment"], row["used"]) == ("1.000000", 0)
    gone = operator.json(exclusions.DeleteExclusion, str(made["id"]), "--reason", "put off")
    assert gone["withdrawn_reason"] == "put off"
    correct = ("--sla", "gold", "--period", "2026-11", "--server", "web-1", "--metric", "cpu", "--reason", "our sensor")
    fixed = operator.json(exclusions.CreateCorrection, *correct, "--seconds", "6", "--as", "violated:no_demand")
    assert shell.json(exclusions.ListCorrections, "--period", "2026-11")[0]["id"] == fixed["id"]
    path = tmp_path / "gold.json"
    (row,) = shell.json(sla_reports.Report, "gold", "--save", str(path))
    assert (row["attainment"], row["measured"], row["met"], row["owed"]) == ("1.000000", "0.990000", True, "0.00")
    assert "1 instances, 0 missed, credit 0.00 EUR; sha256" in shell.stderr.getvalue()
    assert stella_manage.main(["sla", "recompute", str(path)]) == 0 and "bit for bit" in capsys.readouterr().out
    assert json.loads(path.read_text())["corrections"][0]["author"] == "admin"
    for name, begin in (("gold.csv", "uuid,"), ("gold.html", "<!DOCTYPE html>")):
        shell.run(sla_reports.Report, "gold", "--save", str(tmp_path / name), "--period", "2026-11")
        assert (tmp_path / name).read_text().startswith(begin)
    operator.run(exclusions.DeleteCorrection, str(fixed["id"]), "--reason", "the other one")
    (row,) = shell.json(sla_reports.Report, "gold")
    assert row["owed"] == "4.99"


def test_a_violation_with_its_timeline(cloud: Cloud, agent: Agent, shell: Shell, operator: Shell) -> None:
    start = use(cloud, agent)
    (listed,) = shell.json(records.ListViolations)
    rows = shell.json(records.ShowViolation, str(listed["id"]))
    assert rows[-1]["minute"] == times.show(start + 540) and rows[-1]["missed_seconds"] == 6
    assert "offender" not in shell.stderr.getvalue() and "cause cpu" in shell.stderr.getvalue()
    operator.run(records.ShowViolation, str(listed["id"]))
    told = operator.stderr.getvalue()
    assert f"offender: web-2 ({uuid(2)})" in told and "offender_used_cores 0.9" in told and "on compute-1" in told
    (part,) = operator.json(records.ShowViolation, str(listed["id"]), "--parts")
    assert (part["host"], part["offender"], part["evidence"]["offender_used_cores"]) == ("compute-1", uuid(2), 0.9)
    (part,) = shell.json(records.ShowViolation, str(listed["id"]), "--parts")
    assert (part["host"], part["offender"], part["evidence"]) == (None, None, {"value": 0.2, "worst": 0.1})
    with pytest.raises(CommandError, match="Violation 99 was not found"):
        shell.run(records.ShowViolation, "99")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gold", "--target", "999"), "--target: '999' is not a share, such as 99.9%"),
        (("gold", "--target", "nan"), "--target: 'nan' is not a share"),
        (("gold", "--target", "99.99999999%"), "attainment_target_ratio"),
        (("gold", "--target", "99%", "--credit", "99%"), "--credit: '99%' is not BELOW:CREDIT"),
        (("gold", "--target", "99%", "--credit", "99.5%:10%"), "credits[0].below_ratio"),
        (("gold", "--target", "99%", "--price", "cheap"), "--price: 'cheap' is not an amount with a currency"),
        (("gold", "--target", "99%", "--limit", "cpu"), "--limit: 'cpu' is not METRIC=QUANTITY"),
        (("gold", "--target", "99%", "--limit", "gpu=1"), "--limit: there is no metric 'gpu'"),
        (("gold", "--target", "99%", "--limit", "cpu=5furlongs"), "--limit: '5furlongs' is not"),
        (("gold", "--target", "99%", "--time-zone", "Mars/Base"), "time_zone: 'Mars/Base' is not a time zone"),
        (("a b", "--target", "99%"), "name"),
    ],
)
def test_classes_that_cannot_be(operator: Shell, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError) as error:
        operator.run(slas.Create, *arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert operator.json(slas.List) == []


def test_what_is_not_there_or_not_allowed(cloud: Cloud, shell: Shell, operator: Shell) -> None:
    for command, message in (
        ((slas.Show, "silver"), "no SLA class is named 'silver'"),
        ((slas.Show, "../hosts"), "no SLA class is named '../hosts'"),
        ((slas.Show, uuid(9)), "was not found"),
        ((sla_reports.Report, "silver", "--save", "x.pdf"), "--save: 'x.pdf' must end with one of"),
        ((slas.Create, *GOLD), "does not allow this for your roles"),
        ((exclusions.DeleteExclusion, "7", "--reason", "work"), "does not allow this for your roles"),
    ):
        with pytest.raises(CommandError, match=message.replace("(", r"\(")):
            shell.run(*command)
    operator.run(slas.Create, *GOLD)
    with pytest.raises(CommandError, match="name what is to change"):
        operator.run(slas.Set, "gold")
    with pytest.raises(CommandError, match="it is not attached to project p9"):
        operator.run(slas.Set, "gold", "--detach-project", "p9")
    with pytest.raises(CommandError, match="--as: 'met' is not FROM:TO"):
        operator.run(
            exclusions.CreateCorrection, "--sla", "gold", "--period", "2026-11", "--server", "web-1", "--metric", "cpu",
            "--seconds", "5", "--as", "met", "--reason", "work",
        )  # fmt: skip
    assert Shell(connect(cloud.stranger)).json(budgets.ListBudgets) == []
