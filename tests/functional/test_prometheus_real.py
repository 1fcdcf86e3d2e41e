"""A real Prometheus on a real agent and a real stella-api: the configuration of the page, the rules, the dashboard, what is exported.

The agent runs on a copy of a recorded host whose instances are starved of CPU from outside while the test lasts.
"""

import json
import os
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from stellaclient.export import openslo, prometheus, sloth
from stellaclient.export.guarantees import Guarantee, Terms

from stella.api.metrics import CATALOGUE as API_CATALOGUE
from stella.xgos.local_api.metric_catalogue import CATALOGUE
from tests.functional.agents import RealAgent
from tests.functional.conftest import Cloud
from tests.functional.process import Server, free_port, wait

REPOSITORY = Path(__file__).parents[2]
DASHBOARD = json.loads((REPOSITORY / "etc/grafana/stella.json").read_text())
VM1, VM2, VM3 = (
    "52ebd123-5a23-5bef-b643-2832e739bfb0",
    "cfe61df3-8598-58b4-899d-4eccec4a1cf1",
    "d0de81ce-ccbb-5b5b-b9e9-3a23edb92b91",
)
FAST, MANY = "StellaBudgetBurnsFast", "StellaHostThreatensMany"
_STEP_SECONDS = 0.05


@contextmanager
def starved(root: Path) -> Iterator[None]:
    """Until the block ends, each thread of the recorded instances waits nearly all the time for a CPU."""
    ended = threading.Event()
    paths = list(root.glob("proc/[0-9]*/task/*/schedstat"))
    begun = [(path.open("r+b", buffering=0), [int(word) for word in path.read_text().split()]) for path in paths]

    def run() -> None:
        start = time.monotonic()
        while not ended.wait(_STEP_SECONDS):
            elapsed = int((time.monotonic() - start) * 1e9)
            for file, (ran, waited, slices) in begun:  # in place and of one length: the agent keeps the files open
                text = f"{ran + elapsed // 100:020} {waited + elapsed * 99 // 100:020} {slices + 1:020}\n"
                os.pwrite(file.fileno(), text.encode(), 0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for file, _ in begun:
            file.close()


def terms(sla: str | None, target: str) -> Terms:
    return Terms(sla=sla, target_ratio=Decimal(target), unknown_missed=False, time_zone="UTC")


GUARANTEES = [
    Guarantee(uuid=uuid, name=name, project="", terms=given, objectives={"cpu": {"floor": 0.2}}, added={})
    for uuid, name, given in (
        (VM1, "vm1", terms("bronze", "0.9")),
        (VM2, "vm2", terms("gold", "0.999")),
        (VM3, "vm3", terms("gold", "0.999")),
    )
]


@dataclass
class Prometheus:
    """Its HTTP API."""

    url: str
    targets: dict[str, str]

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=20) as answer:
            found = json.load(answer)
        assert found["status"] == "success" and not found.get("warnings")
        return found["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        found = self.query('ALERTS{alertstate="firing"}')
        return {(one["metric"]["alertname"], one["metric"].get("uuid", "")) for one in found}


def configuration(directory: Path, targets: dict[str, str]) -> Path:
    """The one of docs/sla/alerts.md, with other addresses and shorter intervals."""
    text = (REPOSITORY / "docs/sla/alerts.md").read_text()
    block = re.search(r"^ *```yaml\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    found = yaml.safe_load(block[1])
    assert found["rule_files"] == ["/etc/prometheus/stella/*.rules.yml"]
    found["rule_files"] = [f"{REPOSITORY}/etc/prometheus/*.rules.yml", f"{directory}/*.rules.yml"]
    assert [job["job_name"] for job in found["scrape_configs"]] == list(targets)
    for job in found["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    found["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"}
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(found))
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """All of it, once the alerts fire."""
    directory = tmp_path_factory.mktemp("prometheus")
    ports = {name: free_port() for name in ("xgos", "stella-api", "prometheus")}
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    (directory / "terms.rules.yml").write_text(yaml.safe_dump(prometheus.rules(GUARANTEES)))
    slos = directory / "slos.yaml"
    slos.write_text(yaml.safe_dump({"instances": {one.uuid: {"cpu": {"floor": 0.2}} for one in GUARANTEES}}))
    cloud = Cloud(directory, f"sqlite:///{directory}/stella.sqlite")
    server = Server(cloud.config_path, metrics_bind=addresses["stella-api"])
    agent = RealAgent(
        directory / "agent", url="", host="", credential="", api_url="", api_host_name="",
        metrics_listen=addresses["xgos"], slo_file=str(slos),
    )  # fmt: skip
    targets = {name: addresses[name] for name in ("xgos", "stella-api")}
    config = configuration(directory, targets)
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address={addresses['prometheus']}", "--log.level=warn",
    ]  # fmt: skip
    with ExitStack() as stack:
        stack.callback(cloud.database.close)
        stack.enter_context(starved(agent.root))
        stack.callback(agent.stop)
        agent.start()
        process = stack.enter_context(
            subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=(directory / "prometheus.log").open("w"))
        )
        stack.callback(process.terminate)
        stack.callback(server.stop, 15)
        server.start()
        server.ask("GET", "/v1/instances", cloud.member.token)
        made = Prometheus(f"http://{addresses['prometheus']}", targets)

        def fires() -> bool:
            try:
                return {(MANY, ""), (FAST, VM2), (FAST, VM3)} <= made.firing()
            except OSError:
                return False

        assert wait(fires), (agent.log.read_text()[-2000:], (directory / "prometheus.log").read_text()[-2000:])
        yield made


def test_the_alerts_of_a_starved_host(running: Prometheus) -> None:
    fast_or_many = {one for one in running.firing() if one[0] in (FAST, MANY)}
    assert fast_or_many == {(MANY, ""), (FAST, VM2), (FAST, VM3)}, "vm1 has a class that allows more"
    (fast,) = running.query(f'ALERTS{{alertname="{FAST}",uuid="{VM2}"}}')
    shown = {name: fast["metric"][name] for name in ("name", "metric", "instance", "severity")}
    assert shown == {"name": "vm2", "metric": "cpu", "instance": running.targets["xgos"], "severity": "critical"}
    (many,) = (one for one in running.ask("alerts")["alerts"] if one["labels"]["alertname"] == MANY)
    assert many["annotations"]["summary"].startswith(f"3 instances on host {running.targets['xgos']} missed")
    assert "Most often because of: cpu." in many["annotations"]["description"]
    rates = {one["metric"]["uuid"]: float(one["value"][1]) for one in running.query("stella_objective:burn_rate:1h")}
    assert rates[VM1] <= 10.01 and min(rates[VM2], rates[VM3]) > 14.4


def test_every_rule_can_be_evaluated(running: Prometheus) -> None:
    groups = running.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(groups) == 5 and len(rules) > 30
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert {target["health"] for target in running.ask("targets")["activeTargets"]} == {"up"}


QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
NOT_HERE = re.compile(
    r"stella_agent_link|stella_agent_outbox|stella_instance_offender|stella_api_admissions|p99_5m|burn_rate:(6h|3d)"
    r'|metric="(?!cpu")|sensor_success'
)
"""What a host without a link and offenders, with floors of CPU, for some seconds, has no values of."""


def filled(expression: str) -> str:
    """As Grafana asks, with all chosen."""
    found = re.sub(r"\$(project|name|host)\b", ".*", expression).replace("$__rate_interval", "1m")
    assert "$" not in found
    return found


@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=[f"{n} {title}" for n, (title, _) in enumerate(QUERIES)])
def test_a_query_of_the_dashboard(running: Prometheus, title: str, expression: str) -> None:
    result = running.query(filled(expression))
    assert result or NOT_HERE.search(expression), "nothing to show"


def test_what_the_dashboard_lets_choose(running: Prometheus) -> None:
    asked = {one["name"]: one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"}
    found = {}
    for name, definition in asked.items():
        matched = re.fullmatch(r"label_values\((.+), (\w+)\)", definition)
        assert matched is not None
        found[name] = running.ask(f"label/{matched[2]}/values", **{"match[]": filled(matched[1])})
    assert (found["name"], found["host"]) == (["vm1", "vm2", "vm3"], [running.targets["xgos"]])


def test_names_are_of_the_catalogues_and_the_rules() -> None:
    """In the rules, and in the dashboard."""
    rules = "".join(path.read_text() for path in sorted((REPOSITORY / "etc/prometheus").glob("*.yml")))
    recorded = set(re.findall(r"record: (\S+)", rules)) | {"stella_sla:target_ratio", "stella_sla:unknown_missed"}
    known = {one.name for one in (*CATALOGUE, *API_CATALOGUE)} | recorded
    known |= {f"{one.name}_bucket" for one in (*CATALOGUE, *API_CATALOGUE) if one.kind == "histogram"}
    expressions = [rule["expr"] for group in _groups() for rule in group["rules"]] + [query for _, query in QUERIES]
    named = {name for text in expressions for name in re.findall(r"\bstella_[a-z_]\w*(?::\w+)*", text)}
    assert len(named) > 40 and named - known == set()


def _groups() -> list[dict[str, Any]]:
    paths = sorted((REPOSITORY / "etc/prometheus").glob("*.rules.yml"))
    return [group for path in paths for group in yaml.safe_load(path.read_text())["groups"]]


def test_the_dashboard_is_one_of_grafana() -> None:
    """Whatever Grafana's own models do not know would be lost on the way through them."""
    register_default_plugins()
    kept = json.loads(json.dumps(Dashboard.from_json(DASHBOARD), default=lambda one: one.to_json()))
    assert _lost("", DASHBOARD, kept) == []
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identities) == len(set(identities))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
        assert x + w <= 24 and not cells & taken, panel["title"]
        taken |= cells


def _lost(path: str, ours: Any, kept: Any) -> list[str]:
    if isinstance(ours, dict) and isinstance(kept, dict):
        return [
            line
            for key, value in ours.items()
            for line in (_lost(f"{path}.{key}", value, kept[key]) if key in kept else [f"{path}.{key}"])
        ]
    if isinstance(ours, list) and isinstance(kept, list) and len(ours) == len(kept):
        return [line for n, pair in enumerate(zip(ours, kept, strict=True)) for line in _lost(f"{path}[{n}]", *pair)]
    return [] if ours == kept else [path]


def test_exported_queries_find_the_seconds(running: Prometheus) -> None:
    found = {(one["kind"], one["metadata"]["name"]): one for one in openslo.documents(GUARANTEES, prometheus_url="")}
    metric = found["SLI", f"{VM2}-cpu"]["spec"]["ratioMetric"]
    good, total = (
        float(running.query(metric[part]["metricSource"]["spec"]["query"])[0]["value"][1]) for part in ("good", "total")
    )
    assert total >= 5 and good < total / 2
    events = sloth.documents(GUARANTEES)[1]["slos"][0]["sli"]["events"]
    missed, asked = (
        float(running.query(events[key].replace("{{.window}}", "5m"))[0]["value"][1])
        for key in ("error_query", "total_query")
    )
    assert 0 < missed <= asked
