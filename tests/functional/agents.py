"""The agent's command on a copy of a recorded host, linked to an API."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
RECORDED = REPOSITORY / "tests" / "fixtures" / "hosts" / "v1-libvirt9"


class RealAgent:
    """`start`, `stop` and `xgos` as often as wanted; its state stays in ``directory``."""

    def __init__(self, directory: Path, *, url: str, host: str, credential: str, **keys: object) -> None:
        directory.mkdir()
        self.root = Path(shutil.copytree(RECORDED, directory / "host"))
        self.log = directory / "agent.log"
        self._socket, self._directory = directory / "run" / "s", directory
        stored = directory / "credential"
        stored.touch(mode=0o600)
        stored.write_text(credential + "\n")
        options: dict[str, object] = {
            "mode": "enforce",
            "tick_milliseconds": 100,
            "state_directory": str(directory / "state"),
            "run_directory": str(directory / "run"),
            "socket": str(self._socket),
            "metrics_listen": "",
            "api_url": url,
            "api_host_name": host,
            "api_credential_file": str(stored),
            **keys,
        }
        self._config = directory / "xgos.toml"
        self._config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items()))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; it is not waited for."""
        command = [sys.executable, "-m", "stella.cmd.xgos", "run", "--root", str(self.root)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--config", str(self._config)], stdout=log, stderr=log, cwd=REPOSITORY
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; it is not waited for."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal and wait for its end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(20)
            finally:
                self._process.kill()
                self._process.wait()

    def xgos(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the agent's own, to its end."""
        argv = [sys.executable, "-m", "stella.cmd.xgos", *words, "--socket", str(self._socket)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY)

    def link(self) -> dict[str, Any]:
        """What it says of its link; empty while it does not answer."""
        told = self.xgos("status", "-f", "json")
        found = json.loads(told.stdout).get("link") if told.returncode == 0 else None
        return found or {}
