"""Stella as its users have it: the agent linked to stella-api, SLOs set with `openstack slo`, attainment asked of the API."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from stella.api import times
from stella.bench.lab.process import cpu_seconds
from stella.bench.lab.relay import Relay, listen_inside
from stella.bench.policies.base import LabPort, PolicyError
from stella.bench.policies.stella import ApiLink, StellaPolicy
from stella.bench.results import ApiAttainment, PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.bench.standalone import control_plane
from stella.bench.standalone.control_plane import ControlPlane
from stella.bench.standalone.errors import StandaloneError
from stella.model.report import StatusCounts
from stella.model.slo import Direction, Metric, Objective, Slo

HOST = "host1"
MINUTE_SECONDS = 60
START_SECONDS = 60.0
CLIENT_SECONDS = 90.0
REPORT_SECONDS = 30.0
SET_ATTEMPTS = 3
SETTLE_SECONDS = 8.0
_END_SECONDS = 15.0
_POLL_SECONDS = 0.5
_OPTIONS = {
    Metric.CPU: "--cpu",
    Metric.NETWORK_PACKETS: "--net-pps",
    Metric.NETWORK_BYTES: "--net-bandwidth",
    Metric.BLOCK_BYTES: "--disk",
    Metric.BLOCK_OPERATIONS: "--disk-iops",
    Metric.BLOCK_LATENCY: "--disk-latency",
}
_DIRECTIONS = {"network": "--net-direction", "block": "--disk-direction"}


class NoSuchOption(ValueError):
    """`openstack slo set` has no option for it; one line for a person."""


def set_options(slo: Slo) -> list[str]:
    """The options of `openstack slo set` for an SLO, quantities in base units. Raises `NoSuchOption`."""
    words: list[str] = []
    directions: dict[str, Direction] = {}
    priorities = {objective.priority for objective in slo.objectives}
    if len(priorities) > 1:
        raise NoSuchOption("openstack slo set takes one priority for all objectives")
    for objective in slo.objectives:
        words += _objective_options(objective)
        resource = objective.metric.resource
        if directions.setdefault(resource, objective.direction) is not objective.direction:
            raise NoSuchOption(f"openstack slo set takes one direction for all objectives of the {resource}")
    for resource, direction in directions.items():
        if direction is not Direction.BOTH:
            words += [_DIRECTIONS[resource], direction.value]
    return words + (["--priority", str(max(priorities))] if max(priorities, default=0) else [])


def _objective_options(objective: Objective) -> list[str]:
    if objective.weight is not None:
        raise NoSuchOption("openstack slo set takes no weight")
    option, words = _OPTIONS[objective.metric], []
    if objective.floor is not None:
        words += [option, repr(objective.floor)]
    if objective.ceiling is not None:
        words += [f"{option}-ceiling", repr(objective.ceiling)]
    if objective.target is not None:
        words += [option, repr(objective.target)]
    return words


def whole_minutes(start: float, end: float) -> tuple[int, int]:
    """The whole minutes of the clock within a span, as Unix seconds; both are equal where there is none."""
    first = -int(-start // MINUTE_SECONDS) * MINUTE_SECONDS
    return first, max(first, int(end // MINUTE_SECONDS) * MINUTE_SECONDS)


def parse_attainment(
    answer: Mapping[str, Any], instance: str, start: int, end: int
) -> dict[tuple[str, str], ApiAttainment]:
    """What ``GET .../attainment`` answered, by instance and metric."""
    names = {field.name for field in fields(StatusCounts)}
    return {
        (instance, str(objective["metric"])): ApiAttainment(
            instance=instance,
            metric=str(objective["metric"]),
            start=start,
            end=end,
            seconds=StatusCounts(**{k: int(v) for k, v in objective["seconds"].items() if k in names}),
        )
        for objective in answer["objectives"]
    }


class ApiPolicy:
    """Starts stella-api, stella-engine and the agent. ``directory`` must be fresh."""

    name = "stella"

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute() / "api"
        self._agent = StellaPolicy(directory, mode="enforce")
        self._lab: LabPort | None = None
        self._plane: ControlPlane | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._relay: Relay | None = None
        self._uuids: dict[str, str] = {}
        self._slos: dict[str, Slo] = {}
        self._refused: list[Refusal] = []
        self._notes: list[str] = []
        self._attainment: tuple[ApiAttainment, ...] = ()
        self._began = (0.0, 0.0)
        self._cpu_cores: float | None = None

    @property
    def agent_pid(self) -> int | None:
        """The agent's process; stella-api and stella-engine would run on another machine, and are reported beside it."""
        return self._agent.agent_pid

    def begin(self, lab: LabPort, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Start everything and set the SLOs. Raises `PolicyError` when a part does not come up."""
        self._lab = lab
        self._uuids = {i.name: lab.uuid(i.name) for i in scenario.instances}
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
        return [refusal for name, slo in slos.items() for refusal in self._set_at_start(name, slo)]

    def _set_at_start(self, name: str, slo: Slo) -> Sequence[Refusal]:
        """Set an SLO, again after a pause where it is refused.

        A client that starts is a core of work for a second or two, and this machine's admission counts it as the host's own.
        """
        for attempt in range(1, SET_ATTEMPTS + 1):
            refused = self.slo_changed(name, slo, 0.0)
            if not refused or attempt == SET_ATTEMPTS:
                return refused
            self._notes.append(f"{name}: tried again: {self._refused.pop().message}")
            time.sleep(SETTLE_SECONDS)
        return ()

    def _all_reported(self) -> bool:
        assert self._plane is not None
        return set(self._uuids) <= {instance.name for instance in control_plane.reported(self._plane)}

    def _wait(self, what: str, is_done: Callable[[], bool]) -> None:
        limit = time.monotonic() + START_SECONDS
        while not is_done():
            ended = next((name for name, p in self._processes.items() if p.poll() is not None), "")
            if ended or time.monotonic() > limit:
                name = ended or "stella-api"
                lines = (self._directory / f"{name}.log").read_text(errors="replace").strip().splitlines()
                raise PolicyError(f"{what}: {name} says: {lines[-1][-200:] if lines else 'nothing'}")
            time.sleep(_POLL_SECONDS)

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """`openstack slo set --wait` or `unset`. What is refused is kept for the report; the run goes on without it."""
        server = ["--server", self._uuids[instance]]
        try:
            if slo is None:
                self._client("slo", "unset", *server)
                self._slos.pop(instance, None)
            else:
                self._client("slo", "set", *server, *set_options(slo), "--replace", "--wait")
                self._slos[instance] = slo
        except (PolicyError, NoSuchOption) as error:
            self._refused.append(Refusal(instance=instance, at_seconds=at_seconds, message=str(error)))
            return (self._refused[-1],)
        return ()

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
        program = str(Path(sys.executable).parent / "openstack")
        process = self._lab.spawn(
            [program, *words],
            environment=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            outside=True,
        )
        try:
            _, said = process.communicate(timeout=CLIENT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise PolicyError(f"openstack {' '.join(words[:2])} did not end within {CLIENT_SECONDS:g} s") from None
        if process.returncode:
            raise PolicyError(
                " ".join(said.decode(errors="replace").split())[-300:] or f"ended with {process.returncode}"
            )

    def agent_event(self, action: str) -> None:
        """To the agent."""
        self._agent.agent_event(action)

    def collect(self) -> None:
        """The agent's windows."""
        self._agent.collect()

    def measured(self, start: float, end: float) -> None:
        """Ask the API for the attainment over the whole minutes within, once it knows each of their seconds."""
        self._count_cpu()
        first, last = whole_minutes(start, end)
        wanted = {(name, o.metric.value) for name, slo in self._slos.items() for o in slo.objectives}
        if first == last or not wanted:
            self._notes.append("the measured time holds no whole minute of the clock: no attainment of the API")
            return
        limit = time.monotonic() + REPORT_SECONDS
        found: dict[tuple[str, str], ApiAttainment] = {}
        while True:
            try:
                found = self._ask_attainment(first, last)
            except StandaloneError as error:
                self._notes.append(str(error))
            if all(key in found and found[key].seconds.seconds >= last - first for key in wanted):
                break
            if time.monotonic() > limit:
                self._notes.append("the API does not know every second of the measured time")
                break
            time.sleep(_POLL_SECONDS)
        self._attainment = tuple(found[key] for key in sorted(found) if key in wanted)

    def _ask_attainment(self, start: int, end: int) -> dict[tuple[str, str], ApiAttainment]:
        assert self._plane is not None
        found: dict[tuple[str, str], ApiAttainment] = {}
        for name in self._slos:
            path = f"/v1/instances/{self._uuids[name]}/attainment?from={times.show(start)}&to={times.show(end)}"
            answer = control_plane.get(self._plane, path)
            assert isinstance(answer, dict)
            found |= parse_attainment(answer, name, start, end)
        return found

    def _cpu_seconds(self) -> float:
        return sum(cpu_seconds(process.pid, children=True) or 0.0 for process in self._processes.values())

    def _count_cpu(self) -> None:
        elapsed = time.monotonic() - self._began[0]
        self._cpu_cores = (self._cpu_seconds() - self._began[1]) / elapsed

    def report(self) -> PolicyReport:
        """What agent and API said. To be asked after `end`."""
        said = self._agent.report()
        return PolicyReport(
            windows=said.windows,
            refused=tuple(self._refused),
            ticks=said.ticks,
            late_ticks=said.late_ticks,
            notes=(*said.notes, *self._notes),
            attainment=self._attainment,
            control_plane_cpu_cores=self._cpu_cores,
        )

    def end(self) -> None:
        """End the agent, which restores the host, then the rest."""
        self._agent.end()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._relay is not None:
            self._relay.close()
