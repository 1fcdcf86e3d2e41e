"""`openstack slo host`: for operators."""

import argparse
from typing import Any

from osc_lib.command import command

from stellaclient.osc.columns import Cores, Keys
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import add_sort, host_name, service
from stellaclient.sdk.resources import Host

MODES = ("observe", "enforce", "maintenance")


def _columns(host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "mode": host.mode,
        "silent": host.silent,
        "instances": host.instances,
        "cpus": host.cpus,
        "capacity_cpu_cores": Cores(host.capacity_cpu_cores),
        "reserved_cpu_cores": Cores(host.reserved_cpu_cores),
        "reported_at": host.reported_at,
    }


def _all(host: Host) -> tuple[Any, Any]:
    columns = _columns(host) | {
        "enrolled": host.enrolled,
        "agent": host.agent,
        "capabilities": Keys(host.capabilities),
        "versions": Keys(host.versions),
        "generation": host.generation,
    }
    return tuple(columns), tuple(columns.values())


class List(command.Lister):
    """List hosts, what they can hold and what they hold.

    Example: openstack slo host list --mode observe --sort reserved_cpu_cores:desc
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--mode", choices=MODES, help="Only hosts in this mode")
        keys = ("name", "mode", "capacity_cpu_cores", "reserved_cpu_cores", "free_cpu_cores", "open_violations")
        add_sort(parser, keys)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        with one_line():
            query = {"mode": parsed_args.mode, "sort": parsed_args.sort}
            found = stella.hosts(**{key: value for key, value in query.items() if value})
            rows = [_columns(host) for host in found]
        return tuple(_columns(Host())), [tuple(row.values()) for row in rows]


class Show(command.ShowOne):
    """Show a host.

    Example: openstack slo host show compute-1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Name of a host")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Show it."""
        stella = service(self)
        with one_line():
            return _all(stella.get_host(host_name(parsed_args.host)))


class Set(command.ShowOne):
    """Set the mode of a host: observe changes nothing on it, enforce keeps SLOs, maintenance leaves it out.

    Example: openstack slo host set compute-1 --maintenance
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Name of a host")
        mode = parser.add_mutually_exclusive_group(required=True)
        mode.add_argument("--mode", choices=MODES, help="What the host is to do")
        mode.add_argument(
            "--maintenance",
            dest="mode",
            action="store_const",
            const="maintenance",
            help="The same as --mode maintenance: it keeps what it has, takes nothing new, and is excluded from SLAs",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Set it."""
        stella = service(self)
        with one_line():
            return _all(stella.set_host_mode(host_name(parsed_args.host), parsed_args.mode))
