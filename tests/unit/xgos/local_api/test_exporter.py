"""`/metrics` is what the catalogue says, in Prometheus' own opinion too."""

import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stella.model.attainment import Cause, Status
from stella.model.slo import parse_slo
from stella.model.snapshot import Role
from stella.xgos.local_api.exporter import Exporter, MetricsServer, _RoleTotals
from stella.xgos.local_api.metric_catalogue import CATALOGUE, Kind, print_catalogue
from tests.unit.xgos.conftest import NOW, ODD_NAME, VM1, FakePort, make_published, reading, replace, report, thread

DOCUMENT = Path(__file__).parents[4] / "docs" / "metrics.md"


def page(port: FakePort) -> str:
    registry = CollectorRegistry()
    registry.register(Exporter(port))
    return generate_latest(registry).decode()


@pytest.fixture
def full(port: FakePort) -> FakePort:
    missed = report(Status.VIOLATED, cause=Cause.CPU)
    port.history.record(NOW, [(VM1, [missed])])
    for second in range(2):
        port.violations.record(NOW + second, [(VM1, "vm1", [replace(missed, offender="host")])])
    port.change_slo(VM1, lambda _old: parse_slo({"cpu": {"floor": 1}}), dry_run=False)
    return port


def test_every_entry_is_served_and_nothing_else(full: FakePort) -> None:
    families = {f.name: f for f in text_string_to_metric_families(page(full))}
    expected = {e.name.removesuffix("_total") if e.kind is Kind.COUNTER else e.name for e in CATALOGUE}
    assert set(families) == expected
    for entry in CATALOGUE:
        family = families[entry.name.removesuffix("_total") if entry.kind is Kind.COUNTER else entry.name]
        assert (family.type, family.documentation) == (entry.kind, entry.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(entry.labels), entry.name


def test_promtool_has_nothing_to_say(full: FakePort) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=page(full), text=True, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_values(full: FakePort) -> None:
    text = page(full)

    def value(of: str, **labels: str) -> float:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == of and labels.items() <= sample.labels.items():
                    return float(sample.value)
        raise AssertionError(of)

    assert value("stella_objective_status", metric="network_packets", status="VIOLATED") == 1
    assert value("stella_objective_status", metric="network_packets", status="MET") == 0
    assert value("stella_objective_cause", metric="network_packets") == 1
    assert (
        value("stella_objective_windows_total", metric="cpu", status="VIOLATED", name="vm1", project="p1", uuid=VM1)
        == 1
    )
    assert value("stella_agent_tick_duration_seconds_bucket", le="0.005") == 1
    assert value("stella_agent_tick_duration_seconds_bucket", le="1.0") == 2
    assert value("stella_agent_tick_duration_seconds_count") == 3
    assert value("stella_agent_writes_total", result="written") == 3
    assert value("stella_sensor_failures_total", sensor="block") == 3
    assert value("stella_host_cpu_reserved_cores") == 1.0
    assert value("stella_instance_cpu_usage_cores", name=ODD_NAME) == 0.5


def test_nothing_is_served_before_the_first_tick(port: FakePort) -> None:
    port.ready = False
    assert page(port) == ""


def test_role_counters_never_fall() -> None:
    totals = _RoleTotals()
    snapshot = make_published({}).snapshot

    def take(*threads: object) -> float:
        totals.take(replace(snapshot, instances=(reading(VM1, "vm1", threads),)))  # type: ignore[arg-type]
        return totals.totals[VM1, Role.EMULATOR][0]

    assert take(thread(1, Role.EMULATOR, 1.0), thread(2, Role.EMULATOR, 5.0)) == 6.0
    assert take(thread(1, Role.EMULATOR, 2.0)) == 7.0  # a worker ended
    assert take(thread(1, Role.EMULATOR, 2.0), thread(3, Role.EMULATOR, 0.5)) == 7.5
    assert take(thread(1, Role.EMULATOR, 0.0)) == 7.5  # a counter was reset
    unread = replace(reading(VM1, "vm1"), threads=None)
    totals.take(replace(snapshot, instances=(unread,)))
    assert take(thread(1, Role.EMULATOR, 1.0)) == 8.5
    totals.take(replace(snapshot, instances=()))
    assert totals.totals == {}


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == print_catalogue(), (
        "python -m stella.xgos.local_api.metric_catalogue > docs/metrics.md"
    )


def test_names() -> None:
    names = [entry.name for entry in CATALOGUE]
    assert len(set(names)) == len(names)
    for entry in CATALOGUE:
        assert entry.name.startswith("stella_")
        assert entry.name.endswith("_total") == (entry.kind is Kind.COUNTER)


def test_the_server_serves(full: FakePort) -> None:
    server = MetricsServer(full, ("127.0.0.1", 0))
    try:
        host, number = server.address
        with urllib.request.urlopen(f"http://{host}:{number}/metrics", timeout=5) as answer:
            assert b"stella_agent_ticks_total 3.0" in answer.read()
    finally:
        server.close()
