"""Metrics of the service as it runs: several workers, one page, on an address of its own."""

import socket
import time
import urllib.error
import urllib.request

import pytest

from tests.functional.conftest import Cloud, uuid
from tests.functional.process import free_port, serving

_REQUESTS = 24


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


def test_all_workers_are_counted_together(cloud: Cloud) -> None:
    host, port = cloud.host("host1"), free_port()
    cloud.host("host2", mode="observe")
    host.add(uuid(1))
    cloud.clock.now = time.time()
    host.report()
    with serving(cloud.config_path, workers=2, metrics_bind=f"127.0.0.1:{port}") as server:
        for _ in range(_REQUESTS):
            assert server.ask("GET", "/v1/instances", cloud.member.token)[0] == 200
        slo = {"objectives": {"cpu": {"floor": 0.1}}}
        assert server.ask("PUT", f"/v1/instances/{uuid(1)}/slo", cloud.member.token, slo)[0] == 201
        assert server.ask("GET", "/v1/nothing", cloud.member.token)[0] == 404
        for _ in range(6):  # whichever worker answers
            text = scrape(port)
            assert f'stella_api_requests_total{{operation="instance.index",status_class="2xx"}} {_REQUESTS}.0' in text
            assert 'stella_api_requests_total{operation="none",status_class="4xx"} 1.0' in text
            assert 'stella_api_admissions_total{dry_run="false",verdict="accepted"} 1.0' in text
            assert 'stella_api_hosts{mode="enforce",silent="false"} 1.0' in text
            assert 'stella_api_hosts{mode="observe",silent="true"} 1.0' in text
            assert cloud.member.token not in text and "host1" not in text
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20)
        assert server.ask("GET", "/metrics")[0] == 404, "not on the port of the API"


def test_an_address_that_is_taken_does_not_keep_the_service_from_starting(cloud: Cloud) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(cloud.config_path, metrics_bind=address) as server:
            assert server.ask("GET", "/healthcheck")[0] == 200
        assert f"stella-api: no metrics: {address}: Address already in use" in server.log.read_text()
