"""What limits servers from outside Stella, as their flavors, Neutron and Cinder tell. Nothing is written.

A service that the catalogue does not have, and a Neutron without its QoS extension, limit nothing. Nothing may be concluded from one
that does not answer: `Unanswered` is raised.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack.session import Refused, ask, is_offered
from stella.control.following import Server
from stella.model.limits import Limit, Source, of_flavor, of_port, of_volume

_PORTS_ASKED_AT_ONCE = 40
"""Servers whose ports are asked for in one request: the address must stay below the 4 KiB that some servers take."""

_VOLUMES_AT_ONCE = 1000
_FRONT_END = ("front-end", "both")
Rules = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A NIC of a server; ``policy`` is the id of the QoS policy that applies to it, its own or its network's."""

    name: str
    policy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume whose type has QoS specs for the front end."""

    specs: Mapping[str, Any]
    size_gb: int


def list_policies(adapter: Adapter) -> Mapping[str, Rules]:
    """The rules of each QoS policy of Neutron. Raises `Unanswered`."""
    if not is_offered(adapter):
        return {}
    path = "/v2.0/qos/policies"
    status, body = ask(adapter, "GET", path)
    if status == 404:
        return {}
    if status != 200:
        raise Refused(f"{adapter.service_type}: GET {path}: HTTP {status}")
    return {one["id"]: one["rules"] for one in body["policies"]}


def list_ports(adapter: Adapter, uuids: Collection[str]) -> Mapping[str, list[Port]]:
    """The ports of each of these servers. Raises `Unanswered`."""
    found: dict[str, list[Port]] = {uuid: [] for uuid in uuids}
    if not is_offered(adapter):
        return found
    every = sorted(found)
    fields = "&".join(f"fields={one}" for one in ("id", "device_id", "qos_policy_id", "qos_network_policy_id"))
    for first in range(0, len(every), _PORTS_ASKED_AT_ONCE):
        servers = "&".join(f"device_id={uuid}" for uuid in every[first : first + _PORTS_ASKED_AT_ONCE])
        for one in _get(adapter, f"/v2.0/ports?{fields}&{servers}")["ports"]:
            policy = one.get("qos_policy_id") or one.get("qos_network_policy_id")
            found.get(one["device_id"], []).append(Port(name=f"port {one['id']}", policy=policy))
    return {uuid: sorted(ports, key=lambda port: port.name) for uuid, ports in found.items()}


def list_volumes(adapter: Adapter) -> Mapping[str, Volume]:
    """Volumes whose type has QoS specs of Cinder for the front end, by id. Raises `Unanswered`."""
    if not is_offered(adapter):
        return {}
    specs_of_type: dict[str, Mapping[str, Any]] = {}
    for one in _get(adapter, "/qos-specs")["qos_specs"]:
        if one["consumer"] in _FRONT_END:
            types = _get(adapter, f"/qos-specs/{one['id']}/associations")["qos_associations"]
            specs_of_type.update({each["name"]: one["specs"] for each in types})
    found: dict[str, Volume] = {}
    after = ""
    while specs_of_type:
        page = _get(adapter, f"/volumes/detail?all_tenants=1&limit={_VOLUMES_AT_ONCE}{after}")["volumes"]
        for one in page:
            specs = specs_of_type.get(one["volume_type"])
            if specs is not None:
                found[one["id"]] = Volume(specs=specs, size_gb=int(one["size"]))
        if len(page) < _VOLUMES_AT_ONCE:
            break
        after = f"&marker={page[-1]['id']}"
    return found


def _get(adapter: Adapter, path: str) -> Any:
    status, body = ask(adapter, "GET", path)
    if status != 200:
        raise Refused(f"{adapter.service_type}: GET {path.partition('?')[0]}: HTTP {status}")
    return body


def has_nic_limits(server: Server) -> bool:
    """Whether its flavor limits each of its NICs."""
    return any(name.startswith("quota:vif_") for name in server.extra_specs or ())


def limits_of(
    server: Server,
    *,
    ports: Sequence[Port] | None,
    policies: Mapping[str, Rules] | None,
    volumes: Mapping[str, Volume] | None,
) -> Mapping[Source, list[Limit] | None]:
    """The limits of a server from each source; None: not known. What is None here was not told (`Unanswered`), or not asked."""
    return {
        Source.FLAVOR: _of_flavor(server, ports),
        Source.NEUTRON: _of_ports(ports, policies),
        Source.CINDER: _of_volumes(server, volumes),
    }


def _of_flavor(server: Server, ports: Sequence[Port] | None) -> list[Limit] | None:
    if server.extra_specs is None or (ports is None and has_nic_limits(server)):
        return None
    return of_flavor(
        server.extra_specs,
        vcpus=server.vcpus or 1,
        nics=[port.name for port in ports or ()],
        disks=server.disks,
        volumes=len(server.volumes),
    )


def _of_ports(ports: Sequence[Port] | None, policies: Mapping[str, Rules] | None) -> list[Limit] | None:
    if policies is None:
        return None
    if not policies:
        return []
    if ports is None or any(port.policy is not None and port.policy not in policies for port in ports):
        return None
    return [
        limit
        for port in ports
        if port.policy is not None
        for limit in of_port(policies[port.policy], device=port.name, nics=len(ports))
    ]


def _of_volumes(server: Server, volumes: Mapping[str, Volume] | None) -> list[Limit] | None:
    if volumes is None:
        return None
    disks = len(server.disks) + len(server.volumes)
    limited = [(one, volumes[one]) for one in server.volumes if one in volumes]
    return [
        limit
        for uuid, one in limited
        for limit in of_volume(one.specs, size_gb=one.size_gb, device=f"volume {uuid}", disks=disks)
    ]
