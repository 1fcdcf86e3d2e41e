"""Servers of the demonstration, made and deleted by a plain member through openstacksdk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import openstack
from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from stella.bench.lab.model import Guest, LabError

IMAGE, NETWORK = "stella-bench", "demo-net"
PREFIX = "demo-"
MARK = {"stella-bench": "demonstration"}
"""Metadata of each server: one that a killed bench left is known by it."""

MICROVERSION = "2.61"
"""The first that shows a flavor's extra specs with the flavor."""

ACTIVE_SECONDS = 180
GONE_SECONDS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is ACTIVE, its address, and that of the network's gateway: the laboratory's own."""

    uuid: str
    address: str
    gateway: str


def one_line(error: Exception) -> str:
    """What a library's error says, without its line breaks."""
    return " ".join(str(error).split())[:300]


class Member:
    """A member's connection. Every method raises `LabError`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """``environment`` has the ``OS_*`` variables of a password login."""
        try:
            self._cloud: Any = openstack.connect(
                load_envvars=False,
                load_yaml_config=False,
                region_name=environment.get("OS_REGION_NAME"),
                compute_default_microversion=MICROVERSION,
                auth={
                    "auth_url": environment["OS_AUTH_URL"],
                    "username": environment["OS_USERNAME"],
                    "password": environment["OS_PASSWORD"],
                    "project_name": environment["OS_PROJECT_NAME"],
                    "user_domain_name": environment["OS_USER_DOMAIN_NAME"],
                    "project_domain_name": environment["OS_PROJECT_DOMAIN_NAME"],
                },
            )
        except KeyError as error:
            raise LabError(f"member.env lacks {error.args[0]}; run make openstack") from None
        self._made: list[Any] = []

    def stella(self, path: str) -> Mapping[str, Any]:
        """Stella's answer to a GET of ``path``, with the member's token."""
        try:
            answer = self._cloud.session.get(
                path, endpoint_filter={"service_type": "stella", "region_name": self._cloud.config.region_name}
            )
            found: Mapping[str, Any] = answer.json()
        except (ClientException, ValueError) as error:
            raise LabError(f"stella-api: {one_line(error)}") from None
        return found

    def change_stella(self, path: str, body: Mapping[str, Any]) -> None:
        """A PATCH of ``path`` at Stella."""
        where = {"service_type": "stella", "region_name": self._cloud.config.region_name}
        try:
            answer = self._cloud.session.patch(path, json=dict(body), endpoint_filter=where, raise_exc=False)
        except ClientException as error:
            raise LabError(f"stella-api: {one_line(error)}") from None
        if answer.status_code != 200:
            raise LabError(f"stella-api: {path}: {' '.join(answer.text.split())[:300]}")

    def state(self, uuid: str) -> tuple[str, str]:
        """Nova's status of a server, and its host: empty for a plain member."""
        try:
            server = self._cloud.compute.get_server(uuid)
        except (SDKException, ClientException) as error:
            raise LabError(f"Nova: {one_line(error)}") from None
        return str(server.status), str(server.compute_host or "")

    def is_down(self, host: str) -> bool:
        """Whether Nova calls the compute host down, as its administrator sees it."""
        try:
            found = list(self._cloud.compute.services(host=host, binary="nova-compute"))
        except (SDKException, ClientException) as error:
            raise LabError(f"Nova: {one_line(error)}") from None
        return bool(found) and all(one.state == "down" for one in found)

    def create(self, guests: Sequence[Guest]) -> dict[str, Server]:
        """Make a server for each guest, all at once, and wait until they are ACTIVE."""
        try:
            return self._create(guests)
        except (SDKException, ClientException) as error:
            raise LabError(f"Nova: {one_line(error)}") from None

    def _create(self, guests: Sequence[Guest]) -> dict[str, Server]:
        compute = self._cloud.compute
        image = self._cloud.image.find_image(IMAGE, ignore_missing=False)
        network = self._cloud.network.find_network(NETWORK, ignore_missing=False)
        gateway = next(s.gateway_ip for s in self._cloud.network.subnets(network_id=network.id) if s.gateway_ip)
        flavors = list(compute.flavors(details=True))
        chosen = {guest.name: flavor_for(guest, flavors) for guest in guests}
        made = {}
        for guest in guests:
            made[guest.name] = compute.create_server(
                name=f"{PREFIX}{guest.name}",
                image_id=image.id,
                flavor_id=chosen[guest.name].id,
                networks=[{"uuid": network.id}],
                metadata=MARK,
            )
            self._made.append(made[guest.name])
        found = {}
        for name, each in made.items():
            try:
                server = compute.wait_for_server(each, wait=ACTIVE_SECONDS, interval=1)
            except SDKException as error:
                fault = (compute.get_server(each).fault or {}).get("message", "")
                raise LabError(f"server {PREFIX}{name}: {fault or one_line(error)}") from None
            addresses = [a["addr"] for ports in server.addresses.values() for a in ports if a["version"] == 4]
            if not addresses:
                raise LabError(f"server {PREFIX}{name}: it has no address")
            found[name] = Server(uuid=server.id, address=addresses[0], gateway=gateway)
        return found

    def sweep(self) -> int:
        """Delete what a killed bench left; how many servers."""
        try:
            left = [s for s in self._cloud.compute.servers(details=True) if MARK.items() <= s.metadata.items()]
            self._delete(left)
        except (SDKException, ClientException) as error:
            raise LabError(f"Nova: {one_line(error)}") from None
        return len(left)

    def delete(self) -> None:
        """Delete all that were made, and wait until they are gone."""
        try:
            self._delete(self._made)
        except (SDKException, ClientException) as error:
            names = ", ".join(each.name for each in self._made)
            raise LabError(f"servers could not be deleted ({names}): {one_line(error)}") from None
        self._made = []

    def _delete(self, servers: Sequence[Any]) -> None:
        for each in servers:
            self._cloud.compute.delete_server(each, ignore_missing=True)
        for each in servers:
            self._cloud.compute.wait_for_delete(each, interval=1, wait=GONE_SECONDS)


def flavor_for(guest: Guest, flavors: Sequence[Any]) -> Any:
    """The smallest flavor with the guest's vCPUs, at least its memory, and a disk if it has one. Raises `LabError`.

    A flavor that sells an SLO is left out: the demonstration sets its own.
    """
    fitting = [
        flavor
        for flavor in flavors
        if flavor.vcpus == guest.vcpus
        and flavor.ram << 20 >= guest.memory_bytes
        and (flavor.disk or not guest.disk)
        and not any(key.startswith("stella:") for key in flavor.extra_specs or {})
    ]
    if not fitting:
        raise LabError(
            f"{guest.name}: no flavor has {guest.vcpus} vCPUs and {guest.memory_bytes >> 20} MiB; run make openstack"
        )
    return min(fitting, key=lambda flavor: (flavor.ram, flavor.disk))
