"""A rolling upgrade under load: agent and API of neighbouring releases speak, each is restarted, and nothing is lost."""

import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.faults.linked import linked_host
from tests.faults.releases import Proxy, Release
from tests.faults.traffic import Ledger, Traffic, check
from tests.functional.conftest import Cloud
from tests.functional.process import Server, wait

_ORDER = (Release.BEFORE, Release.SAME, Release.NEXT, Release.SAME)


@pytest.mark.timeout(600)
def test_neighbouring_releases_under_load(cloud: Cloud, measured: Callable[[str, float], None]) -> None:
    """For each release that the other side seems to be of: API restarted, agent restarted, both while users write and hosts report."""
    server = Server(cloud.config_path, response_validation="none")
    server.start()
    traffic = Traffic(cloud, server, instances=4, seed=3)
    proxy, longest, away = Proxy(server.port), 0.0, 0.0
    try:
        with linked_host(cloud, server, url=proxy.url, name="host2") as linked, traffic.flowing() as ledger:
            for release in _ORDER:
                proxy.release = release
                passed, changes = proxy.passed[release], ledger.changes
                began = time.monotonic()
                server.stop(signal.SIGTERM)
                server.start()
                away = max(away, time.monotonic() - began)
                linked.keeps(0.5)
                linked.agent.stop(signal.SIGTERM)
                assert not linked.holds(), "a stop restores the host"
                began = time.monotonic()
                linked.agent.start()
                linked.until_holds(10.0)
                longest = max(longest, time.monotonic() - began)
                linked.connected()
                assert wait(partial(_goes_on, proxy, ledger, passed + 4, changes + 3), 60), release
                linked.require_slo()
                assert linked.status()["failed_ticks"] == 0
            assert proxy.refused == [], "neither side refuses what the other says"
            for asked, status, answered in (("1.0", 200, "1.0"), (None, 200, "1.0"), ("1.9999", 406, None)):
                headers = {} if asked is None else {"OpenStack-API-Version": f"stella {asked}"}
                got, told, body = server.exchange("GET", "/v1/instances", cloud.member.token, headers=headers)
                assert got == status, body
                if answered:
                    assert told["openstack-api-version"] == f"stella {answered}"
                else:
                    assert body["errors"][0]["min_version"] == "1.0"
    finally:
        proxy.stop()
        server.stop(signal.SIGTERM)
    measured("API away during its restart", away)
    measured("in force after the agent's restart", longest)
    print(check(cloud, ledger))
    assert all(proxy.passed[release] > 0 for release in Release)


def _goes_on(proxy: Proxy, ledger: Ledger, passed: int, changes: int) -> bool:
    return proxy.passed[proxy.release] >= passed and ledger.changes >= changes
