"""The command as operators run it. What becomes of it when it is killed: `tests/faults`."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.functional.conftest import Cloud
from tests.functional.process import Server


def test_it_refuses_to_start_on_a_database_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "stella.conf"
    path.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/stella.sqlite\n")
    command = [sys.executable, "-m", "stella.cmd.stella_api", "--config-file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "run stella-manage db sync" in done.stderr


def test_it_serves_with_several_workers_until_it_is_stopped(cloud: Cloud) -> None:
    server = Server(cloud.config_path, workers=2)
    server.start()
    for _ in range(8):
        assert server.ask("GET", "/v1/instances", cloud.member.token) == (200, {"instances": [], "links": []})
    server.stop(signal.SIGTERM)
    log = server.log.read_text()
    assert "Traceback" not in log and cloud.member.token not in log, log[-2000:]
