"""SLA classes through the API: a month in Seoul from minute rows to the credit, and again from the file alone."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from stella.api import times
from stella.api.schemas import budget as budget_schema
from stella.cmd import stella_manage
from stella.engine.duties import rollups, slas
from stella.sla import periods
from tests.functional.conftest import BOTH_DATABASES, Agent, Cloud, error, uuid
from tests.functional.engines import run_duties

pytestmark = BOTH_DATABASES
VM, OTHER, THIRD = uuid(1), uuid(2), uuid(3)
SEOUL = periods.month("2026-11", periods.zone("Asia/Seoul"))
DAY = 86_400
TERMS: dict[str, Any] = {
    "attainment_target_ratio": "0.999",
    "credits": [{"below_ratio": 0.999, "credit_ratio": 0.1}, {"below_ratio": "0.9", "credit_ratio": "0.5"}],
    "price": {"amount": "49.90", "currency": "EUR"},
}


@pytest.fixture
def agent(cloud: Cloud) -> Agent:
    cloud.clock.now = SEOUL.start + 1.0
    made = cloud.host("host1")
    made.add(VM)
    made.add(OTHER)
    made.add(THIRD, project="p2")
    assert made.report().status_code == 200
    return made


def gold(cloud: Cloud, **more: Any) -> str:
    body = {"name": "gold", "time_zone": "Asia/Seoul", "terms": TERMS, **more}
    answer = cloud.admin.ask("POST", "/v1/slas", json=body)
    assert answer.status_code == 201, answer.text
    found: str = answer.json["uuid"]
    return found


def attach(cloud: Cloud, sla: str, scope: str = "project", target: str = "p1", **more: Any) -> int:
    answer = cloud.admin.ask("POST", f"/v1/slas/{sla}/attachments", json={"scope": scope, "target": target, **more})
    assert answer.status_code == 201, answer.text
    number: int = answer.json["id"]
    return number


def minute(start: int, vm: str = VM, metric: str = "cpu", **counts: int) -> dict[str, Any]:
    return {
        "uuid": vm,
        "metric": metric,
        "start": start,
        "counts": counts,
        "causes": {"cpu": counts.get("violated", 0)},
    }


def send(cloud: Cloud, agent: Agent, rows: list[dict[str, Any]]) -> None:
    cloud.clock.now = max(cloud.clock.now, max(row["start"] for row in rows) + 61.0)
    for first in range(0, len(rows), 2000):
        answer = agent.report(minutes=rows[first : first + 2000])
        assert answer.status_code == 200, answer.text


def report(user: Any, sla: str, **query: str) -> dict[str, Any]:
    answer = user.get(f"/v1/slas/{sla}/report", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_a_month_in_seoul_from_minutes_to_the_credit(cloud: Cloud, agent: Agent, tmp_path: Path, capsys: Any) -> None:
    """Demand in 100 minutes at both ends of the month and in the middle; a minute before and after it belongs to other months.

    VM, cpu: 100 minutes x 60 s = 6000 s with demand, 5 minutes of them with 10 s violated: 5950 met, 50 missed, 0.991666: 10 %.
    A maintenance takes 4 of these 5 minutes out, 240 s of which 40 were missed: 5750 met, 10 missed of 5760 (allowed 5): 0.998263.
    The correction counts 6 violated seconds as met: 5756 met, 4 missed, allowed 5: met, nothing is owed.
    OTHER is idle and then unknown for a minute: nothing of 60 met: 50 % of 49.90.
    """
    sla = gold(cloud)
    attach(cloud, sla)
    middle = SEOUL.start + 15 * DAY
    starts = [SEOUL.start + 60 * n for n in range(30)] + [middle + 60 * n for n in range(40)]
    starts += [SEOUL.end - 60 * (n + 1) for n in range(30)]
    window = {"start": times.show(middle + 60), "until": times.show(middle + 300), "scope": "host", "target": "host1"}
    excluded = cloud.admin.ask("POST", "/v1/exclusions", json={**window, "kind": "maintenance", "reason": "new kernel"})
    assert excluded.status_code == 201, excluded.text
    missed = [middle + 60 * n for n in range(5)]
    rows = [minute(s, met=50, violated=10) if s in missed else minute(s, met=60) for s in sorted(starts)]
    rows += [minute(s, OTHER, no_demand=60) for s in starts[:10]] + [minute(middle, OTHER, unknown=60)]
    rows += [minute(middle, THIRD, violated=60)]
    send(cloud, agent, [minute(SEOUL.start - 60, violated=60)])
    for first in range(0, len(rows), 20):
        send(cloud, agent, sorted(rows, key=lambda row: row["start"])[first : first + 20])
    send(cloud, agent, [minute(SEOUL.end, violated=60)])
    correction = {
        "sla": sla,
        "period": "2026-11",
        "uuid": VM,
        "metric": "cpu",
        "seconds": 6,
        "source": "violated",
        "target": "met",
    }
    before = report(cloud.member, sla, period="2026-11")
    assert before["results"][0]["attainment_ratio"] == "0.998263" and not before["period"]["final"]
    assert cloud.admin.ask("POST", "/v1/corrections", json={**correction, "reason": "our sensor"}).status_code == 201

    told = report(cloud.member, sla, period="2026-11")
    (first, second) = told["results"]
    assert (first["attainment_ratio_measured"], first["credit_ratio_measured"]) == ("0.991666", "0.1")
    (cpu,) = first["objectives"]
    assert (cpu["attainment_ratio_without_exclusions"], cpu["met_seconds"], cpu["missed_seconds"]) == (
        "0.998263",
        5756,
        4,
    )
    assert (first["is_met"], first["credit_amount"]) == (True, "0.00")
    assert (second["attainment_ratio"], second["credit_ratio"], second["credit_amount"]) == ("0.000000", "0.5", "24.95")
    assert (told["totals"]["credit_amount"], told["totals"]["currency"]) == ("24.95", "EUR")
    assert [one["author"] for one in (*told["exclusions"], *told["corrections"])] == ["admin", "admin"]
    assert told["exclusions"][0]["target"] is None, "hosts are for operators"
    assert len(report(cloud.admin, sla, period="2026-11")["results"]) == 2, "the other project has no class"
    assert report(cloud.stranger, sla, period="2026-11")["rollups"] == []

    run_duties(cloud, (rollups.DUTY,))
    assert report(cloud.member, sla, period="2026-11")["results"] == told["results"], "from hours and days"
    cloud.clock.now = SEOUL.end + 8.5 * DAY
    run_duties(cloud, (slas.DUTY,))
    final = report(cloud.member, sla, period="2026-11")
    assert final["period"]["final"] and final["results"] == told["results"] and final["rollups"] == told["rollups"]
    late = cloud.admin.ask("DELETE", f"/v1/exclusions/{excluded.json['id']}", query_string="reason=too late")
    assert "correct the report" in error(late, 409)["detail"]

    path = tmp_path / "report.json"
    path.write_text(cloud.member.get(f"/v1/slas/{sla}/report", params={"period": "2026-11"}).text)
    assert stella_manage.main(["sla", "recompute", str(path)]) == 0
    assert "credit 24.95 EUR\nthe report says the same, bit for bit" in capsys.readouterr().out
    path.write_text(path.read_text().replace('"24.95"', '"0.00"'))
    assert stella_manage.main(["sla", "recompute", str(path)]) == 1
    assert "sha256: the report says" in capsys.readouterr().err
    for bad in ("[]", "{", '{"format": 1.5}'):
        path.write_text(bad)
        assert stella_manage.main(["sla", "recompute", str(path)]) == 1
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_report_for_a_spreadsheet_and_for_the_printer(cloud: Cloud, agent: Agent) -> None:
    agent.instances[VM]["name"] = "=cmd|<script>alert(1)</script>"
    sla = gold(cloud)
    attach(cloud, sla)
    send(cloud, agent, [minute(SEOUL.start + 60, met=59, violated=1)])
    answer = cloud.member.get(f"/v1/slas/{sla}/report", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    (line,) = csv.DictReader(io.StringIO(answer.text))
    assert (line["name"], line["attainment_ratio"]) == ("'=cmd|<script>alert(1)</script>", "0.983333")
    assert (line["instance_credit_amount"], line["currency"], line["is_met"]) == ("4.99", "EUR", "false")
    page = cloud.member.get(f"/v1/slas/{sla}/report", params={"format": "html"})
    assert (
        page.headers["content-type"].startswith("text/html")
        and "default-src 'none'" in page.headers["content-security-policy"]
    )
    assert "<script>" not in page.text and "&lt;script&gt;" in page.text and "98.3333 %" in page.text
    assert report(cloud.member, sla)["sha256"] in page.text
    assert error(cloud.member.get(f"/v1/slas/{sla}/report", params={"format": "pdf"}), 400)["field"] == "format"
    assert error(cloud.member.get(f"/v1/slas/{sla}/report", params={"period": "2026-12"}), 400)["field"] == "period"
    assert error(cloud.member.get(f"/v1/slas/{sla}/report", params={"period": "november"}), 400)["field"] == "period"


def test_terms_count_from_the_next_period_on(cloud: Cloud, agent: Agent) -> None:
    sla = gold(cloud)
    first = cloud.admin.ask(
        "PATCH", f"/v1/slas/{sla}", json={"terms": {"attainment_target_ratio": 0.95}, "generation": 1}
    )
    assert first.json["terms"]["attainment_target_ratio"] == "0.95" and first.json["next_terms"] is None, (
        "not attached yet"
    )
    attach(cloud, sla)
    body = {"terms": {"attainment_target_ratio": "0.5"}, "name": "golden"}
    assert error(cloud.admin.ask("PATCH", f"/v1/slas/{sla}", json={**body, "generation": 1}), 409)["generation"] == 2
    changed = cloud.admin.ask("PATCH", f"/v1/slas/{sla}", json=body, headers={"If-Match": '"2"'}).json
    assert (changed["name"], changed["terms"]["attainment_target_ratio"]) == ("golden", "0.95")
    assert changed["next_terms"]["attainment_target_ratio"] == "0.5"
    assert changed["next_terms_from"] == "2026-11-30T15:00:00Z"
    cloud.clock.now = SEOUL.end + 5.0
    now = cloud.reader.get(f"/v1/slas/{sla}").json
    assert (now["terms"]["attainment_target_ratio"], now["next_terms"]) == ("0.5", None)
    assert report(cloud.member, sla, period="2026-11")["terms"]["attainment_target_ratio"] == "0.95"
    assert report(cloud.member, sla)["terms"]["attainment_target_ratio"] == "0.5"


def test_the_most_specific_attachment_counts_from_its_minute_on(cloud: Cloud, agent: Agent) -> None:
    sla, silver = gold(cloud), gold(cloud, name="silver")
    attach(cloud, sla)
    send(cloud, agent, [minute(SEOUL.start + 60, met=60), minute(SEOUL.start + 120, met=60)])
    own = attach(cloud, silver, "instance", VM.upper())
    send(cloud, agent, [minute(SEOUL.start + 180 + 60 * n, met=60) for n in range(3)])
    assert cloud.admin.ask("DELETE", f"/v1/slas/{silver}/attachments/{own}").status_code == 204
    send(cloud, agent, [minute(SEOUL.start + 360 + 60 * n, met=60) for n in range(4)])
    sums = [report(cloud.member, one)["totals"]["met_seconds"] for one in (sla, silver)]
    assert sums == [6 * 60, 3 * 60]
    (row, _) = cloud.member.get("/v1/budgets", params={"sort": "left_ratio"}).json["budgets"]
    assert row["sla"]["name"] == "gold" and row["objectives"][0]["with_demand_seconds"] == 360
    again = {"scope": "project", "target": "p1"}
    assert error(cloud.admin.ask("POST", f"/v1/slas/{silver}/attachments", json=again), 409)["field"] == "target"
    attach(cloud, silver, replace=True)
    assert cloud.admin.get(f"/v1/slas/{sla}/attachments").json["attachments"] == []
    assert error(cloud.admin.ask("DELETE", f"/v1/slas/{silver}"), 409)["code"] == "stella.sla.attached"
    assert cloud.admin.ask("DELETE", f"/v1/slas/{silver}", query_string="detach=true").status_code == 204
    assert [one["name"] for one in cloud.reader.get("/v1/slas").json["slas"]] == ["gold"]
    assert gold(cloud, name="silver") != silver, "its name is free"
    assert cloud.reader.get(f"/v1/slas/{silver}").json["withdrawn_at"] is not None
    kinds = cloud.admin.get("/v1/decisions", query_string="kind=sla").json["decisions"]
    assert kinds[0]["reason"] == "SLA class silver created" and len(kinds) == 8
    assert kinds[2]["reason"] == "SLA class silver attached to project p1, in place of gold"
    assert kinds[1]["reason"] == "SLA class silver withdrawn, detached from 1"


def test_budget_burn_and_what_is_at_stake(cloud: Cloud, agent: Agent) -> None:
    sla = gold(cloud)
    attach(cloud, sla)
    rows = [minute(SEOUL.start + 60 * n, met=60) for n in range(1, 1000)]
    send(cloud, agent, rows)
    run_duties(cloud, (rollups.DUTY,))
    last = SEOUL.start + 60_000
    send(cloud, agent, [minute(last + 60 * n, met=57, violated=3) for n in range(5)])
    cloud.clock.now = last + 300.0
    found = cloud.member.get(f"/v1/instances/{VM}/budget").json
    (cpu,) = found["objectives"]
    # 1004 minutes: 60 240 s with demand, 60 allowed, 15 used; in 6 hours 360 minutes: 21 600 s, 15 missed
    assert [cpu[f"{name}_seconds"] for name in ("with_demand", "allowed", "used", "left")] == [60_240, 60, 15, 45]
    assert cpu["burn_rates"] == {"5m": 50.0, "1h": 4.167, "6h": 0.694, "3d": 0.249}
    assert cpu["exhausted_at"] is None and (found["left_seconds"], found["left_ratio"]) == (45, 0.75)
    assert (found["credit_amount"], found["next_credit"]["credit_amount"]) == ("0.00", "4.99")
    assert found["next_credit"]["left_seconds"] == 60_225_000 // 999 - 60_240
    assert error(cloud.stranger.get(f"/v1/instances/{VM}/budget"), 404)
    listed = cloud.member.get("/v1/budgets").json["budgets"]
    assert [row["uuid"] for row in listed] == [VM, OTHER], "what had no demand comes last"
    assert listed[1]["left_ratio"] is None and listed[1]["objectives"] == []
    turned = cloud.member.get("/v1/budgets", params={"sort": "left_ratio:desc"}).json["budgets"]
    assert [row["uuid"] for row in turned] == [VM, OTHER], "in this order too"
    assert cloud.stranger.get("/v1/budgets").json["budgets"] == []
    assert error(cloud.member.get(f"/v1/instances/{THIRD}/budget"), 404)
    window = {"scope": "instance", "target": VM, "start": times.show(last), "until": times.show(last + 300)}
    made = cloud.admin.ask(
        "POST", "/v1/exclusions", json={**window, "kind": "tenant", "reason": "a test of theirs"}
    ).json
    (cpu,) = cloud.member.get(f"/v1/instances/{VM}/budget").json["objectives"]
    assert (cpu["used_seconds"], cpu["burn_rates"]["5m"]) == (0, None)
    withdrawn = cloud.admin.ask("DELETE", f"/v1/exclusions/{made['id']}", query_string="reason=the wrong one").json
    assert (withdrawn["withdrawn_by"], withdrawn["withdrawn_reason"]) == ("admin", "the wrong one")
    (cpu,) = cloud.member.get(f"/v1/instances/{VM}/budget").json["objectives"]
    assert cpu["used_seconds"] == 15
    assert report(cloud.member, sla)["exclusions"] == [withdrawn], "withdrawn, and still shown"
    assert error(cloud.admin.ask("DELETE", f"/v1/exclusions/{made['id']}", query_string="reason=again"), 409)


def test_a_list_of_too_many_budgets_names_the_most_of_all_classes(
    cloud: Cloud, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach(cloud, gold(cloud))
    attach(cloud, gold(cloud, name="silver"), target="p2")
    cloud.clock.now += 120.0
    monkeypatch.setattr(budget_schema, "LARGEST_LISTED", 2)
    answer = cloud.admin.get("/v1/budgets")
    assert error(answer, 400)["detail"] == "project: more than 2 instances are meant; name one project."
    assert len(cloud.admin.get("/v1/budgets", params={"project": "p1"}).json["budgets"]) == 2


def test_a_class_says_what_an_slo_may_ask_for(cloud: Cloud, agent: Agent) -> None:
    allowed = {
        "cpu": {"limit": {"per_vcpu": "20%"}, "default": "10%"},
        "block_bytes": {"limit": {"per_disk_gib": "1MB/s"}},
    }
    sla = gold(cloud, objectives=allowed)
    assert cloud.member.put_slo(VM, {"network_packets": {"floor": 1000}}).status_code == 201
    attach(cloud, sla)
    shown = cloud.member.get(f"/v1/instances/{VM}/budget").json
    assert shown["limits"] == {"cpu": 0.2, "block_bytes": 0.0} and shown["default_objectives"] == {
        "cpu": {"floor": 0.1}
    }
    refused = error(cloud.member.put_slo(VM, {"cpu": {"floor": 0.3}}, generation=1), 422)
    assert (refused["code"], refused["field"], refused["largest"]) == (
        "stella.sla.not_allowed",
        "objectives.cpu.floor",
        {"cpu": 0.2},
    )
    refused = error(
        cloud.member.put_slo(VM, {"network_packets": {"floor": 2000}, "network_bytes": {"floor": 1000}}, generation=1),
        422,
    )
    assert refused["field"] == "objectives.network_packets" and "it has: block_bytes, cpu" in refused["detail"]
    kept = cloud.member.put_slo(VM, {"network_packets": {"floor": 1000}, "cpu": {"floor": "20%"}}, generation=1)
    assert kept.status_code == 200, "it keeps what it has"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"name": "a b"}, "name"),
        ({"terms": {}}, "terms"),
        ({"terms": {"attainment_target_ratio": 99.9}}, "terms.attainment_target_ratio"),
        ({"terms": {"attainment_target_ratio": "99.9"}}, "terms.attainment_target_ratio"),
        ({"terms": {**TERMS, "unknown": "met"}}, "terms.unknown"),
        ({"terms": {**TERMS, "price": {"amount": "1.23456", "currency": "EUR"}}}, "terms.price.amount"),
        ({"terms": {**TERMS, "credits": TERMS["credits"][::-1]}}, "terms.credits[0].below_ratio"),
        ({"objectives": {"cpu": {"limit": "5furlongs"}}}, "objectives.cpu.limit"),
        ({"objectives": {"gpu": {}}}, "objectives"),
        ({"more": 1}, "body"),
    ],
)
def test_classes_that_cannot_be(cloud: Cloud, changes: dict[str, Any], field: str) -> None:
    body = {"name": "gold", "time_zone": "Asia/Seoul", "terms": TERMS, **changes}
    found = error(cloud.admin.ask("POST", "/v1/slas", json=body), 400)
    if field in ("terms.credits[0].below_ratio",):
        field = "terms.credits[1].below_ratio"
    assert found["field"] == field and "\n" not in found["detail"]
    assert cloud.admin.get("/v1/slas").json["slas"] == []


def test_a_name_is_used_once(cloud: Cloud) -> None:
    gold(cloud)
    again = cloud.admin.ask("POST", "/v1/slas", json={"name": "gold", "terms": TERMS})
    assert error(again, 409)["code"] == "stella.sla.name_in_use"


def test_exclusions_and_corrections_that_cannot_be(cloud: Cloud, agent: Agent) -> None:
    sla, now = gold(cloud), int(SEOUL.start) + 20 * DAY
    cloud.clock.now = float(now)
    attach(cloud, sla)
    window = {
        "kind": "maintenance",
        "scope": "all",
        "reason": "work",
        "start": times.show(now),
        "until": times.show(now + 60),
    }
    for changes, field in (
        ({"kind": "holiday"}, "kind"),
        ({"scope": "host"}, "target"),
        ({"target": "host1"}, "target"),
        ({"scope": "host", "target": "host9"}, "target"),
        ({"scope": "instance", "target": uuid(99)}, "target"),
        ({"scope": "instance", "target": "vm"}, "target"),
        ({"start": times.show(now + 1)}, "start"),
        ({"start": times.show(now - 8 * DAY)}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"until": times.show(now)}, "until"),
        ({"until": times.show(now + 32 * DAY)}, "until"),
        ({"reason": ""}, "reason"),
        ({"reason": "a\nb"}, "reason"),
    ):
        found = error(cloud.admin.ask("POST", "/v1/exclusions", json={**window, **changes}), 400)
        assert found["field"] == field, (changes, found)
    body = {
        "sla": sla,
        "period": "2026-11",
        "uuid": VM,
        "metric": "cpu",
        "seconds": 5,
        "source": "met",
        "target": "violated",
    }
    for changes, field in (
        ({"target": "met"}, "target"),
        ({"uuid": uuid(99)}, "uuid"),
        ({"uuid": THIRD}, "uuid"),
        ({"period": "2026-12"}, "period"),
        ({"period": "2026-13"}, "period"),
        ({"seconds": 0}, "seconds"),
        ({"source": "happy"}, "source"),
    ):
        found = error(cloud.admin.ask("POST", "/v1/corrections", json={**body, "reason": "work", **changes}), 400)
        assert found["field"] == field, (changes, found)
    assert error(cloud.admin.ask("DELETE", "/v1/exclusions/7", query_string="reason=work"), 404)
    made = cloud.admin.ask("POST", "/v1/exclusions", json=window).json
    assert error(cloud.admin.ask("DELETE", f"/v1/exclusions/{made['id']}"), 400)["field"] == "reason"


def test_a_violation_with_its_timeline(cloud: Cloud, agent: Agent) -> None:
    at = SEOUL.start + 3600
    cloud.clock.now = at + 100.0
    episode = {
        "id": "e1",
        "uuid": VM,
        "metric": "cpu",
        "opened_at": at,
        "closed_at": at + 70,
        "cause": "cpu",
        "offender": OTHER,
    }
    evidence = {
        "value": 0.5,
        "worst": 0.1,
        "missed_seconds": 60,
        "offender_used_cores": 0.9,
        "offender_entitled_cores": 0.2,
    }
    rows = [minute(at + 60 * n, met=0, violated=60) for n in (0, 1)] + [
        minute(at - 3600, met=60),
        minute(at, OTHER, met=60),
    ]
    assert agent.report(violations=[{**episode, "evidence": evidence}], minutes=rows).status_code == 200
    (listed,) = cloud.member.get("/v1/violations").json["violations"]
    seen = cloud.member.get(f"/v1/violations/{listed['id']}").json
    assert [one["start"] for one in seen["timeline"]] == [times.show(at), times.show(at + 60)]
    assert seen["timeline"][0]["seconds"]["violated"] == 60 and seen["timeline"][0]["causes"] == {"cpu": 60}
    assert (seen["cause"], seen["offender"], seen["parts"][0]["host"]) == ("cpu", None, None)
    assert seen["parts"][0]["evidence"] == {"value": 0.5, "worst": 0.1}
    known = cloud.admin.get(f"/v1/violations/{listed['id']}").json
    assert (known["offender"], known["parts"][0]["host"]) == (OTHER, "host1")
    assert known["parts"][0]["evidence"]["offender_used_cores"] == 0.9
    assert error(cloud.stranger.get(f"/v1/violations/{listed['id']}"), 404)
    assert json.dumps(known).count("host1") == 2
