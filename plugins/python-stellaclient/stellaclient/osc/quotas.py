"""`openstack slo quota`: what the SLOs of a project may hold together."""

import argparse
from collections.abc import Mapping
from typing import Any

from cliff.columns import FormattableColumn
from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient import units
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import service
from stellaclient.sdk.proxy import Proxy
from stellaclient.sdk.resources import Quota

_UNLIMITED = -1
RESOURCES = {
    "cpu": ("cpu", "cores", "4cores", "the sum of CPU floors"),
    "net_pps": ("network_packets", "packets/s", "200k", "the sum of packet rate floors"),
    "net_bandwidth": ("network_bytes", "bytes/s", "2Gbit/s", "the sum of network bandwidth floors"),
    "disk": ("block_bytes", "bytes/s", "1GB/s", "the sum of disk bandwidth floors"),
    "disk_iops": ("block_operations", "operations/s", "50000", "the sum of floors in disk operations per second"),
    "reserved_cpu": ("reserved_cpu_cores", "cores", "8cores", "CPU set aside for all floors, I/O included"),
    "slos": ("slos", "", "20", "the number of SLOs"),
}
"""Each option with the resource, its unit, an example and what it is."""
_OPTION = {resource: f"--{option.replace('_', '-')}" for option, (resource, _, _, _) in RESOURCES.items()}


class _Limit(FormattableColumn[Any]):
    """A limit or an amount of a resource; the value is the pair of both."""

    def human_readable(self) -> str:
        """For a table."""
        resource, value = self._value
        return "unlimited" if value == _UNLIMITED else _show(resource, value)

    def machine_readable(self) -> Any:
        """The number in the base unit; -1 is no limit."""
        return self._value[1]


def _show(resource: str, value: float) -> str:
    if resource == "slos":
        return f"{value:g}"
    return units.show_metric("cpu" if resource == "reserved_cpu_cores" else resource, value)


def _amount(option: str, text: str) -> float:
    """A limit in its base unit; 0 and -1 are numbers without a unit. Raises `CommandError`."""
    resource, unit, example, _ = RESOURCES[option]
    if text.strip() in ("0", "-1"):
        return int(text)
    try:
        if unit:
            return units.parse(text, unit)
        if not text.strip().isdecimal():
            raise units.InvalidQuantity(f"{text[:60]!r} is not a whole number, such as {example}")
        return int(text)
    except units.InvalidQuantity as error:
        raise CommandError(f"{_OPTION[resource]}: {error}; 0 is nothing, -1 no limit") from None


def _rows(quota: Quota) -> tuple[Any, Any]:
    columns = ("resource", "limit", "used", "left", "default")
    rows = []
    for name, keys in (quota.resources or {}).items():
        limit, used = keys["limit"], keys["used"]
        left = _UNLIMITED if limit == _UNLIMITED else max(0.0, limit - used)
        rows.append((name, _Limit((name, limit)), _Limit((name, used)), _Limit((name, left)), keys["is_default"]))
    return columns, rows


def _project(stella: Proxy, given: str | None) -> str:
    """The project that is named, else the one that the user signed in to, else that of all instances. Raises `CommandError`."""
    if given is not None:
        if not given.strip() or "/" in given:
            raise CommandError(f"--project: {given[:64]!r} is not the id of a project")
        return given
    with one_line():
        own = stella.get_project_id()
        visible = {own} if own else {instance.project_id for instance in stella.instances()}
    if len(visible) != 1:
        raise CommandError("--project: name the id of a project; your token does not tell which one is meant")
    return str(visible.pop())


class Show(command.Lister):
    """Show what the SLOs of a project may hold together, and what they hold.

    Without --project it is the project that you signed in to.

    Example: openstack slo quota show --project 4d1c0a
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--project", metavar="<id>", help="Id of a project")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Show it."""
        stella = service(self)
        project = _project(stella, parsed_args.project)
        with one_line():
            return _rows(stella.get_quota(project))


class List(command.Lister):
    """List the quotas of projects that had an SLO or a quota of their own (for operators).

    Example: openstack slo quota list -f json
    """

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        with one_line():
            found = list(stella.quotas())
        names = [resource for resource, _, _, _ in RESOURCES.values()]
        rows = [(quota.project_id, *[_Of((name, quota.resources[name])) for name in names]) for quota in found]
        return ("project_id", *names), rows


class _Of(FormattableColumn[Any]):
    """``2cores of 4cores``; the value is the resource with its limit and what is used."""

    def human_readable(self) -> str:
        """For a table."""
        name, keys = self._value
        used = _show(name, keys["used"])
        return used if keys["limit"] == _UNLIMITED else f"{used} of {_show(name, keys['limit'])}"

    def machine_readable(self) -> Mapping[str, Any]:
        """Limit and used in base units."""
        found: Mapping[str, Any] = self._value[1]
        return found


class Set(command.Lister):
    """Set the quota of a project (for administrators); resources that are not named stay.

    0 is nothing, -1 no limit. Less than what is used stops growth and takes nothing away.

    Example: openstack slo quota set --project 4d1c0a --cpu 4cores --net-pps 200k --slos 20
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--project", metavar="<id>", required=True, help="Id of a project")
        for option, (_, unit, example, text) in RESOURCES.items():
            parser.add_argument(
                f"--{option.replace('_', '-')}",
                metavar="<quantity>" if unit else "<number>",
                help=f"{text[0].upper()}{text[1:]}, such as {example}",
            )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Set it."""
        given = {option: getattr(parsed_args, option) for option in RESOURCES}
        limits = {RESOURCES[name][0]: _amount(name, text) for name, text in given.items() if text is not None}
        if not limits:
            raise CommandError(f"name at least one of {', '.join(_OPTION.values())}")
        stella = service(self)
        project = _project(stella, parsed_args.project)
        with one_line():
            return _rows(stella.set_quota(project, limits))


class Unset(command.Command):
    """Go back to the default quota of a project (for administrators), for the resources that are named or for all.

    Example: openstack slo quota unset --project 4d1c0a --cpu
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--project", metavar="<id>", required=True, help="Id of a project")
        for option, (_, _, _, text) in RESOURCES.items():
            name = f"--{option.replace('_', '-')}"
            parser.add_argument(name, action="store_true", help=f"Only the limit of {text.removeprefix('the ')}")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Take the own limits away."""
        named = [resource for option, (resource, _, _, _) in RESOURCES.items() if getattr(parsed_args, option)]
        stella = service(self)
        project = _project(stella, parsed_args.project)
        with one_line():
            if named:
                stella.set_quota(project, dict.fromkeys(named))
            else:
                stella.delete_quota(project)
