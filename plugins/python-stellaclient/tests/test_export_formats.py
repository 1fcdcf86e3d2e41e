"""OpenSLO, Sloth and Prometheus: what is made of an SLO, and what is read back."""

import copy
import re
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from stellaclient.export import openslo, prometheus, sloth
from stellaclient.export.guarantees import Guarantee, Terms, percent

from stella.model.attainment import Status
from stella.xgos.local_api.metric_catalogue import CATALOGUE
from tests.functional.conftest import uuid

URL = "http://prometheus.test:9090"
GOLD = Terms(sla="gold", target_ratio=Decimal("0.999"), unknown_missed=True, time_zone="Asia/Seoul")
LAX = Terms(sla="lax", target_ratio=Decimal("0.95"), unknown_missed=False, time_zone="UTC")
NONE = Terms(sla=None, target_ratio=Decimal("0.999"), unknown_missed=True, time_zone="UTC")


def guarantee(number: int = 1, terms: Terms = GOLD, **more: Any) -> Guarantee:
    objectives = {
        "network_packets": {"floor": 20000.0, "direction": "tx", "priority": 5},
        "cpu": {"ceiling": 1.5, "priority": 0},
        "block_latency": {"target": 0.005},
    }
    given = {"name": f"web-{number}", "project": "p1", "objectives": objectives, "added": objectives, **more}
    return Guarantee(uuid=uuid(number), terms=terms, **given)


NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
SPAN = {"type": "string", "pattern": "^[1-9][0-9]*[mhdwMQY]$"}
TEXT = {"type": "string", "maxLength": 1050}


def closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


SOURCE = closed(
    {
        "metricSource": closed(
            {"metricSourceRef": NAME, "type": {"const": "Prometheus"}, "spec": closed({"query": {"type": "string"}})}
        )
    }
)
CONDITION = closed(
    {
        "kind": {"const": "burnrate"},
        "op": {"enum": ["lte", "gte", "lt", "gt"]},
        "threshold": {"type": "number"},
        "lookbackWindow": SPAN,
    }
)
CALENDAR = closed({"startTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$"}, "timeZone": TEXT})
SPECS = {
    "DataSource": closed({"type": TEXT, "connectionDetails": {"type": "object"}}),
    "AlertNotificationTarget": closed({"target": TEXT}),
    "AlertCondition": closed({"severity": TEXT, "condition": CONDITION}),
    "AlertPolicy": closed(
        {
            "alertWhenBreaching": {"type": "boolean"},
            "conditions": {"type": "array", "items": closed({"conditionRef": NAME}), "minItems": 1, "maxItems": 1},
            "notificationTargets": {"type": "array", "items": closed({"targetRef": NAME}), "minItems": 1},
        }
    ),
    "Service": closed({}, {"description": TEXT}),
    "SLI": closed({"ratioMetric": closed({"counter": {"type": "boolean"}, "good": SOURCE, "total": SOURCE})}),
    "SLO": closed(
        {
            "service": NAME,
            "indicatorRef": NAME,
            "budgetingMethod": {"enum": ["Occurrences", "Timeslices", "RatioTimeslices"]},
            "timeWindow": {
                "type": "array",
                "items": closed({"duration": SPAN, "isRolling": {"const": False}, "calendar": CALENDAR}),
                "minItems": 1,
                "maxItems": 1,
            },
            "objectives": {
                "type": "array",
                "items": closed(
                    {"displayName": TEXT, "target": {"type": "number", "minimum": 0, "exclusiveMaximum": 1}}
                ),
                "minItems": 1,
            },
            "alertPolicies": {"type": "array", "items": closed({"alertPolicyRef": NAME})},
        },
        {"description": TEXT},
    ),
}
"""What OpenSLO v1 allows of each kind, as far as it is used."""
METADATA = closed(
    {"name": NAME},
    {
        "displayName": {"type": "string", "maxLength": 63},
        "labels": {
            "type": "object",
            "propertyNames": {"pattern": "^[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$"},
            "additionalProperties": {"type": "string"},
        },
        "annotations": {
            "type": "object",
            "propertyNames": {
                "pattern": "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$"
            },
            "additionalProperties": {"type": "string"},
        },
    },
)


def exported(*found: Guarantee) -> list[dict[str, Any]]:
    """As they are read from a file."""
    text = yaml.safe_dump_all(openslo.documents(found, prometheus_url=URL), sort_keys=False)
    return list(yaml.safe_load_all(text))


def test_openslo_is_openslo() -> None:
    long = guarantee(2, LAX, name="x" * 200, project="")
    documents = exported(guarantee(), long)
    assert {one["kind"] for one in documents} == set(SPECS)
    names = [(one["kind"], one["metadata"]["name"]) for one in documents]
    assert len(names) == len(set(names))
    for one in documents:
        schema = closed(
            {
                "apiVersion": {"const": "openslo/v1"},
                "kind": {"enum": [*SPECS]},
                "metadata": METADATA,
                "spec": SPECS[one["kind"]],
            }
        )
        Draft202012Validator(schema).validate(one)
        for key, kind in (("indicatorRef", "SLI"), ("service", "Service")):
            assert key not in one["spec"] or (kind, one["spec"][key]) in names
        for policy in one["spec"].get("alertPolicies", ()):
            assert ("AlertPolicy", policy["alertPolicyRef"]) in names


def test_openslo_says_what_the_sla_says() -> None:
    documents = {(one["kind"], one["metadata"]["name"]): one for one in exported(guarantee(), guarantee(2, LAX))}
    slo = documents["SLO", f"{uuid(1)}-network-packets"]
    assert slo["metadata"]["annotations"] == {
        "stella/floor": "20000",
        "stella/priority": "5",
        "stella/direction": "tx",
    }
    assert slo["metadata"]["labels"] == {"project": "p1", "sla": "gold"}
    assert slo["spec"]["objectives"][0]["target"] == 0.999
    assert slo["spec"]["timeWindow"][0]["calendar"]["timeZone"] == "Asia/Seoul"
    assert slo["spec"]["description"] == "99.9% of the seconds with demand: network_packets floor 20kpps"
    metric = documents["SLI", slo["spec"]["indicatorRef"]]["spec"]["ratioMetric"]
    seconds = f'stella_objective_windows_total{{uuid="{uuid(1)}",metric="network_packets",status'
    assert metric["good"]["metricSource"]["spec"]["query"] == f'sum({seconds}="MET"}})'
    assert metric["total"]["metricSource"]["spec"]["query"] == f'sum({seconds}=~"MET|VIOLATED|DEGRADED|UNKNOWN"}})'
    lax = documents["SLI", f"{uuid(2)}-network-packets"]["spec"]["ratioMetric"]["total"]
    assert "UNKNOWN" not in lax["metricSource"]["spec"]["query"], "this class ignores what is not known"
    assert ("SLO", f"{uuid(1)}-cpu") not in documents, "a ceiling cannot be missed"
    assert documents["Service", f"instance-{uuid(1)}"]["metadata"]["annotations"] == {
        "stella/cpu.ceiling": "1.5",
        "stella/cpu.priority": "0",
    }


def test_queries_are_of_the_agents_metrics() -> None:
    text = yaml.safe_dump_all(
        [*exported(guarantee()), *sloth.documents([guarantee()]), prometheus.rules([guarantee()])]
    )
    (family,) = (one for one in CATALOGUE if one.name == "stella_objective_windows_total")
    assert {"uuid", "metric", "status"} <= set(family.labels)
    assert set(re.findall(r"stella_objective\w+", text)) == {family.name}
    named = re.findall(r'status=~?"([A-Z_|]+)"', text)
    assert {word for one in named for word in one.split("|")} <= {status.value for status in Status}


def test_read_gives_back_what_was_written() -> None:
    one = guarantee()
    found = openslo.read(exported(one, guarantee(2, LAX)))
    assert not found.problems
    assert found.objectives[uuid(1)] == {
        "cpu": {"ceiling": "1.5", "priority": "0"},
        "network_packets": {"floor": "20000", "priority": "5", "direction": "tx"},
        "block_latency": {"target": "0.005"},
    }
    assert openslo.unsupported(exported(one), openslo.documents([one], prometheus_url="http://elsewhere")) == []


def test_what_a_flavor_sells_is_marked_and_not_read() -> None:
    added = {"block_latency": {"target": 0.005}}
    sold = guarantee(added=added)
    documents = exported(sold)
    assert openslo.without_flavor(openslo.read(documents).objectives[uuid(1)]) == {"block_latency": {"target": "0.005"}}
    slo = next(
        one for one in documents if one["metadata"]["name"].endswith("-network-packets") and one["kind"] == "SLO"
    )
    assert slo["metadata"]["annotations"]["stella/source"] == "flavor"
    slo["metadata"]["annotations"]["stella/floor"] = "30000"
    (line,) = openslo.unsupported(documents, openslo.documents([sold], prometheus_url=URL))
    assert line.endswith("metadata.annotations.stella/floor: 30000 is not supported; it is 20000")


def _slo(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return next(one for one in documents if one["kind"] == "SLO")


def _rolling(documents: list[dict[str, Any]]) -> None:
    _slo(documents)["spec"]["timeWindow"] = [{"duration": "30d", "isRolling": True}]


def _inline(documents: list[dict[str, Any]]) -> None:
    _slo(documents)["spec"]["indicator"] = {"metadata": {"name": "x"}}


SLO_NAME = f"SLO {uuid(1)}-block-latency"


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            _rolling,
            [
                f"{SLO_NAME}: spec.timeWindow[0].duration: 30d is not supported; it is 1M",
                f"{SLO_NAME}: spec.timeWindow[0].isRolling: True is not supported; it is False",
            ],
        ),
        (_inline, [f"{SLO_NAME}: spec.indicator: is not supported"]),
        (
            lambda documents: _slo(documents)["spec"]["objectives"][0].update(target=0.99),
            [f"{SLO_NAME}: spec.objectives[0].target: 0.99 is not supported; it is 0.999"],
        ),
        (
            lambda documents: _slo(documents)["spec"]["objectives"].append({"target": 0.5}),
            [f"{SLO_NAME}: spec.objectives[1]: is not supported"],
        ),
        (lambda documents: _slo(documents)["spec"].pop("objectives"), [f"{SLO_NAME}: spec.objectives: is missing"]),
        (
            lambda documents: _slo(documents)["metadata"]["annotations"].update({"owner": "web"}),
            [f"{SLO_NAME}: metadata.annotations.owner: is not supported"],
        ),
        (
            lambda documents: documents.append(
                {"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": "mine"}, "spec": {}}
            ),
            ["SLO mine: is not supported; Stella has no such SLO without stella/floor or stella/target"],
        ),
    ],
)
def test_what_is_not_supported_is_named(change: Callable[[Any], Any], lines: list[str]) -> None:
    documents = exported(guarantee())
    change(documents)
    assert openslo.unsupported(documents, openslo.documents([guarantee()], prometheus_url=URL)) == lines


def test_texts_for_people_may_be_changed() -> None:
    documents = exported(guarantee())
    _slo(documents)["spec"].update(description="ours", alertPolicies=[])
    _slo(documents)["metadata"]["displayName"] = "ours"
    calendar = _slo(documents)["spec"]["timeWindow"][0]["calendar"]
    calendar["startTime"] = yaml.safe_load("2000-01-01 00:00:00")  # without quotes YAML takes it for a date
    assert openslo.unsupported(documents, openslo.documents([guarantee()], prometheus_url=URL)) == []


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ("text", "document 1: is not one of openslo/v1"),
        ({"apiVersion": "openslo/v1alpha", "kind": "SLO", "metadata": {"name": "a"}, "spec": {}}, "document 1: is not"),
        ({"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": 7}, "spec": {}}, "document 1: is not one of"),
        (
            {"apiVersion": "openslo/v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {}},
            "Service web: metadata.name: must be instance- and the uuid",
        ),
        (
            {"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": "a"}, "spec": {"service": "web"}},
            "SLO a: spec.service: there is no such Service",
        ),
        (
            {"apiVersion": "openslo/v1", "kind": "Service", "metadata": {"name": f"instance-{uuid(1)}"}, "spec": {}},
            f"Service instance-{uuid(1)}: has no SLO",
        ),
    ],
)
def test_what_cannot_be_read_is_named(document: Any, line: str) -> None:
    (problem,) = openslo.read([document]).problems
    assert problem.startswith(line) and "\n" not in problem


def test_twice_in_the_file() -> None:
    documents = exported(guarantee())
    problems = openslo.read([*documents, *copy.deepcopy(documents)]).problems
    assert any("is in the file twice" in line for line in problems)
    assert any("there is already an objective of network_packets" in line for line in problems)


def test_sloth() -> None:
    (document,) = sloth.documents([guarantee(), guarantee(2, objectives={"cpu": {"weight": 2.0}}, added={})])
    slo = closed(
        {
            "name": {"type": "string", "pattern": "^[A-Za-z0-9][-A-Za-z0-9_.]*[A-Za-z0-9]$"},
            "objective": {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
            "description": TEXT,
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "sli": closed({"events": closed({"error_query": TEXT, "total_query": TEXT})}),
            "alerting": closed({"name": TEXT, "annotations": {"type": "object"}, "page_alert": {}, "ticket_alert": {}}),
        }
    )
    labels = {"type": "object", "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}}
    schema = closed(
        {
            "version": {"const": "prometheus/v1"},
            "service": {"type": "string"},
            "labels": labels,
            "slos": {"type": "array", "items": slo},
        }
    )
    Draft202012Validator(schema).validate(document)
    latency, packets = document["slos"]
    assert (latency["name"], packets["name"], packets["objective"]) == ("block-latency", "network-packets", 99.9)
    events = packets["sli"]["events"]
    assert 'status=~"VIOLATED|DEGRADED|UNKNOWN"}[{{.window}}]))' in events["error_query"]
    assert 'status=~"MET|VIOLATED|DEGRADED|UNKNOWN"}[{{.window}}]))' in events["total_query"]


def test_prometheus(tmp_path: Path) -> None:
    many = [guarantee(number, GOLD) for number in range(1, 251)]
    made = prometheus.rules([*many, guarantee(300, LAX), guarantee(301, NONE)])
    (group,) = made["groups"]
    assert [(rule["record"], rule["labels"]["sla"]) for rule in group["rules"]] == [
        *[("stella_sla:target_ratio", "gold"), ("stella_sla:unknown_missed", "gold")] * 2,
        ("stella_sla:target_ratio", "lax"),
        ("stella_sla:unknown_missed", "lax"),
    ]
    text = yaml.safe_dump(made)
    assert all(text.count(one.uuid) == 2 for one in many) and uuid(301) not in text
    assert [rule["expr"].partition(" ")[0] for rule in group["rules"][-2:]] == ["0.95", "0"]
    path = tmp_path / "terms.rules.yml"
    path.write_text(text)
    subprocess.run(["promtool", "check", "rules", str(path)], check=True, capture_output=True)


@pytest.mark.parametrize(("ratio", "shown"), [("0.999", "99.9"), ("0.9", "90"), ("0.999999", "99.9999"), ("0", "0")])
def test_percent_is_exact(ratio: str, shown: str) -> None:
    assert percent(Decimal(ratio)) == shown
