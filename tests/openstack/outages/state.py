"""What Nova, Stella and Placement say of a server, and what must be the same before and after an outage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from keystoneauth1 import adapter, session
from keystoneauth1.identity.v3 import Password

from tests.openstack.conftest import Failed, Person

CPU = "CUSTOM_STELLA_CPU_MILLICORES"
_BAD_DECISIONS = {"instance_gone", "slo_withdrawn", "slo_refused_by_host", "slo_does_not_fit", "placement_short"}


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``holdings``: what each consumer of the server holds, by resource class, at all providers together.

    ``leaked``: consumers of Stella's providers that belong to no server. ``decisions``: id to kind, of this server.
    """

    servers: Mapping[str, str]
    objectives: Mapping[str, Any]
    slo_state: str
    reserved_cpu_cores: float
    holdings: Mapping[str, Mapping[str, int]]
    leaked: frozenset[str]
    decisions: Mapping[int, str]


class Cloud:
    """The administrator's view. Asked outside of outages only: every method raises what keystoneauth raises."""

    def __init__(self, admin: Person) -> None:
        """Nothing is asked yet."""
        env = admin.environment
        auth = Password(
            auth_url=env["OS_AUTH_URL"],
            username=env["OS_USERNAME"],
            password=env["OS_PASSWORD"],
            project_name=env["OS_PROJECT_NAME"],
            user_domain_name=env["OS_USER_DOMAIN_NAME"],
            project_domain_name=env["OS_PROJECT_DOMAIN_NAME"],
        )
        self._session = session.Session(auth=auth, timeout=30)

    def _get(self, service: str, path: str, version: str | None = None) -> Any:
        asked = adapter.Adapter(self._session, service_type=service, interface="public", default_microversion=version)
        answer = asked.get(path, raise_exc=False)
        if answer.status_code != 200:
            raise Failed(f"{service}: GET {path}: HTTP {answer.status_code}: {answer.text[:200]}")
        return answer.json()

    def state(self, uuid: str) -> State:
        """All of it, of the server ``uuid``."""
        listed = self._get("compute", "/servers/detail?all_tenants=1", "2.96")["servers"]
        servers = {each["id"]: each["status"] for each in listed}
        slo = self._get("stella", f"/v1/instances/{uuid}/slo")
        holdings, leaked = self._placement(uuid, set(servers))
        return State(
            servers={uuid: servers.get(uuid, "gone")},
            objectives=slo["objectives"],
            slo_state=slo["state"],
            reserved_cpu_cores=slo["reserved_cpu_cores"],
            holdings=holdings,
            leaked=leaked,
            decisions=self.decisions(uuid),
        )

    def decisions(self, uuid: str) -> Mapping[int, str]:
        """Decisions about a server, by id."""
        found = self._get("stella", f"/v1/decisions?uuid={uuid}&limit=1000")["decisions"]
        return {each["id"]: each["kind"] for each in found}

    def unknown_seconds(self, uuid: str, start: str, end: str) -> int | None:
        """Seconds between two times (RFC 3339) of which the host does not know whether the floor was met; None without any minute."""
        objectives = self._get("stella", f"/v1/instances/{uuid}/attainment?from={start}&to={end}")["objectives"]
        return max((each["seconds"]["unknown"] for each in objectives), default=None)

    def holdings(self, uuid: str) -> Mapping[str, Mapping[str, int]]:
        """What the server's consumers hold, Nova's and Stella's own."""
        return self._placement(uuid, {uuid})[0]

    def _placement(self, uuid: str, servers: set[str]) -> tuple[Mapping[str, Mapping[str, int]], frozenset[str]]:
        providers = self._get("placement", "/resource_providers", "1.36")["resource_providers"]
        roots = [each["uuid"] for each in providers if each["parent_provider_uuid"] is None]
        own = {str(uuid5(UUID(server), root)) for server in servers for root in roots}
        mine = {uuid, *(str(uuid5(UUID(uuid), root)) for root in roots)}
        holdings: dict[str, dict[str, int]] = {}
        leaked = set()
        for provider in providers:
            path = f"/resource_providers/{provider['uuid']}/allocations"
            for consumer, held in self._get("placement", path, "1.36")["allocations"].items():
                if consumer in mine:
                    holdings.setdefault(consumer, {}).update(held["resources"])
                if provider["name"].endswith(":stella") and consumer not in servers | own:
                    leaked.add(consumer)
        return holdings, frozenset(leaked)


def differences(before: State, after: State) -> list[str]:
    """What was lost or leaked, in words; the CPU that a floor needs is learned and may change."""
    found = []
    for name in ("servers", "objectives"):
        if getattr(before, name) != getattr(after, name):
            found.append(f"{name}: {getattr(before, name)} became {getattr(after, name)}")
    if after.slo_state != "enforced":
        found.append(f"the SLO is {after.slo_state}")
    if _without_cpu(before.holdings) != _without_cpu(after.holdings):
        found.append(f"Placement: {before.holdings} became {after.holdings}")
    held = sum(resources.get(CPU, 0) for resources in after.holdings.values())
    if held and held < after.reserved_cpu_cores * 1000 - 1:
        found.append(f"Placement holds {held} millicores, Stella reserves {after.reserved_cpu_cores}")
    if after.leaked - before.leaked:
        found.append(f"leaked consumers: {', '.join(sorted(after.leaked - before.leaked))}")
    if lost := before.decisions.keys() - after.decisions.keys():
        found.append(f"lost decisions: {sorted(lost)}")
    fresh = {kind for number, kind in after.decisions.items() if number not in before.decisions}
    if bad := fresh & _BAD_DECISIONS:
        found.append(f"decided meanwhile: {', '.join(sorted(bad))}")
    return found


def _without_cpu(holdings: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {consumer: {name: n for name, n in held.items() if name != CPU} for consumer, held in holdings.items()}
