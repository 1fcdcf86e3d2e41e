"""Stella as its users have it: the agent linked to stella-api, SLOs set with `openstack slo`, attainment asked of the API."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stella.bench.lab.process import cpu_seconds, finish, wait_until
from stella.bench.lab.relay import Relay, listen_inside
from stella.bench.lab.rig import Rig
from stella.bench.policies.base import PolicyError
from stella.bench.policies.stella import ApiLink, StellaPolicy
from stella.bench.policies.tenant import Tenant, run_client
from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.bench.standalone import control_plane
from stella.bench.standalone.control_plane import ControlPlane
from stella.bench.standalone.errors import StandaloneError
from stella.model.slo import Slo

HOST = "host1"
START_SECONDS = 60.0
_END_SECONDS = 15.0
_POLL_SECONDS = 0.5


class ApiPolicy:
    """Starts stella-api, stella-engine and the agent. ``directory`` must be fresh."""

    name = "stella"

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute() / "api"
        self._agent = StellaPolicy(directory, mode="enforce")
        self._lab: Rig | None = None
        self._plane: ControlPlane | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._relay: Relay | None = None
        self._uuids: dict[str, str] = {}
        self._tenant = Tenant(self._uuids, self._client, self._get)
        self._began = (0.0, 0.0)
        self._cpu_cores: float | None = None

    @property
    def agent_pid(self) -> int | None:
        """The agent's process; stella-api and stella-engine would run on another machine, and are reported beside it."""
        return self._agent.agent_pid

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Start everything and set the SLOs. Raises `PolicyError` when a part does not come up."""
        self._lab = lab
        self._uuids |= {i.name: lab.uuid(i.name) for i in scenario.instances}
        try:
            self._directory.mkdir(parents=True)
            plane = self._plane = control_plane.prepare(self._directory, (HOST,))
            for name, argv in plane.programs.items():
                with (self._directory / f"{name}.log").open("wb") as log:
                    self._processes[name] = lab.spawn(argv, stdout=log, stderr=log, outside=True)
            self._wait("stella-api does not answer", lambda: control_plane.is_healthy(plane))
            self._relay = Relay(listen_inside(Path("/run/netns") / lab.network_namespace, plane.port), plane.port)
            self._agent.link = ApiLink(url=plane.endpoint, host_name=HOST, credential_file=plane.credentials[HOST])
            self._agent.begin(lab, scenario, {})
            self._wait("the host's instances are not reported", self._all_reported)
        except (StandaloneError, OSError) as error:
            raise PolicyError(str(error)) from None
        self._began = time.monotonic(), self._cpu_seconds()
        return self._tenant.set_at_start(slos)

    def _all_reported(self) -> bool:
        assert self._plane is not None
        return set(self._uuids) <= {instance.name for instance in control_plane.reported(self._plane)}

    def _wait(self, what: str, is_done: Callable[[], bool]) -> None:
        def ended() -> list[str]:
            return [name for name, process in self._processes.items() if process.poll() is not None]

        came = wait_until(lambda: ended() or is_done(), START_SECONDS, every_seconds=_POLL_SECONDS)
        if ended() or not came:
            name = (ended() or ["stella-api"])[0]
            lines = (self._directory / f"{name}.log").read_text(errors="replace").strip().splitlines()
            raise PolicyError(f"{what}: {name} says: {lines[-1][-200:] if lines else 'nothing'}")

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """`openstack slo set --wait` or `unset`. What is refused is kept for the report; the run goes on without it."""
        return self._tenant.change(instance, slo, at_seconds)

    def _client(self, *words: str) -> None:
        """Run `openstack` as a tenant's administrator would. Raises `PolicyError` with what it says."""
        assert self._lab is not None
        assert self._plane is not None
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("OS_")},
            "OS_AUTH_TYPE": "admin_token",
            "OS_ENDPOINT": self._plane.endpoint,
            "OS_TOKEN": self._plane.admin_token,
        }
        run_client(self._lab, environment, *words)

    def _get(self, path: str) -> Mapping[str, Any]:
        assert self._plane is not None
        try:
            answer = control_plane.get(self._plane, path)
        except StandaloneError as error:
            raise PolicyError(str(error)) from None
        assert isinstance(answer, dict)
        return answer

    def agent_event(self, action: str) -> None:
        """To the agent."""
        self._agent.agent_event(action)

    def collect(self) -> None:
        """The agent's windows."""
        self._agent.collect()

    def measured(self, start: float, end: float) -> None:
        """Ask the API for the attainment over the whole minutes within, once it knows each of their seconds."""
        self._count_cpu()
        self._tenant.measured(start, end)

    def _cpu_seconds(self) -> float:
        return sum(cpu_seconds(process.pid, children=True) or 0.0 for process in self._processes.values())

    def _count_cpu(self) -> None:
        elapsed = time.monotonic() - self._began[0]
        self._cpu_cores = (self._cpu_seconds() - self._began[1]) / elapsed

    def report(self) -> PolicyReport:
        """What agent and API said. To be asked after `end`."""
        said = self._agent.report()
        return replace(self._tenant.told(said), control_plane_cpu_cores=self._cpu_cores)

    def end(self) -> None:
        """End the agent, which restores the host, then the rest."""
        self._agent.end()
        for process in self._processes.values():
            finish(process, patience_seconds=_END_SECONDS)
        if self._relay is not None:
            self._relay.close()
