"""The metrics of stella-api: the catalogue, the page, promtool."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from stella.api import metrics
from stella.api.metrics import CATALOGUE, Metrics, page
from stella.api.metrics_server import InvalidAddress, listen

REPOSITORY = Path(__file__).parents[3]


def full_page() -> str:
    made = Metrics()
    made.served("slo.put", 201, 0.03)
    made.served("none", 404, 0.001)
    made.asked(None, dry_run=False)
    made.asked("stella.quota.exceeded", dry_run=True)
    made.asked("stella.slo.invalid", dry_run=True)
    made.reported(2)
    return page(made, lambda: {("enforce", False): 3, ("observe", True): 1}).decode()


def promtool(*arguments: str, text: str | None = None) -> None:
    program = shutil.which("promtool")
    assert program is not None, "the package prometheus is not installed: run scripts/setup.sh"
    done = subprocess.run([program, *arguments], input=text, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_what_the_catalogue_names() -> None:
    text = full_page()
    assert {family.name for family in CATALOGUE} <= set(re.findall(r"^# HELP (\S+)", text, re.MULTILINE))
    assert 'stella_api_requests_total{operation="slo.put",status_class="2xx"} 1.0' in text
    assert 'stella_api_request_duration_seconds_bucket{le="0.05",operation="slo.put"} 1.0' in text
    assert 'stella_api_admissions_total{dry_run="true",verdict="over_quota"} 1.0' in text
    assert text.count("stella_api_admissions_total{") == 2, "what is no verdict is not counted"
    assert "stella_api_report_rows_ignored_total 2.0" in text
    assert 'stella_api_hosts{mode="observe",silent="true"} 1.0' in text


def test_promtool_has_nothing_to_say() -> None:
    promtool("check", "metrics", text=full_page())
    promtool("check", "rules", str(REPOSITORY / "etc/prometheus/stella-api.rules.yml"))


def test_rules_name_metrics_that_there_are() -> None:
    text = (REPOSITORY / "etc/prometheus/stella-api.rules.yml").read_text()
    named = {name.removesuffix("_bucket") for name in re.findall(r"\bstella_api_\w+", text)}
    assert named <= {family.name for family in CATALOGUE} | {"stella_api_request_duration_seconds"}


def test_the_document_is_up_to_date() -> None:
    text = (REPOSITORY / "docs/api/metrics.md").read_text()
    assert text == metrics.print_catalogue(), "run python -m stella.api.metrics > docs/api/metrics.md"


@pytest.mark.parametrize("address", ["9818", ":9818", "localhost", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_addresses_that_cannot_be(address: str) -> None:
    with pytest.raises(InvalidAddress, match=r"must be HOST:PORT"):
        listen(address)


def test_an_address_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        listen(f"127.0.0.1:{taken.getsockname()[1]}")
