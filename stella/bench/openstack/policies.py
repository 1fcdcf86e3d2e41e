"""Without Stella and with it, on the compute host of `make openstack`: its own agent, API and engine, which run all the time."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stella.bench.lab.model import LabError
from stella.bench.lab.rig import Rig
from stella.bench.openstack.dashboard import Dashboard, DashboardTenant
from stella.bench.openstack.servers import Member
from stella.bench.openstack.surroundings import Surroundings, listener
from stella.bench.policies.base import NonePolicy, Policy, PolicyError
from stella.bench.policies.tenant import Tenant, run_client
from stella.bench.policies.window_log import WindowLog
from stella.bench.results import PolicyReport, Refusal
from stella.bench.scenario import Scenario
from stella.model.slo import Slo
from stella.xgos.local_api.client import Client, RequestRefused, Unreachable

MODE_SECONDS = 30.0
REPORTED_SECONDS = 90.0
ATTEMPTS = 3
_POLL_SECONDS = 0.5


class HostMode:
    """The mode of the compute host, changed by the operator with `openstack slo host set`, and put back."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._lab: Rig | None = None
        self._before = self._host = ""

    def status(self) -> dict[str, Any]:
        """What the agent says of itself. Raises `PolicyError`."""
        try:
            return Client(self._surroundings.agent_socket, timeout_seconds=5.0).status()
        except (Unreachable, RequestRefused) as error:
            raise PolicyError(f"the agent does not answer: {error}") from None

    def change(self, lab: Rig, mode: str) -> None:
        """Ask for a mode, and wait until the agent has it. Raises `PolicyError`."""
        self._lab = lab
        now = str(self.status()["mode"])
        if now == mode:
            return
        self._before = self._before or now
        self._host = str((self.status().get("link") or {}).get("host_name") or self._host)
        run_client(lab, self._surroundings.operator, "slo", "host", "set", self._host, "--mode", mode)
        limit = time.monotonic() + MODE_SECONDS
        while self.status()["mode"] != mode:
            if time.monotonic() > limit:
                raise PolicyError(f"the agent does not change to {mode}")
            time.sleep(_POLL_SECONDS)

    def put_back(self) -> None:
        """The mode that it had. Loads are halted: the control plane need not compete with what is measured no more.

        Tried again and again, for a host in ``observe`` keeps nobody's SLO. Raises `PolicyError` that says how to do it by hand.
        """
        if not self._before or self._lab is None:
            return
        self._lab.halt()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.change(self._lab, self._before)
                self._before = ""
                return
            except PolicyError as error:
                if attempt == ATTEMPTS:
                    raise PolicyError(
                        f"{error}; put it back by hand: openstack slo host set {self._host} --mode {self._before}"
                    ) from None


class ObservedPolicy(NonePolicy):
    """Without Stella: no SLO is set, and the agent is in ``observe``: it changes nothing on the host."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._mode = HostMode(surroundings)

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Change the mode."""
        self._mode.change(lab, "observe")
        return ()

    def end(self) -> None:
        """The mode as it was."""
        self._mode.put_back()


class CloudPolicy:
    """With Stella: the member sets the SLOs with `openstack slo set`, or in a ``dashboard``. ``ticks`` are those of the run."""

    name = "stella"

    def __init__(self, surroundings: Surroundings, member: Member, dashboard: Dashboard | None = None) -> None:
        self._surroundings, self._member = surroundings, member
        self._mode = HostMode(surroundings)
        self._lab: Rig | None = None
        self._uuids: dict[str, str] = {}
        self._tenant = (
            Tenant(self._uuids, self._client, self._get)
            if dashboard is None
            else DashboardTenant(dashboard, self._uuids, self._client, self._get)
        )
        self._log = WindowLog({})
        self._notes: list[str] = []
        self._ticks: list[tuple[int, int]] = []

    @property
    def agent_pid(self) -> int | None:
        """The compute host's agent."""
        with contextlib.suppress(LabError):
            return listener(self._surroundings.agent_socket)
        return None

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Wait until Stella knows the servers, and set the SLOs. Raises `PolicyError`."""
        self._lab = lab
        self._uuids |= {i.name: lab.uuid(i.name) for i in scenario.instances}
        self._log = WindowLog({uuid: name for name, uuid in self._uuids.items()})
        self._mode.change(lab, "enforce")
        limit = time.monotonic() + REPORTED_SECONDS
        while unknown := [name for name in self._uuids if not self._is_reported(name)]:
            if time.monotonic() > limit:
                raise PolicyError(f"stella-api does not know {', '.join(unknown)} as running on a host")
            time.sleep(_POLL_SECONDS)
        self._count_ticks()
        return self._tenant.set_at_start(slos)

    def _is_reported(self, name: str) -> bool:
        with contextlib.suppress(PolicyError):
            return bool(self._get(f"/v1/instances/{self._uuids[name]}").get("state") == "running")
        return False

    def _client(self, *words: str) -> None:
        assert self._lab is not None
        run_client(self._lab, self._surroundings.member, *words)

    def _get(self, path: str) -> Mapping[str, Any]:
        try:
            return self._member.stella(path)
        except LabError as error:
            raise PolicyError(str(error)) from None

    def _count_ticks(self) -> None:
        status = self._mode.status()
        self._ticks.append((int(status["ticks"]), int(status["late_ticks"])))

    def slo_changed(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """`openstack slo set --wait` or `unset`."""
        return self._tenant.change(instance, slo, at_seconds)

    def agent_event(self, action: str) -> None:
        """The cloud's agent is not the bench's to stop."""
        self._notes.append(f"agent {action}: not done: the agent is the cloud's")

    def collect(self) -> None:
        """The agent's windows."""
        try:
            self._log.collect(self._surroundings.agent_socket)
        except (Unreachable, RequestRefused) as error:
            self._notes.append(f"windows: {error}")

    def measured(self, start: float, end: float) -> None:
        """Ask the API for the attainment, and read the pages."""
        self._tenant.measured(start, end)
        if self._lab is not None:
            self._lab.halt()
        self._tenant.look_back()

    def report(self) -> PolicyReport:
        """What agent and API said."""
        (first, first_late), (last, last_late) = (self._ticks or [(0, 0)])[0], (self._ticks or [(0, 0)])[-1]
        return self._tenant.told(
            PolicyReport(
                windows=self._log.windows(),
                ticks=last - first,
                late_ticks=last_late - first_late,
                notes=tuple(self._notes),
            )
        )

    def end(self) -> None:
        """Count the ticks, take the SLOs back, and leave the host in the mode it had."""
        if self._lab is None:
            return
        self._lab.halt()
        with contextlib.suppress(PolicyError):
            self._count_ticks()
        self._tenant.withdraw()
        self._mode.put_back()


def without_and_with(surroundings: Surroundings, *, in_browser: bool = False) -> Callable[[str, Path], Policy]:
    """Makes the policies ``none`` and ``stella``, as `stella.bench.run.Options` wants it. In a browser: SLOs are set in Horizon."""

    def make(name: str, directory: Path) -> Policy:
        if name != CloudPolicy.name:
            return ObservedPolicy(surroundings)
        dashboard = dashboard_of(surroundings, directory / "pictures") if in_browser else None
        return CloudPolicy(surroundings, Member(surroundings.member), dashboard)

    return make


def dashboard_of(surroundings: Surroundings, pictures: Path) -> Dashboard:
    """The cloud's Horizon, for its member. Raises `PolicyError` for a cloud that has none."""
    try:
        url, user, password = (surroundings.operator[f"HORIZON_{key}"] for key in ("URL", "USER", "PASSWORD"))
    except KeyError as error:
        raise PolicyError(f"openstack.env lacks {error.args[0]}; run make openstack") from None
    return Dashboard(url=url, user=user, password=password, pictures=pictures)
