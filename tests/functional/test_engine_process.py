"""The command as operators run it: once from cron, with the database away, and its metrics."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select

from stella.control.rollup import HOUR_SECONDS
from stella.db.models import RollUp
from stella.model.report import StatusCounts
from tests.functional import mariadb
from tests.functional.conftest import Cloud
from tests.functional.engines import Process, lease, wait_for
from tests.functional.ledger import DAY, ledger


def configure(cloud: Cloud, text: str = "") -> Path:
    path = cloud.config_path
    kept = "minute_retention_days = 36500\nhour_retention_days = 36500\nday_retention_days = 36500\n"
    path.write_text(path.read_text() + f"[engine]\nlease_seconds = 1\n{kept}{text}")
    return path


@pytest.fixture
def engines() -> Iterator[list[Process]]:
    """Those that a test starts; what it does not end ends here."""
    started: list[Process] = []
    yield started
    for process in started:
        process.end()


def once(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stella.cmd.stella_engine", "--config-file", str(path), "--once"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_once_does_all_and_is_refused_while_another_leads(cloud: Cloud, engines: list[Process]) -> None:
    book, path = ledger(cloud), configure(cloud)
    book.keep({start: StatusCounts(met=60) for start in range(DAY, DAY + 7200, 60)})
    for token in (1, 2):
        done = once(path)
        assert (done.returncode, lease(cloud.database).holder) == (0, None), done.stderr
        assert lease(cloud.database).token == token, "it does not wait for the lease that the one before released"
    with cloud.database.reader() as session:
        assert sorted(session.scalars(select(RollUp.span_seconds))) == [3600, 3600, 86_400]
    engines.append(Process(path, "engine"))
    wait_for(lambda: lease(cloud.database).holder is not None)
    refused = once(path)
    assert refused.returncode == 1 and refused.stderr.splitlines()[-1] == "stella-engine: another engine leads"
    assert engines[0].said("stands by") == 0


def test_its_metrics(cloud: Cloud, engines: list[Process]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    engines.append(Process(configure(cloud, f"metrics_bind = {address}\n"), "engine"))

    def text() -> str:
        with suppress(OSError), urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
        return ""

    wait_for(lambda: 'last_success_timestamp_seconds{duty="retention"}' in text())
    found = text()
    assert "stella_engine_leader 1.0" in found and "stella_engine_takeovers_total 1.0" in found
    documented = (Path(__file__).parents[2] / "docs/api/engine.md").read_text()
    for line in found.splitlines():
        if line.startswith("# TYPE") and "_created" not in line:
            assert f"`{line.split()[2]}`" in documented


def test_it_waits_for_a_database_that_is_away(tmp_path: Path, engines: list[Process]) -> None:
    directory = tmp_path / "server"
    directory.mkdir()
    with mariadb.server(directory) as server:
        cloud = Cloud(tmp_path, mariadb.fresh_database(server.socket))
        book, path = ledger(cloud), configure(cloud)
        book.keep({start: StatusCounts(met=60) for start in range(DAY, DAY + 3600, 60)})
        cloud.database.close()
        server.stop()
        process = Process(path, "engine")
        engines.append(process)
        wait_for(lambda: process.said("waits: ") == 1)
        server.start()

        def hours() -> int:
            with cloud.database.reader() as session:
                return session.scalar(select(func.count()).where(RollUp.span_seconds == HOUR_SECONDS)) or 0

        wait_for(lambda: hours() == 1)
        server.stop()
        wait_for(lambda: process.said("the database is away") >= 1)
        time.sleep(2.0)  # longer than the lease
        server.start()
        cloud.database.close()
        book.keep({start: StatusCounts(met=60) for start in range(DAY + 3600, DAY + 7200, 60)})
        wait_for(lambda: hours() == 2, seconds=60)
        process.terminate()
        assert process.wait() == 0
        cloud.database.close()


@pytest.mark.parametrize("text", ["[engine]\nlease_seconds = 0\n", "[engine]\nmetrics_bind = here\n"])
def test_a_configuration_that_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stella.conf"
    path.write_text(text)
    done = once(path)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("stella-engine: ") and text.split()[1] in line
