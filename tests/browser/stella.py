"""stella-api in this process over HTTP, on SQLite and at the real time, with hosts whose reports a test scripts."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tests.functional.conftest import Agent, Clock, Cloud
from tests.functional.process import wait

_TICK_SECONDS = 0.2
_LIVE_SECONDS = 890
"""So far back an agent may send seconds."""


class WallClock(Clock):
    """The time that it is."""

    def __init__(self) -> None:
        """Nothing to set."""

    def __call__(self) -> float:
        """Unix seconds."""
        return time.time()

    @property
    def now(self) -> float:  # type: ignore[override]
        """The same."""
        return time.time()


Course = Callable[[str, int], str]
"""From a metric and a second to ``met``, ``missed`` or ``idle``."""


def always(word: str) -> Course:
    """The same in each second."""
    return lambda metric, at: word


MET = always("met")


@dataclass
class Guest:
    """An instance as its host reports it. ``refused``: why the host does not take its SLO on."""

    uuid: str
    course: Course
    refused: str = ""

    def objective(self, metric: str, objective: Mapping[str, Any], at: int) -> dict[str, Any]:
        """One objective in one second."""
        floor = objective.get("floor") or objective.get("target") or objective.get("ceiling") or 1.0
        phase = sum(self.uuid.encode()) % 97
        wave = 1 + 0.06 * math.sin(at / 41 + phase) + 0.03 * math.sin(at / 7 + phase)
        told: dict[str, Any] = {"metric": metric, "cause": None}
        match self.course(metric, at):
            case "met":
                return told | {"usage": floor * 1.08 * wave, "demand": floor * 1.2 * wave, "status": "MET"}
            case "missed":
                return told | {
                    "usage": floor * 0.68 * wave,
                    "demand": floor * 1.3,
                    "status": "VIOLATED",
                    "cause": "cpu",
                }
            case _:
                return told | {"usage": floor * 0.02 * wave, "demand": floor * 0.02 * wave, "status": "NO_DEMAND"}


@dataclass
class ScriptedHost:
    """Takes on what is in its intent at once, and reports as its guests' courses say."""

    agent: Agent
    guests: dict[str, Guest] = field(default_factory=dict)
    _sent_until: dict[str, int] = field(default_factory=dict)
    _open: set[tuple[str, str]] = field(default_factory=set)

    def tick(self) -> None:
        """One look at the intent, one report."""
        now = int(time.time())
        intent = self.agent.intent().json
        slos = intent["slos"]
        states, violations = {}, []
        for uuid, guest in self.guests.items():
            objectives = slos.get(uuid, {}).get("objectives", {})
            if uuid in slos:
                state = {"state": "refused", "reason": guest.refused} if guest.refused else {"state": "enforced"}
                states[uuid] = {"revision": slos[uuid]["revision"], **state}
            told = [guest.objective(metric, one, now) for metric, one in objectives.items()]
            self.agent.instances[uuid]["objectives"] = [] if guest.refused else told
            violations += self._violations(uuid, told, now)
        points = [point for uuid in intent["watched"] if uuid in self.guests for point in self._points(uuid, slos, now)]
        self.agent.report(states=states, violations=violations, points=points[-1000:])

    def _violations(self, uuid: str, told: list[dict[str, Any]], now: int) -> list[dict[str, Any]]:
        found = []
        for one in told:
            key, is_missed = (uuid, one["metric"]), one["status"] == "VIOLATED"
            if is_missed != (key in self._open):
                self._open ^= {key}
                violation = {
                    "id": f"{uuid}-{one['metric']}",
                    "uuid": uuid,
                    "metric": one["metric"],
                    "opened_at": now - 20,
                }
                found.append({**violation, "closed_at": None if is_missed else now, "cause": "cpu"})
        return found

    def _points(self, uuid: str, slos: Mapping[str, Any], now: int) -> list[dict[str, Any]]:
        objectives = {} if self.guests[uuid].refused else slos.get(uuid, {}).get("objectives", {})
        start = max(self._sent_until.get(uuid, 0), now - _LIVE_SECONDS)
        self._sent_until[uuid] = now
        guest = self.guests[uuid]
        return [
            {
                "uuid": uuid,
                "at": at,
                "objectives": [guest.objective(metric, one, at) for metric, one in objectives.items()],
            }
            for at in range(start, now)
        ]

    def past(self, uuid: str, objectives: Mapping[str, Mapping[str, Any]], starts: range) -> None:
        """Report minutes that have passed; ``starts`` are Unix seconds."""
        guest = self.guests[uuid]
        rows = []
        for start in starts:
            for metric, objective in objectives.items():
                seconds = [guest.objective(metric, objective, at) for at in range(start, start + 60, 4)]
                counts = {
                    name: 4 * sum(one["status"] == name.upper() for one in seconds)
                    for name in ("met", "violated", "no_demand")
                }
                used = [one["usage"] for one in seconds]
                rows.append(
                    {
                        "uuid": uuid,
                        "metric": metric,
                        "start": start,
                        "counts": counts,
                        "causes": {"cpu": counts["violated"]} if counts["violated"] else {},
                        "usage": {"mean": sum(used) / len(used), "min": min(used), "max": max(used)},
                        "demand_mean": sum(one["demand"] for one in seconds) / len(seconds),
                    }
                )
        for first in range(0, len(rows), 5000):
            answer = self.agent.report(minutes=rows[first : first + 5000])
            assert answer.status_code == 200, answer.text


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Stella:
    """An API on loopback until `stop`, and a thread that ticks its hosts."""

    def __init__(self, directory: Path) -> None:
        self.cloud = Cloud(directory, f"sqlite:///{directory}/stella.sqlite", clock=WallClock())
        self.hosts: list[ScriptedHost] = []
        self.delay_seconds = 0.0
        self.answered = 0
        self.errors: list[str] = []
        self._application = self.cloud.client.app
        self._server = make_server("127.0.0.1", 0, self._answer, server_class=_Server, handler_class=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True),
            threading.Thread(target=self._tick, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.answered += 1
        time.sleep(self.delay_seconds)
        return self._application(environ, start_response)

    def _tick(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            for host in list(self.hosts):
                try:
                    host.tick()
                except Exception as error:  # the thread must go on; the tests look at ``errors``
                    self.errors.append(repr(error))

    def host(self, name: str, *, cpus: int = 4) -> ScriptedHost:
        """A host that reports from now on."""
        made = ScriptedHost(self.cloud.host(name, cpus=cpus))
        made.agent.report()
        self.hosts.append(made)
        return made

    def instance(
        self,
        host: ScriptedHost,
        uuid: str,
        project: str,
        name: str,
        *,
        course: Course = MET,
        refused: str = "",
    ) -> None:
        """An instance that runs on the host."""
        host.agent.add(uuid, project=project, name=name)
        host.guests[uuid] = Guest(uuid, course, refused)
        host.agent.report()

    def move(self, source: ScriptedHost, uuid: str, to: str) -> None:
        """The instance runs on the host of this name from now on; returns once that is known."""
        other = next(one for one in self.hosts if one.agent.name == to)
        other.guests[uuid] = source.guests.pop(uuid)
        other.agent.instances[uuid] = source.agent.instances.pop(uuid)
        path = f"/v1/instances/{uuid}"
        assert wait(lambda: self.cloud.admin.get(path).json["host"] == to, 15), "the other host does not report it"

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(10)
        self._server.server_close()
        self.cloud.database.close()
