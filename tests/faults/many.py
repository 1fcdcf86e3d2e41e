"""The agent as a process on a host with hundreds of instances."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.fixtures.many_instances import ManyInstances, uuid_of
from tests.functional.process import wait

_CPUS = 128
_TICK_MILLISECONDS = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What an agent said of itself after a while, and the CPU time that its process took for each tick."""

    ticks: int
    late_ticks: int
    failed_ticks: int
    instances: int
    with_slo: int
    cpu_seconds_per_tick: float


def watch(directory: Path, *, instances: int, seconds: float) -> Watched:
    """Run the agent in mode enforce for ``seconds`` on a host whose instances are busy; every second one has an SLO."""
    host = ManyInstances(root=directory / "host", instances=instances, cpus=_CPUS)
    host.write()
    slos = {uuid_of(n): {"cpu": {"floor": "20%"}, "network_packets": {"floor": 1000}} for n in range(0, instances, 2)}
    (directory / "slo.yaml").write_text(json.dumps({"instances": slos}))  # JSON is YAML
    keys: Mapping[str, object] = {
        "mode": "enforce",
        "tick_milliseconds": _TICK_MILLISECONDS,
        "slo_file": str(directory / "slo.yaml"),
        "state_directory": str(directory / "state"),
        "run_directory": str(directory / "run"),
        "socket": str(directory / "run" / "s"),
        "metrics_listen": "",
    }
    config = directory / "xgos.toml"
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    command = [sys.executable, "-m", "stella.cmd.xgos", "run", "--root", str(host.root), "--config", str(config)]
    with (directory / "log").open("wb") as log:
        agent = subprocess.Popen(command, stderr=log)
    try:

        def status() -> dict[str, Any]:
            asked = [sys.executable, "-m", "stella.cmd.xgos", "status", "-f", "json", "--socket", str(keys["socket"])]
            told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
            found: dict[str, Any] = json.loads(told.stdout) if told.returncode == 0 else {}
            return found

        assert wait(lambda: status().get("instances_with_slo") == len(slos), 60), (directory / "log").read_text()
        process, begun = psutil.Process(agent.pid), time.monotonic()
        before, used = status(), sum(process.cpu_times()[:2])
        while time.monotonic() - begun < seconds:
            host.advance(60.0 + time.monotonic() - begun)
            time.sleep(_TICK_MILLISECONDS / 1000)
        after, used = status(), sum(process.cpu_times()[:2]) - used
    finally:
        agent.send_signal(signal.SIGTERM)
        try:
            agent.wait(60)
        finally:
            agent.kill()
            agent.wait()
    ticks = after["ticks"] - before["ticks"]
    return Watched(
        ticks=ticks,
        late_ticks=after["late_ticks"] - before["late_ticks"],
        failed_ticks=after["failed_ticks"],
        instances=after["instances"],
        with_slo=after["instances_with_slo"],
        cpu_seconds_per_tick=used / max(1, ticks),
    )
