"""A cloud with hosts, its Nova and its Placement, in which instances are moved: what the tests of relief and evacuation share."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from stella import conf
from stella.clouds.openstack import nova as compute
from stella.clouds.openstack.allocations import PlacementLedger
from stella.clouds.openstack.moves import Moves
from stella.clouds.openstack.session import OpenStack
from stella.clouds.standalone import Standalone
from stella.control.ledger import consumer_of
from stella.db import hosts
from stella.engine.duties.ledger import Allocations
from stella.engine.duty import Work, limits_of
from stella.model.resources import NAMES
from tests.functional.conftest import Agent, Cloud, uuid
from tests.functional.nova import EmulatedNova, config_file
from tests.unit.clouds.emulated_placement import EmulatedPlacement

CPU = NAMES[0]


class MovingCloud:
    """Hosts a, b and c with two CPUs each. `report` makes those that live report what Nova has on them."""

    def __init__(self, cloud: Cloud, nova: EmulatedNova, directory: Path) -> None:
        self.cloud, self.nova, self.servers = cloud, nova, nova.servers
        nova.servers.now = cloud.clock
        adapter = OpenStack(conf.load([str(config_file(directory, nova.url))])).nova
        self.placement = EmulatedPlacement()
        self.ledger = PlacementLedger(
            self.placement.adapter(), migrations=lambda instance: compute.migrations(adapter, instance)
        )
        self.mover = Moves(adapter, self.ledger)
        self.work = Work(
            store=cloud.database,
            cloud=Standalone(),
            ledger=self.ledger,
            limits=limits_of(cloud.config),
            clock=cloud.clock,
        )
        self.allocations = Allocations(self.placement.adapter())
        self.agents: dict[str, Agent] = {}
        self.roots: dict[str, str] = {}
        self.children: dict[str, str] = {}
        self.shapes: dict[str, dict[str, Any]] = {}
        for name in ("a", "b", "c"):
            self.agents[name] = cloud.host(name)
        self.alive = set(self.agents)
        self.report()
        for name in self.agents:
            self._place(name)

    def _place(self, name: str) -> None:
        root = self.roots[name] = str(uuid4())
        self.children[name] = self.placement.host(root, name, {CPU: 1800})

        def keep(session: Any) -> None:
            found = hosts.find(session, name)
            assert found is not None
            hosts.keep_provider(session, found.id, root)

        self.cloud.database.write(keep)

    def instance(self, number: int, host: str, *, floor: float | None = None, used: float = 0.1, **more: Any) -> str:
        """One more, with an SLO where it has a floor."""
        one = uuid(number)
        self.servers.create(one, host=host, flavor="small", extra_specs={})
        self.shapes[one] = {"cpu": {"used_cores": used, "entitled_cores": used}}
        self.report()
        if floor is not None:
            answer = self.cloud.admin.put_slo(one, {"cpu": {"floor": floor, **more}})
            assert answer.status_code == 201, answer.text
            self.report()
        return one

    def report(self, **more: Any) -> None:
        """Every host that lives reports, twice where an SLO came with an instance. ``more`` by host."""
        for name in sorted(self.alive):
            agent = self.agents[name]
            agent.instances.clear()
            used = 0.0
            for server in self.servers.known.values():
                if server.host == name and server.task_state != "rebuilding":
                    agent.add(server.uuid, **self.shapes.get(server.uuid, {}))
                    used += self.shapes.get(server.uuid, {}).get("cpu", {}).get("used_cores", 0.0)
            body = agent.body(**more.get(name, {}))
            body["host"]["used"] = {"cpu_cores": used}
            answer = agent.report(body)
            assert answer.status_code == 200, answer.text

    def violate(self, one: str, host: str, seconds: float, **more: Any) -> None:
        """The host reports that a floor is missed for so long, and still is."""
        told = {
            "id": f"v-{one}",
            "uuid": one,
            "metric": "cpu",
            "opened_at": self.cloud.clock.now - seconds,
            "closed_at": None,
            "cause": "cpu",
            "evidence": {"worst": 0.4},
            **more,
        }
        self.report(**{host: {"violations": [told]}})

    def minutes(self, one: str, host: str, *, start: float, count: int, violated: int) -> None:
        """So many whole minutes from ``start`` on, of an objective that was violated for some seconds in each."""
        first = int(start) // 60 * 60
        rows = [
            {
                "uuid": one,
                "metric": "cpu",
                "start": first + 60 * n,
                "counts": {"violated": violated, "met": 60 - violated},
            }
            for n in range(count)
        ]
        self.report(**{host: {"minutes": rows}})

    def decisions(self, kind: str, **query: Any) -> list[dict[str, Any]]:
        """As an operator sees them, the oldest first."""
        params = {"kind": kind, "sort": "id:asc", **query}
        found: list[dict[str, Any]] = self.cloud.admin.get("/v1/decisions", params=params).json["decisions"]
        return found

    def host(self, name: str) -> dict[str, Any]:
        """As an operator sees it."""
        found: dict[str, Any] = self.cloud.admin.get(f"/v1/hosts/{name}").json
        return found

    def where(self, one: str) -> str:
        """The host that has it."""
        return str(self.cloud.admin.get(f"/v1/instances/{one}").json["host"])

    def own(self, one: str, host: str) -> int:
        """What our own consumer holds for it in Placement, in thousandths of a core."""
        found = self.placement.held(consumer_of(one, self.roots[host]), self.children[host])
        return found.get(CPU, 0)

    def moves_asked(self) -> int:
        """How often Nova was asked to move anything."""
        return sum(path.endswith("/action") for path, _ in self.nova.asked)
