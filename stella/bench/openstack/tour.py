"""The tour of a lost host: two servers with SLOs set in Horizon, one of two hosts loses power, is fenced, and its promises come back.

Everything is done as people do it: a plain member in a browser, and an operator who lets relief act, cuts the power of the host in
the laboratory and tells Stella so. Stella alone asks Nova to evacuate.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from stella.bench.lab.model import Guest, LabError
from stella.bench.openstack.dashboard import Dashboard, fields_of
from stella.bench.openstack.servers import Member
from stella.bench.openstack.surroundings import Surroundings
from stella.model.slo import parse_slo

NAMES = ("tour-1", "tour-2")
FLOOR = {"cpu": {"floor": 0.15}}
"""Of each, so that either host can hold both."""

ASKED_SECONDS, IN_FORCE_SECONDS = 60.0, 5.0
"""The most from Nova's calling the host down to the evacuation's being asked for, and from ACTIVE to the SLO's being in force."""

_SILENT_SECONDS, _EVACUATED_SECONDS, _STEP_SECONDS = 180.0, 240.0, 120.0
_POLL_SECONDS = 0.5
T = TypeVar("T")


class NeedsTwoHosts(LabError):
    """The cloud has one compute host."""


@dataclass(slots=True, kw_only=True)
class Tour:
    """What there is, and when what happened (monotonic seconds, by name)."""

    surroundings: Surroundings
    member: Member
    operator: Member
    dashboard: Dashboard
    say: Callable[[str], None]
    moments: dict[str, float] = field(default_factory=dict)

    def run(self) -> list[str]:
        """The tour; what it did not show. Raises `LabError`, and `PolicyError` where Horizon is not as it should be."""
        self.member.sweep()
        try:
            servers = self.member.create([Guest(name=name, memory_bytes=256 << 20) for name in NAMES])
            uuids = {name: server.uuid for name, server in servers.items()}
            for name, uuid in uuids.items():
                self._until("its host reports it", partial(self._host_of, uuid), _STEP_SECONDS)
                self.dashboard.set(name, uuid, fields_of(parse_slo(FLOOR)))
            first = uuids[NAMES[0]]
            return self._lose(self._host_of(first), first)
        finally:
            self.say("deleting the servers")
            self.member.delete()

    def _host_of(self, uuid: str) -> str:
        """The host that Stella has it on; empty while it knows none."""
        return str(self.operator.stella(f"/v1/instances/{uuid}").get("host") or "")

    def _lose(self, host: str, uuid: str) -> list[str]:
        self.operator.change_stella(f"/v1/hosts/{host}", {"relief_mode": "act"})
        try:
            with self.dashboard.open() as look:
                look("tour-before", uuid)
                self.say(f"{host} loses its power; {NAMES[0]} ran there")
                self._power("off", host)
                self._note("off")
                self._watch(host, uuid, look)
        finally:
            self.say(f"{host} is switched on again")
            self._power("on", host)
            self.operator.change_stella(f"/v1/hosts/{host}", {"relief_mode": None})
        return self.missed()

    def _watch(self, host: str, uuid: str, look: Callable[[str, str], bool]) -> None:
        """From the loss to the promise's being back, seen in the API and in the browser."""

        def is_silent() -> bool:
            if "down" not in self.moments and self.operator.is_down(host):
                self._note("down")
                self.say(f"Nova calls {host} down")
            return bool(self.operator.stella(f"/v1/hosts/{host}").get("silent"))

        self._until(f"{host} is silent", is_silent, _SILENT_SECONDS)
        self._note("silent")
        look("tour-silent", uuid)
        self.operator.change_stella(f"/v1/hosts/{host}", {"fenced": True})
        self._note("fenced")
        self.say(f"the operator says that {host} is fenced")

        def is_elsewhere() -> bool:
            if "down" not in self.moments and self.operator.is_down(host):
                self._note("down")
            if "asked" not in self.moments and self._evacuations(uuid):
                self._note("asked")
                self.say(f"Stella asks Nova to evacuate {NAMES[0]}")
            state, there = self.operator.state(uuid)
            return state == "ACTIVE" and there not in ("", host)

        self._until(f"{NAMES[0]} runs elsewhere", is_elsewhere, _EVACUATED_SECONDS)
        self._note("active")
        self._until("its SLO is in force", lambda: self._is_in_force(uuid, host), _STEP_SECONDS)
        self._note("in force")
        self.say(f"{NAMES[0]} runs on {self._host_of(uuid)}, and its SLO is in force")
        self._until("the browser shows it in force", lambda: look("tour-after", uuid), _STEP_SECONDS)
        self._note("shown")

    def _evacuations(self, uuid: str) -> bool:
        found = self.operator.stella(f"/v1/decisions?kind=evacuation&uuid={uuid}&limit=10")["decisions"]
        return any((one.get("move") or {}).get("state") in ("moving", "done") for one in found)

    def _is_in_force(self, uuid: str, host: str) -> bool:
        slo = self.member.stella(f"/v1/instances/{uuid}/slo")
        return slo.get("state") == "enforced" and self._host_of(uuid) not in ("", host)

    def _power(self, verb: str, host: str) -> None:
        """The laboratory's switch. Raises `LabError`."""
        checkout = self.surroundings.checkout
        done = subprocess.run(
            [sys.executable, "-m", "laboratory", "host", verb, host],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(checkout / "deploy")},
        )
        if done.returncode:
            raise LabError(f"{host} cannot be switched {verb}: {(done.stderr or done.stdout).strip()[-300:]}")

    def _note(self, name: str) -> None:
        self.moments[name] = time.monotonic()

    @staticmethod
    def _until(what: str, ask: Callable[[], T], seconds: float) -> T:
        """The first answer that is true. Raises `LabError`."""
        limit = time.monotonic() + seconds
        while True:
            with contextlib.suppress(LabError):  # a control plane that has lost a host is slow for moments
                if found := ask():
                    return found
            if time.monotonic() > limit:
                raise LabError(f"not within {seconds:.0f} s: {what}")
            time.sleep(_POLL_SECONDS)

    def seconds(self, start: str, end: str) -> float:
        """From one moment to another."""
        return self.moments[end] - self.moments[start]

    def table(self) -> str:
        """What took how long."""
        rows = (
            ("power off", "Nova calls the host down", "off", "down"),
            ("power off", "Stella calls it silent", "off", "silent"),
            ("Nova calls it down", "evacuation asked for", "down", "asked"),
            ("fenced", "evacuation asked for", "fenced", "asked"),
            ("evacuation asked for", "ACTIVE elsewhere", "asked", "active"),
            ("ACTIVE elsewhere", "SLO in force", "active", "in force"),
            ("ACTIVE elsewhere", "shown in the browser", "active", "shown"),
        )
        known = [(a, b, self.seconds(x, y)) for a, b, x, y in rows if {x, y} <= self.moments.keys()]
        return "\n".join(f"{a:<22} {b:<26} {seconds:6.1f} s" for a, b, seconds in known)

    def missed(self) -> list[str]:
        """What took longer than it may."""
        missed = []
        for start, end, most in (("down", "asked", ASKED_SECONDS), ("active", "in force", IN_FORCE_SECONDS)):
            if (seconds := self.seconds(start, end)) > most:
                missed.append(f"from {start} to {end}: {seconds:.1f} s, at most {most:.0f} s are allowed")
        return missed


def run(surroundings: Surroundings, dashboard: Dashboard, say: Callable[[str], None]) -> tuple[str, list[str]]:
    """The tour: its table, and what it did not show. Raises `NeedsTwoHosts`, `LabError` and `PolicyError`."""
    if len(surroundings.hosts) < 2:
        raise NeedsTwoHosts(
            "the tour of a lost host needs two compute hosts: make openstack-down, make demo-openstack HOSTS=2"
        )
    made = Tour(
        surroundings=surroundings,
        member=Member(surroundings.member),
        operator=Member(surroundings.operator),
        dashboard=dashboard,
        say=say,
    )
    missed = made.run()
    return made.table(), missed
