"""The tour of a lost host, as `make demo-openstack HOSTS=2` runs it: in a browser, with Stella alone asking Nova to evacuate."""

import os
import subprocess
import sys
from pathlib import Path

from tests.openstack.conftest import REPOSITORY, RUN
from tests.openstack.two_hosts.conftest import ComputeHost

TOUR_SECONDS = 800


def test_a_host_is_lost_and_fenced_and_its_promises_come_back(hosts: dict[str, ComputeHost], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stella.cmd.stella_bench", "tour", "--cloud", str(RUN), "--output", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TOUR_SECONDS, cwd=REPOSITORY, env=os.environ
    )
    assert done.returncode == 0, done.stderr + done.stdout
    for row in ("evacuation asked for", "SLO in force", "shown in the browser"):
        assert row in done.stdout
    assert {path.stem for path in tmp_path.glob("*.png")} >= {"tour-before", "tour-silent", "tour-after"}
    assert all(host.place.is_open() for host in hosts.values()), "the host is on again"
