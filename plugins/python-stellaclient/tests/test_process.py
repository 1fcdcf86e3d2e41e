"""The real `openstack` against the real `stella-api` on loopback, with an endpoint and a token."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.functional.conftest import Cloud, uuid
from tests.functional.process import Server

OPENSTACK = Path(sys.executable).with_name("openstack")


def test_the_shell(cloud: Cloud, tmp_path: Path) -> None:
    host = cloud.host("compute-1")
    host.add(uuid(1), name="web-1")
    cloud.clock.now = time.time()
    host.report()
    server = Server(cloud.config_path)
    server.start()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OS_")} | {
        "HOME": str(tmp_path),
        "OS_AUTH_TYPE": "admin_token",
        "OS_ENDPOINT": f"http://127.0.0.1:{server.port}",
        "OS_TOKEN": cloud.member.token,
    }

    def openstack(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(OPENSTACK), *arguments],
            check=False,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    try:
        done = openstack("slo", "set", "--server", "web-1", "--net-pps", "20k", "--cpu", "20%", "-f", "json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["objectives"]["network_packets"]["floor"] == 20000.0
        shown = openstack("slo", "show", "--server", "web-1")
        assert "network_packets: floor 20kpps" in shown.stdout, shown.stderr
        refused = openstack("slo", "set", "--server", "web-1", "--net-pps", "900k")
        assert refused.returncode == 1
        (line,) = refused.stderr.strip().splitlines()
        assert line.startswith("network_packets.floor: ")
        assert "largest that fits: " in line
        completion = openstack("complete")
        assert "cmds_slo=" in completion.stdout
        assert "--net-pps" in completion.stdout
    finally:
        server.stop(signal.SIGTERM)
