"""What all commands share: the service, and instances by uuid or name."""

import argparse
import re
from typing import Any

from osc_lib.exceptions import CommandError

from stellaclient.osc.errors import one_line
from stellaclient.sdk.proxy import Proxy
from stellaclient.sdk.resources import Instance

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?")


def service(command: Any) -> Proxy:
    """The service, with its version settled. Raises `CommandError`."""
    with one_line():
        found: Proxy = command.app.client_manager.slo
        found.negotiate()
    return found


def add_server(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds ``--server``."""
    parser.add_argument("--server", metavar="<server>", required=required, help="Name or uuid of an instance")


def add_sort(parser: argparse.ArgumentParser, keys: tuple[str, ...]) -> None:
    """Adds ``--sort``, by which the API orders all pages."""
    parser.add_argument(
        "--sort",
        metavar="<key>[:asc|desc]",
        type=str.lower,
        choices=[f"{key}{direction}" for key in keys for direction in ("", ":asc", ":desc")],
        help=f"Order: {', '.join(keys)}",
    )


def is_uuid(text: str) -> bool:
    """Whether this is a uuid and so no name."""
    return _UUID.fullmatch(text) is not None


def pick(name: str, instances: list[Instance]) -> Instance:
    """The one instance of this name; those that are gone count only where there is no other. Raises `CommandError`."""
    named = [i for i in instances if i.name == name]
    alive = [i for i in named if i.state != "gone"] or named
    if not alive:
        raise CommandError(f"no instance is named {name!r}; `openstack slo list --all` lists all that you may see")
    if len(alive) > 1:
        raise CommandError(
            f"{len(alive)} instances are named {name!r}; give the uuid: {', '.join(i.id for i in alive)}"
        )
    return alive[0]


def uuid_of(stella: Proxy, server: str) -> str:
    """The uuid of an instance that a person named. Raises `CommandError`."""
    if is_uuid(server):
        return server.lower()
    with one_line():
        return str(pick(server, list(stella.instances(name=server))).id)


def host_name(text: str) -> str:
    """A name that can be a host's. Raises `CommandError`."""
    if not _HOST.fullmatch(text):
        raise CommandError(f"{text[:64]!r} is not the name of a host")
    return text
