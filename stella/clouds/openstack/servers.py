"""What Nova says of servers: of one by its uuid, of all by pages. Nothing is concluded from what a list leaves out.

A list leaves out the servers of a cell that is down, and of one that is down ``GET /servers/{uuid}`` tells no more than that there is
such a server. Only Nova's own 404 and the status DELETED say that one is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack.session import Refused, ask
from stella.control.following import DELETED, UNKNOWN, Server

PAGE_SIZE = 80
"""Servers of one request. For it Nova asks Neutron about all of them in one line, of about 40 bytes each; WSGI servers take 4 kB."""


class NoSuchMarker(Refused):
    """The server that a page was to begin behind is gone: begin with the first page again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Servers of a list, and the marker of the next page; None: this was the last."""

    servers: Sequence[Server]
    marker: str | None


def require_all_projects(adapter: Adapter) -> None:
    """Raises `Refused` where Nova does not show the servers of all projects: those of others are 404 then, as those that are gone."""
    path = "/servers?all_tenants=1&limit=1"
    status, _ = ask(adapter, "GET", path)
    if status != 200:
        raise Refused(f"compute: GET {path}: HTTP {status}; the user must be allowed to see all projects")


def show(adapter: Adapter, uuid: str) -> Server:
    """One server, DELETED where Nova has no such server (of those that the user may see: `require_all_projects`).

    Raises `Refused` where this answer tells nothing, and `stella.clouds.port.Unanswered` where nothing answers at all.
    """
    path = f"/servers/{quote(uuid, safe='')}"
    status, body = ask(adapter, "GET", path)
    if status == 404 and isinstance(body, dict) and "itemNotFound" in body:
        return Server(
            uuid=uuid, status=DELETED
        )  # a proxy or a wrong endpoint says 404 too, of everything: without that key
    found = body.get("server") if status == 200 and isinstance(body, dict) else None
    if not isinstance(found, dict):
        raise Refused(f"compute: GET {path}: HTTP {status}")
    return server_of({"id": uuid, **found})


def page(adapter: Adapter, *, marker: str | None = None, changed_since: float | None = None) -> Page:
    """A page of the servers of all projects; with ``changed_since`` (Unix seconds) of those that changed since, deleted ones too.

    Raises `NoSuchMarker`, `Refused` and `stella.clouds.port.Unanswered`.
    """
    path = f"/servers/detail?all_tenants=1&limit={PAGE_SIZE}"
    if changed_since is not None:
        since = datetime.fromtimestamp(int(changed_since), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        path += f"&changes-since={quote(since, safe='')}"
    if marker is not None:
        path += f"&marker={quote(marker, safe='')}"
    status, body = ask(adapter, "GET", path)
    if status == 400 and marker is not None:
        raise NoSuchMarker(f"compute: GET {path}: HTTP 400")
    found = body.get("servers") if status == 200 and isinstance(body, dict) else None
    if not isinstance(found, list):
        raise Refused(f"compute: GET {path}: HTTP {status}")
    servers = [server_of(one) for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)]
    has_more = bool(servers) and any(link.get("rel") == "next" for link in body.get("servers_links", ()))
    return Page(servers=servers, marker=servers[-1].uuid if has_more else None)


def server_of(body: Mapping[str, Any]) -> Server:
    """A server as Nova shows it, from 2.47 on; what is missing, as of a cell that is down, is unknown."""
    flavor = body.get("flavor")
    flavor = flavor if isinstance(flavor, dict) else {}
    specs = flavor.get("extra_specs")
    disks = (("root disk", bool(body.get("image"))), ("ephemeral disk", bool(flavor.get("ephemeral"))))
    return Server(
        uuid=str(body["id"]).lower(),
        status=str(body.get("status") or UNKNOWN),
        name=str(body.get("name") or ""),
        project=str(body.get("tenant_id") or ""),
        host=body.get("OS-EXT-SRV-ATTR:host") or None,
        task_state=body.get("OS-EXT-STS:task_state"),
        flavor=str(flavor.get("original_name") or ""),
        vcpus=flavor.get("vcpus"),
        disk_bytes=_disk_bytes(flavor),
        extra_specs={str(name): str(value) for name, value in specs.items()} if isinstance(specs, dict) else None,
        disks=tuple(name for name, is_there in disks if is_there),
        volumes=tuple(str(one["id"]) for one in body.get("os-extended-volumes:volumes_attached", ())),
    )


def _disk_bytes(flavor: Mapping[str, Any]) -> int | None:
    """The root and the ephemeral disk of a flavor, which Nova tells in GiB."""
    sizes = [flavor.get(name) for name in ("disk", "ephemeral")]
    known = [size for size in sizes if isinstance(size, int)]
    return sum(known) * 2**30 if known else None
