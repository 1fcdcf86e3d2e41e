"""The rules of etc/prometheus under promtool: made-up hours, and which alerts fire in them."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from stellaclient.export import prometheus
from stellaclient.export.guarantees import Guarantee, Terms

from stella.model.attainment import Status
from tests.functional.conftest import uuid

RULES = Path(__file__).parents[2] / "etc" / "prometheus"
HOST = "10.0.0.1:9817"
MINUTES = 180


def text(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


@dataclass
class Hours:
    """Series by the minute, and what is asked of them."""

    name: str
    minutes: int = MINUTES
    series: list[dict[str, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    def add(self, family: str, values: str, **labels: str) -> "Hours":
        """``values`` as promtool writes them."""
        self.series.append({"series": family + text({"instance": HOST, "job": "xgos", **labels}), "values": values})
        return self

    def instance(self, number: int, *parts: tuple[int, Mapping[Status, float]], host: str = HOST) -> "Hours":
        """An instance with a floor of CPU: for so many minutes so many seconds of each status a minute, again and again."""
        labels = {"uuid": uuid(number), "name": f"web-{number}", "project": "p1", "instance": host}
        for status in Status:
            at, values = 0.0, []
            for minutes, seconds in parts:
                values.append(f"{at:g}+{seconds.get(status, 0):g}x{minutes - 1}")
                at += seconds.get(status, 0) * minutes
            self.add("stella_objective_windows_total", " ".join(values), metric="cpu", status=status.value, **labels)
        return self.add("stella_instance_managed", f"1x{self.minutes}", **labels)

    def ask(self, minute: int, expression: str, *found: tuple[Mapping[str, str], float]) -> "Hours":
        samples = [{"labels": text(labels), "value": value} for labels, value in found]
        self.asked.append({"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples})
        return self

    def firing(self, minute: int, *alerts: str) -> "Hours":
        """Exactly these alerts fire then; one that fires for several instances counts once."""
        expression = 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0'
        return self.ask(minute, expression, *(({"alertname": name}, 1.0) for name in sorted(alerts)))

    def show(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "interval": "1m",
            "input_series": self.series,
            "promql_expr_test": self.asked,
            "alert_rule_test": self.told,
        }


def promtool(directory: Path, hours: Sequence[Hours], *rule_files: Path) -> None:
    """Raises AssertionError with all that promtool says."""
    path = directory / "test.yml"
    document = {
        "rule_files": [str(file) for file in rule_files],
        "evaluation_interval": "1m",
        "tests": [one.show() for one in hours],
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def missing(seconds: float) -> dict[Status, float]:
    """A minute in which all seconds have demand."""
    return {Status.MET: 60 - seconds, Status.VIOLATED: seconds}


FAST, MIDDLE, SLOW = "StellaBudgetBurnsFast", "StellaBudgetBurns", "StellaBudgetBurnsSlowly"
GOOD, BAD = missing(0), missing(60)
IDLE = {Status.NO_DEMAND: 60}
LATE = 100
BURN = "stella_objective:burn_rate:"
KEY = {"uuid": uuid(1), "metric": "cpu"}


def test_budgets_that_burn(tmp_path: Path) -> None:
    hours = [
        Hours("never missed").instance(1, (MINUTES, GOOD)).firing(LATE),
        Hours("an outage of ten minutes fires within two, and pages until five minutes after its end")
        .instance(1, (120, GOOD), (10, BAD), (50, GOOD))
        .firing(119)
        .firing(122, FAST)
        .firing(129, FAST, MIDDLE, SLOW)
        .firing(137, MIDDLE, SLOW)  # the last 5 minutes were good, the last 30 were not
        .firing(170, SLOW),
        Hours("1 % is 10 times too fast")
        .instance(1, (MINUTES, missing(0.6)))
        .ask(LATE, f"round({BURN}1h, 0.01)", (KEY, 10.0))
        .ask(LATE, f"round({BURN}3d, 0.01)", (KEY, 10.0))
        .firing(LATE, MIDDLE, SLOW),
        Hours("0.3 % is 3 times too fast").instance(1, (MINUTES, missing(0.18))).firing(LATE, SLOW),
        Hours("0.05 % is what the target allows").instance(1, (MINUTES, missing(0.03))).firing(LATE),
        Hours("an idle hour neither earns nor burns: the same 1 %")
        .instance(1, (40, missing(0.6)), (40, IDLE), (100, missing(0.6)))
        .ask(LATE, f"round({BURN}6h, 0.1)", (KEY, 10.0))
        .firing(LATE, MIDDLE, SLOW),
        Hours("without demand there is no rate").instance(1, (MINUTES, IDLE)).ask(LATE, f"{BURN}1h").firing(LATE),
        Hours("three seconds of demand, all missed, page nobody")
        .instance(1, (20, IDLE), (1, {Status.DEGRADED: 3}), (159, IDLE))
        .ask(23, f"round({BURN}5m)", (KEY, 1000.0))
        .firing(26),
        Hours("what is not known counts as missed")
        .instance(1, (40, GOOD), (10, {Status.UNKNOWN: 60}), (130, GOOD))
        .firing(46, FAST, MIDDLE, SLOW),
        Hours("an instance that moved counts on both hosts")
        .instance(1, (60, GOOD), (MINUTES - 60, IDLE))
        .instance(1, (60, IDLE), (MINUTES - 60, BAD), host="10.0.0.2:9817")
        .ask(90, f"round({BURN}1h / 50)", (KEY, 10.0))  # half of the hour
        .firing(66, FAST, MIDDLE, SLOW),
    ]
    promtool(tmp_path, hours, RULES / "xgos.rules.yml")


def test_what_an_alert_says(tmp_path: Path) -> None:
    hours = Hours("120 of 3600 s are 33.3 times too many").instance(1, (120, GOOD), (60, BAD))
    where = {"name": "web-1", "project": "p1", "instance": HOST}
    summary = f"web-1 ({uuid(1)}) uses up its error budget of cpu 33.3 times too fast."
    description = f"Host {HOST}. The cause: openstack slo violation list --server {uuid(1)} --open"
    alert = {
        "exp_labels": {"severity": "critical", "window": "1h", **KEY, **where},
        "exp_annotations": {"summary": summary, "description": description},
    }
    hours.told.append({"eval_time": "122m", "alertname": FAST, "exp_alerts": [alert]})
    promtool(tmp_path, [hours], RULES / "xgos.rules.yml")


def test_the_terms_of_sla_classes(tmp_path: Path) -> None:
    def guarantee(number: int, target: str, *, unknown_missed: bool) -> Guarantee:
        terms = Terms(sla=f"sla-{number}", target_ratio=Decimal(target), unknown_missed=unknown_missed, time_zone="UTC")
        return Guarantee(uuid=uuid(number), name="", project="", terms=terms, objectives={}, added={})

    exported = tmp_path / "terms.rules.yml"
    guarantees = [guarantee(1, "0.95", unknown_missed=False), guarantee(2, "0.99", unknown_missed=True)]
    exported.write_text(yaml.safe_dump(prometheus.rules(guarantees)))
    half = {Status.MET: 54, Status.UNKNOWN: 3, Status.VIOLATED: 3}
    hours = Hours("each by its class")
    for number in (1, 2, 3):
        hours.instance(number, (MINUTES, half))
    missed = {1: 3 / 57 / 0.05, 2: 6 / 60 / 0.01, 3: 6 / 60 / 0.001}
    rates = ((KEY | {"uuid": uuid(number)}, round(rate, 2)) for number, rate in missed.items())
    hours.ask(LATE, f"round({BURN}1h, 0.01)", *rates)
    firing = 'count by (alertname) (ALERTS{alertstate="firing",alertname=~"StellaBudget.*"})'
    hours.ask(LATE, firing, *(({"alertname": name}, count) for name, count in ((FAST, 1), (MIDDLE, 2), (SLOW, 3))))
    promtool(tmp_path, [hours], exported, RULES / "xgos.rules.yml")


def test_a_host_that_threatens_many(tmp_path: Path) -> None:
    many = "StellaHostThreatensMany"
    three = Hours("three of three")
    for number in (1, 2, 3):
        three.instance(number, (20, GOOD), (5, missing(6)), (155, GOOD))
        labels = {"uuid": uuid(number), "metric": "cpu", "kind": "floor", "cause": "cpu" if number > 1 else "block"}
        three.add("stella_objective_cause", f"1x{MINUTES}", **labels)
    three.ask(24, "stella_host:instances_missing:5m + 0", ({"instance": HOST}, 3.0))
    three.told.append(
        {
            "eval_time": "24m",
            "alertname": many,
            "exp_alerts": [
                {
                    "exp_labels": {"severity": "critical", "instance": HOST},
                    "exp_annotations": {
                        "summary": f"3 instances on host {HOST} missed objectives in the last 5 minutes.",
                        "description": "Most often because of: cpu. Who: openstack slo violation list --host HOST --open",
                    },
                }
            ],
        }
    )
    three.ask(40, f'ALERTS{{alertname="{many}"}}')
    two, few = Hours("two of two"), Hours("three of forty")
    for number in range(1, 41):
        few.instance(number, (MINUTES, missing(6) if number <= 3 else GOOD))
    for number in (1, 2):
        two.instance(number, (MINUTES, missing(6)))
    for hours in (two, few):
        hours.ask(20, f'ALERTS{{alertname="{many}"}}')
    promtool(tmp_path, [three, two, few], RULES / "xgos.rules.yml")


def test_hosts_and_agents(tmp_path: Path) -> None:
    """Each alert alone, and none of them where all is well."""
    well = {
        "up": "1x99",
        "stella_agent_last_tick_timestamp_seconds": "0+60x99",
        "stella_agent_link_connected": "1x99",
        "stella_agent_state_persisted": "1x99",
        "stella_agent_outbox_dropped_rows_total": "0x99",
        "stella_sensor_success": "1x99",
        "stella_host_cpu_reserved_cores": "3x99",
        "stella_host_cpu_capacity_cores": "3x99",
    }
    ill = {
        "StellaAgentDown": {"up": "1x50 0x48"},
        "StellaAgentStopped": {"stella_agent_last_tick_timestamp_seconds": "0+60x50 3000x48"},
        "StellaAgentNotLinked": {"stella_agent_link_connected": "1x50 0x48"},
        "StellaStateNotPersisted": {"stella_agent_state_persisted": "1x50 0x48"},
        "StellaReportsDropped": {"stella_agent_outbox_dropped_rows_total": "0x50 7x48"},
        "StellaSensorFails": {"stella_sensor_success": "1x50 0x48"},
        "StellaHostOverCapacity": {"stella_host_cpu_capacity_cores": "3x50 2.5x48"},
    }
    hours = []
    for alert, series in {"": {}, **ill}.items():
        one = Hours(alert or "all is well", minutes=99)
        for name, values in {**well, **series}.items():
            one.add(name, values)
        hours.append(one.firing(48).firing(65, *filter(None, [alert])))
    for mode, managed, expected in (("observe", 1, ["StellaHostOnlyObserves"]), ("observe", 0, []), ("enforce", 1, [])):
        one = Hours(f"{mode}, {managed} managed", minutes=99).add("stella_agent_info", "1x99", version="1", mode=mode)
        labels = {"uuid": uuid(1), "name": "web-1", "project": "p1"}
        hours.append(one.add("stella_instance_managed", f"{managed}x99", **labels).firing(50).firing(65, *expected))
    promtool(tmp_path, hours, RULES / "xgos.rules.yml")


def test_the_api(tmp_path: Path) -> None:
    hours = Hours("errors, slowness, silence, ignored rows", minutes=99)
    for status, values in (("2xx", "0+600x99"), ("5xx", "0x50 0+6x48")):
        hours.add("stella_api_requests_total", values, operation="slo.put", status_class=status)
    for bound, values in (("0.05", "0+600x50 30000+300x48"), ("0.25", "0+600x99"), ("+Inf", "0+600x99")):
        hours.add("stella_api_request_duration_seconds_bucket", values, operation="slo.put", le=bound)
    hours.add("stella_api_hosts", "0x50 2x48", mode="enforce", silent="true")
    hours.add("stella_api_hosts", "5x99", mode="maintenance", silent="true")
    hours.add("stella_api_report_rows_ignored_total", "0x50 0+6x48")
    hours.firing(50).firing(95, "StellaApiErrors", "StellaApiSlow", "StellaHostsSilent", "StellaReportRowsIgnored")
    promtool(tmp_path, [hours], RULES / "stella-api.rules.yml")
