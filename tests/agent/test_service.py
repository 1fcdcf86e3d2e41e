"""The agent under a service manager: it tells when it is ready, that it ticks, and when it stops."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .conftest import HOSTS, REPOSITORY


def test_a_service_manager_is_told(configured: Callable[..., Path], tmp_path: Path) -> None:
    root = shutil.copytree(HOSTS / "v1-libvirt9", tmp_path / "host")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        environment.pop("WATCHDOG_PID", None)
        argv = [sys.executable, "-m", "stella.cmd.xgos", "--root", str(root), "--config", str(configured())]
        agent = subprocess.Popen(argv, stderr=subprocess.DEVNULL, cwd=REPOSITORY, env=environment)
        try:
            assert manager.recv(4096) == b"READY=1"
            assert [manager.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            agent.send_signal(signal.SIGTERM)
            while (told := manager.recv(4096)) == b"WATCHDOG=1":
                pass
            assert told == b"STOPPING=1\nSTATUS=restoring the host"
            assert agent.wait(30) == 0
        finally:
            agent.kill()
            agent.wait()
