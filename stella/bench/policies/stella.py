"""Stella's own node agent, run as a service manager would run it, SLOs set through its socket as an operator would set them."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stella.bench.lab.process import finish, wait_until
from stella.bench.lab.rig import Rig
from stella.bench.policies.base import PolicyError
from stella.bench.policies.window_log import WindowLog
from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Slo, show_slo
from stella.xgos.local_api.client import Client, RequestRefused, Unreachable

START_PATIENCE_SECONDS = 30.0
END_PATIENCE_SECONDS = 15.0
TICK_MILLISECONDS = 250
_RETRY_SECONDS = 0.2
_SET_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLink:
    """Where the agent finds stella-api, and as which host it asks."""

    url: str
    host_name: str
    credential_file: Path


def config_text(
    *,
    mode: str,
    directory: Path,
    home: Path,
    socket: Path,
    uri: str,
    link: ApiLink | None = None,
    uplinks: Mapping[str, float] = MappingProxyType({}),
    backends: Mapping[str, float] = MappingProxyType({}),
) -> str:
    """The agent's configuration file (TOML): state in ``directory`` (absolute), the journal in the lab's own ``home``.

    ``uplinks`` and ``backends``: devices, and sources of disks, that may be full, with what can pass in bytes/s.
    """
    keys: dict[str, object] = {
        "mode": mode,
        "tick_milliseconds": TICK_MILLISECONDS,
        "libvirt_uri": uri,
        "state_directory": str(directory / "state"),
        "run_directory": str(home / "xgos"),
        "socket": str(socket),
        "metrics_listen": "",
    }
    if link is not None:
        keys |= {"api_url": link.url, "api_host_name": link.host_name, "api_credential_file": str(link.credential_file)}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    for device, rate in uplinks.items():
        text += f"[[network_uplink]]\ndevice = {json.dumps(device)}\ncapacity_mbit_per_second = {rate * 8 / 1e6}\n"
    for number, (source, rate) in enumerate(backends.items()):
        text += f'[[block_backends]]\nname = "shared{number}"\nsources = [{json.dumps(source)}]\n'
        text += f"capacity_megabytes_per_second = {rate / 1e6}\n"
    return text


class StellaPolicy:
    """Runs the agent in the lab. ``mode`` is ``enforce`` or ``observe`` (judge and report, change nothing).

    ``link`` may be set before it begins: the agent is then linked to stella-api.
    """

    def __init__(self, directory: Path, *, mode: str) -> None:
        self.name = "stella" if mode == "enforce" else f"stella-{mode}"
        self.link: ApiLink | None = None
        self._mode = mode
        self._directory = directory.absolute() / "agent"
        self._process: subprocess.Popen[bytes] | None = None
        self._lab: Rig | None = None
        self._log = WindowLog({})
        self._ticks = self._late = 0
        self._refused: list[Refusal] = []
        self._notes: list[str] = []
        self._stopped = False

    @property
    def _socket(self) -> Path:
        """Beside the lab's own sockets: a socket's path has at most 107 bytes."""
        assert self._lab is not None
        return self._lab.home / "xgos.sock"

    @property
    def agent_pid(self) -> int | None:
        """The agent's process."""
        return self._process.pid if self._process else None

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Start the agent and set the SLOs. Raises `PolicyError` when it does not come up."""
        self._lab = lab
        self._log = WindowLog({lab.uuid(i.name): i.name for i in scenario.instances})
        (self._directory / "state").mkdir(parents=True, exist_ok=True)
        text = config_text(
            mode=self._mode,
            directory=self._directory,
            home=lab.home,
            socket=self._socket,
            uri=lab.uri,
            link=self.link,
            uplinks=lab.limited_uplinks,
            backends=lab.limited_backends,
        )
        (self._directory / "xgos.toml").write_text(text, encoding="utf-8")
        process = self._start()

        def up_or_ended() -> bool:
            return process.poll() is not None or bool(self._status())

        came = wait_until(up_or_ended, START_PATIENCE_SECONDS, every_seconds=_RETRY_SECONDS)
        if not came or process.poll() is not None:
            raise PolicyError("the agent does not start: `xgos run` " + self._last_words())
        return [refusal for name, slo in slos.items() for refusal in self.slo_changed(name, slo, 0.0)]

    def _start(self) -> "subprocess.Popen[bytes]":
        assert self._lab is not None
        config = str(self._directory / "xgos.toml")
        argv = [sys.executable, "-m", "stella.cmd.xgos", "run", "--config", config]
        with (self._directory / "xgos.log").open("ab") as log:
            self._process = self._lab.spawn(argv, stdout=log, stderr=log)
        self._stopped = False
        return self._process

    def _last_words(self) -> str:
        code = self._process.poll() if self._process else None
        lines = (self._directory / "xgos.log").read_text(errors="replace").strip().splitlines()
        return f"{'is silent' if code is None else f'ended with {code}'}: {lines[-1][-200:] if lines else 'no word'}"

    def _status(self) -> dict[str, Any]:
        with contextlib.suppress(Unreachable, RequestRefused):
            return Client(self._socket, timeout_seconds=2.0).status()
        return {}

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """Set or remove an SLO. What admission refuses is kept for the report; the run goes on without it."""
        client = Client(self._socket, timeout_seconds=5.0)
        limit = time.monotonic() + _SET_PATIENCE_SECONDS
        while True:
            try:
                if slo is None:
                    client.unset_slo(instance)
                else:
                    client.set_slo(instance, show_slo(slo), replace=True)
                return ()
            except RequestRefused as error:
                refusal = Refusal(instance=instance, at_seconds=at_seconds, message=str(error))
            except Unreachable as error:
                if time.monotonic() < limit and not self._stopped:
                    time.sleep(_RETRY_SECONDS)
                    continue
                refusal = Refusal(
                    instance=instance, at_seconds=at_seconds, message=f"the agent does not answer: {error}"
                )
            self._refused.append(refusal)
            return (refusal,)

    def agent_event(self, action: str) -> None:
        """``kill``: SIGKILL, and a new one at once, as a service manager would. ``restart``: the same with SIGTERM."""
        if self._process is None:
            return
        match action:
            case "stop":
                self._process.send_signal(signal.SIGSTOP)
                self._stopped = True
            case "continue":
                self._process.send_signal(signal.SIGCONT)
                self._stopped = False
            case "kill" | "restart":
                if not self._stopped:
                    self._count_ticks()
                self._finish(signal.SIGKILL if action == "kill" else signal.SIGTERM)
                self._start()

    def _finish(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        if self._stopped:
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(END_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._notes.append(f"the agent did not end within {END_PATIENCE_SECONDS:g} s and was killed")
            finish(process)

    def _count_ticks(self) -> None:
        status = self._status()
        self._ticks += int(status.get("ticks", 0))
        self._late += int(status.get("late_ticks", 0))

    def collect(self) -> None:
        """Fetch the windows since the last time."""
        try:
            self._log.collect(self._socket)
        except (Unreachable, RequestRefused) as error:
            self._notes.append(f"windows: {error}")

    def measured(self, start: float, end: float) -> None:
        """Its windows are collected already."""

    def report(self) -> PolicyReport:
        """What the agent said. To be asked after `end`."""
        return PolicyReport(
            windows=self._log.windows(),
            refused=tuple(self._refused),
            ticks=self._ticks,
            late_ticks=self._late,
            notes=tuple(self._notes),
        )

    def end(self) -> None:
        """Ask for the last windows and end the agent with SIGTERM; it must have released the host then."""
        if self._process is None:
            return
        if self._process.poll() is not None:
            self._notes.append(f"the agent ended by itself with {self._process.returncode}")
            return
        if self._stopped:
            self._process.send_signal(signal.SIGCONT)
            self._stopped = False
        self.collect()
        self._count_ticks()
        self._finish(signal.SIGTERM)
