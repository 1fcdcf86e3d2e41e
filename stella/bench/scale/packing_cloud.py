"""What the packing figure makes in an OpenStack and asks of it: a project, flavors that sell SLOs, servers, and who holds what."""

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stella.bench.scale.openstack import Failed, OpenStack
from stella.bench.scale.packing_audit import Host, Ledger
from stella.bench.scale.processes import NotStarted

NAME = "stella-packing"
ZONE, IMAGE = "fake", "stella-fake"
_RAM_MIB = 64
_GONE_SECONDS = 600.0
_DELETING_AT_ONCE = 4
_IN_FORCE = ("pending", "enforced", "degraded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A flavor that sells an SLO. ``extra_specs`` are those of Stella."""

    name: str
    id: str
    vcpus: int
    extra_specs: Mapping[str, str]

    @property
    def resources(self) -> Mapping[str, int]:
        """What Nova allocates for it, by resource class."""
        sold = {
            name.removeprefix("resources:"): int(text)
            for name, text in self.extra_specs.items()
            if name.startswith("resources:")
        }
        return {"VCPU": self.vcpus, "MEMORY_MB": _RAM_MIB, **sold}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A fake host in Placement: its own provider and Stella's child."""

    host: str
    root: str
    child: str


class PackingCloud:
    """``admin`` asks what is held, ``user`` makes servers in a project of their own. May be used by any thread."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.admin = OpenStack(variables)
        self._variables = variables
        self._user: OpenStack | None = None
        self._image = ""
        self.providers: tuple[Provider, ...] = ()
        self._aggregate = ""

    @property
    def user(self) -> OpenStack:
        """In the figure's own project, which `prepare` made."""
        assert self._user is not None
        return self._user

    # --- make

    def prepare(self, sold: Mapping[str, tuple[int, Mapping[str, Any]]]) -> Sequence[Flavor]:
        """Project, quota and flavors; ``sold`` has the vCPUs and objectives of each. Raises `Failed`, `NotStarted`."""
        self.remove()
        self._find_hosts()
        images = self.admin.ask("image", "GET", f"/images?name={IMAGE}")["images"]
        if not images:
            raise NotStarted(f"there is no image {IMAGE}: python -m laboratory fake-hosts N makes it")
        self._image = images[0]["id"]
        project = self.admin.ask("identity", "POST", "/projects", {"project": {"name": NAME, "domain_id": "default"}})
        project_id = project["project"]["id"]
        roles = self.admin.ask("identity", "GET", "/roles")["roles"]
        role = next(one["id"] for one in roles if one["name"] == "admin")
        users = self.admin.ask("identity", "GET", f"/users?name={self._variables['OS_USERNAME']}")["users"]
        self.admin.ask("identity", "PUT", f"/projects/{project_id}/users/{users[0]['id']}/roles/{role}")
        unlimited = {"instances": -1, "cores": -1, "ram": -1, "force": True}
        self.admin.ask("compute", "PUT", f"/os-quota-sets/{project_id}", {"quota_set": unlimited})
        self._user = OpenStack(self._variables, project=NAME)
        return [self._flavor(name, vcpus, objectives) for name, (vcpus, objectives) in sold.items()]

    def _flavor(self, name: str, vcpus: int, objectives: Mapping[str, Any]) -> Flavor:
        estimate = self.admin.ask("stella", "POST", "/v1/estimates", {"objectives": objectives, "vcpus": vcpus})
        body = {"name": f"{NAME}-{name}", "vcpus": vcpus, "ram": _RAM_MIB, "disk": 0}
        made = self.admin.ask("compute", "POST", "/flavors", {"flavor": body})["flavor"]["id"]
        specs = estimate["extra_specs"]
        self.admin.ask("compute", "POST", f"/flavors/{made}/os-extra_specs", {"extra_specs": specs})
        return Flavor(name=name, id=made, vcpus=vcpus, extra_specs=specs)

    def _find_hosts(self) -> None:
        aggregates = self.admin.ask("compute", "GET", "/os-aggregates")["aggregates"]
        zone = next((one for one in aggregates if one["availability_zone"] == ZONE), None)
        if zone is None:
            raise NotStarted(f"there is no availability zone {ZONE}")
        self._aggregate = zone["uuid"]
        found = self.admin.ask("placement", "GET", "/resource_providers")["resource_providers"]
        uuids = {one["name"]: one["uuid"] for one in found}
        hosts = [host for host in sorted(zone["hosts"]) if f"{host}:stella" in uuids]
        self.providers = tuple(Provider(host=host, root=uuids[host], child=uuids[f"{host}:stella"]) for host in hosts)

    def remove(self) -> None:
        """All that a run made, also an earlier one that was killed. Raises `Failed`."""
        self.delete_servers()
        for one in self.admin.ask("compute", "GET", "/flavors/detail?is_public=None")["flavors"]:
            if one["name"].startswith(f"{NAME}-"):
                self.admin.ask("compute", "DELETE", f"/flavors/{one['id']}", expected=(404,))
        for one in self.admin.ask("identity", "GET", f"/projects?name={NAME}")["projects"]:
            self.admin.ask("compute", "DELETE", f"/os-quota-sets/{one['id']}", expected=(404,))
            self.admin.ask("identity", "DELETE", f"/projects/{one['id']}", expected=(404,))

    # --- servers

    def create(self, number: int, flavor: Flavor) -> str:
        """Ask for a server; its uuid. Raises `Failed`."""
        server = {
            "name": f"{NAME}-{number}",
            "flavorRef": flavor.id,
            "imageRef": self._image,
            "networks": "none",
            "availability_zone": ZONE,
        }
        return str(self.user.ask("compute", "POST", "/servers", {"server": server})["server"]["id"])

    def changed(self, since: str) -> Sequence[Mapping[str, Any]]:
        """The servers of the project that changed since a time of Nova's (ISO 8601). Raises `Failed`."""
        found = self.user.ask("compute", "GET", f"/servers/detail?changes-since={since}")["servers"]
        assert isinstance(found, list)
        return found

    def delete_servers(self) -> None:
        """Those of this figure, and wait until they are gone. Raises `Failed`."""
        limit = time.monotonic() + _GONE_SECONDS
        asked: set[str] = set()
        while found := self._servers():
            if time.monotonic() > limit:
                raise Failed(f"{len(found)} servers are not deleted after {_GONE_SECONDS:g} s")
            with ThreadPoolExecutor(max_workers=_DELETING_AT_ONCE) as pool:
                list(pool.map(self._delete, set(found) - asked))
            asked |= set(found)
            time.sleep(2.0)

    def _servers(self) -> list[str]:
        found, more = [], f"/servers?all_tenants=1&name={NAME}-&limit=1000"
        for one in self.admin.ask("compute", "GET", more)["servers"]:
            if one["name"].startswith(f"{NAME}-"):
                found.append(one["id"])
        return found

    def _delete(self, uuid: str) -> None:
        with suppress(Failed):  # it is looked for again
            self.admin.ask("compute", "DELETE", f"/servers/{uuid}", expected=(404,))

    # --- who holds what

    def ledgers(self) -> list[Ledger]:
        """Placement's view of each host's child. Raises `Failed`."""
        return [self._ledger(one) for one in self.providers]

    def _ledger(self, provider: Provider) -> Ledger:
        path = f"/resource_providers/{provider.child}"
        while True:  # both of one generation: use and inventory change side by side
            usages = self.admin.ask("placement", "GET", f"{path}/usages")
            found = self.admin.ask("placement", "GET", f"{path}/inventories")
            if usages["resource_provider_generation"] == found["resource_provider_generation"]:
                break
        used, inventories = usages["usages"], found["inventories"]
        room = {
            name: int((one["total"] - one["reserved"]) * one["allocation_ratio"]) for name, one in inventories.items()
        }
        return Ledger(host=provider.host, room=room, used=used)

    def allocated(self) -> Mapping[str, Mapping[str, int]]:
        """The sum of all allocations on each host's child, by class. Raises `Failed`."""
        sums: dict[str, dict[str, int]] = {}
        for one in self.providers:
            total: dict[str, int] = defaultdict(int)
            path = f"/resource_providers/{one.child}/allocations"
            for held in self.admin.ask("placement", "GET", path)["allocations"].values():
                for name, amount in held["resources"].items():
                    total[name] += amount
            sums[one.host] = total
        return sums

    def stella_hosts(self) -> list[Host]:
        """Stella's view of each host. Raises `Failed`."""
        names = {one.host for one in self.providers}
        found = self.admin.ask("stella", "GET", "/v1/hosts?limit=1000")["hosts"]
        return [
            Host(
                host=one["name"],
                capacity_cores=one["capacity_cpu_cores"] or 0.0,
                reserved_cores=one["reserved_cpu_cores"],
            )
            for one in found
            if one["name"] in names
        ]

    def placement_candidates(self, flavor: Flavor) -> Collection[str]:
        """The hosts that have room for a server of it in all that Placement counts. Raises `Failed`."""
        wanted = ",".join(f"{name}:{amount}" for name, amount in flavor.resources.items())
        path = f"/allocation_candidates?resources={wanted}&member_of={self._aggregate}&limit=1000"
        found = self.admin.ask("placement", "GET", path)["provider_summaries"]
        return {one.host for one in self.providers if one.root in found}

    def stella_candidates(self, flavor: Flavor) -> Mapping[str, bool]:
        """Whether each host can take one by what Stella says. Raises `Failed`."""
        sold = {name: text for name, text in flavor.extra_specs.items() if name.startswith("stella:slo_")}
        body = {"extra_specs": sold, "vcpus": flavor.vcpus, "hosts": [one.host for one in self.providers]}
        found = self.admin.ask("stella", "POST", "/v1/candidates", body)["candidates"]
        return {one["host"]: one["fits"] for one in found}

    def guaranteed(self) -> int:
        """How many instances of the figure have an SLO in Stella. Raises `Failed`."""
        count, marker = 0, ""
        while True:
            page: list[Any] = self.admin.ask("stella", "GET", f"/v1/instances?limit=1000{marker}")["instances"]
            mine = [one for one in page if one["name"].startswith(f"{NAME}-") and one["slo_state"] in _IN_FORCE]
            count += len(mine)
            if len(page) < 1000:
                return count
            marker = f"&marker={page[-1]['uuid']}"
