"""The database away under writes and reports: 503 with Retry-After, then all works again by itself, nothing is lost or doubled."""

import signal
import time
from pathlib import Path

import pytest

from tests.faults.traffic import Traffic, check
from tests.functional import mariadb
from tests.functional.conftest import Cloud
from tests.functional.long import choose
from tests.functional.process import Server, wait

_AWAY_SECONDS = choose(short=5.0, long=60.0)


@pytest.mark.timeout(600)
def test_it_waits_and_goes_on(tmp_path: Path) -> None:
    with mariadb.server(tmp_path) as database:
        cloud = Cloud(tmp_path, mariadb.fresh_database(database.socket))
        server = Server(cloud.config_path, response_validation="none")
        server.start()
        traffic = Traffic(cloud, server, instances=4, seed=1)
        with traffic.flowing() as ledger:
            assert wait(lambda: ledger.changes >= 8 and len(ledger.minutes) >= 2, 60)
            before = ledger.unavailable
            database.stop()
            end = time.monotonic() + _AWAY_SECONDS
            while time.monotonic() < end:
                for path, headers in (
                    ("/v1/instances", {"X-Auth-Token": cloud.member.token}),
                    ("/v1/hosts/host1/intent", traffic.host.headers),
                    ("/healthcheck", {}),
                ):
                    status, answered, body = server.exchange("GET", path, headers=headers)
                    assert (status, answered["retry-after"]) == (503, "5"), (path, body)
                    assert body["errors"][0]["code"] == "stella.server.database_unreachable"
                    assert "mysql" not in str(body).lower() and str(tmp_path) not in str(body)
                time.sleep(0.2)
            assert ledger.unavailable > before
            database.start()
            changes, minutes = ledger.changes, len(ledger.minutes)
            assert wait(lambda: ledger.changes > changes + 4 and len(ledger.minutes) > minutes, 60), "by itself"
        server.stop(signal.SIGTERM)
        print(check(cloud, ledger))
        cloud.database.close()
        log = server.log.read_text()
        assert cloud.member.token not in log and traffic.host.credential not in log
