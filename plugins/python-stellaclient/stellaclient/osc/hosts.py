"""`openstack slo host`: for operators."""

import argparse
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.osc.columns import Cores, Keys
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import add_sort, host_name, service
from stellaclient.sdk.resources import Host

MODES = ("observe", "enforce", "maintenance")
INHERIT = "inherit"
RELIEF_MODES = ("off", "suggest", "act", INHERIT)


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
        "relief_mode": host.relief_mode or INHERIT,
        "fenced_at": host.fenced_at,
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
    """Set the modes of a host, or say that it is fenced.

    --mode: observe changes nothing on it, enforce keeps SLOs, maintenance leaves it out. --relief-mode: what is done about floors that
    it cannot keep, and once it is dead and fenced. --fenced: nothing runs on it any more, for certain; its instances may then be
    started elsewhere, and two that run at once destroy their disks.

    Example: openstack slo host set compute-1 --mode enforce
    Example: openstack slo host set compute-1 --relief-mode act
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Name of a host")
        parser.add_argument("--mode", choices=MODES, help="What the host is to do")
        parser.add_argument(
            "--relief-mode", choices=RELIEF_MODES, help=f"What relief does for it ({INHERIT}: as the cloud has it)"
        )
        fence = parser.add_mutually_exclusive_group()
        fence.add_argument("--fenced", action="store_true", help="It is dead, and nothing runs on it for certain")
        fence.add_argument("--not-fenced", action="store_true", help="That is not certain any more")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Set it."""
        changes: dict[str, Any] = {"mode": parsed_args.mode} if parsed_args.mode else {}
        if parsed_args.relief_mode:
            changes["relief_mode"] = None if parsed_args.relief_mode == INHERIT else parsed_args.relief_mode
        if parsed_args.fenced or parsed_args.not_fenced:
            changes["fenced"] = parsed_args.fenced
        if not changes:
            raise CommandError("name at least one of --mode, --relief-mode, --fenced, --not-fenced")
        stella = service(self)
        with one_line():
            return _all(stella.set_host(host_name(parsed_args.host), **changes))
