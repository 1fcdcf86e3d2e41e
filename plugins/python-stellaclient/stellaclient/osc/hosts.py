"""`openstack slo host`: for operators."""

import argparse
from collections.abc import Mapping
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.osc.columns import Cores, Kept, Keys, Offences
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
        "failover_cpu_cores": Cores(host.failover_cpu_cores),
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


class Explain(command.Lister):
    """Explain who holds what on a host, who uses more CPU than it is entitled to, who offended in the last hour, and what is free.

    Instances that offend come first. An instance may use what others leave idle: it offends only where one that is guaranteed
    lacked that CPU. The last two rows are the host's own services and its head-room.

    Example: openstack slo host explain compute-1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Name of a host")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Explain it."""
        stella = service(self)
        with one_line():
            found = stella.explain_host(host_name(parsed_args.host))
        print(_sentence(found), file=self.app.stderr)
        rows = [_held("instance", one) for one in found["instances"]]
        rows += [_held("host", {**found["host_services"], "name": "host services"})]
        rows += [_held("head-room", {"name": "head-room", "reserved_cpu_cores": found["free_cpu_cores"]})]
        return tuple(_held("", {})), [tuple(row.values()) for row in rows]


def _held(kind: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """One row; of a host's services and head-room most is not known."""
    return {
        "kind": kind,
        "name": one.get("name"),
        "uuid": one.get("uuid"),
        "slo": one.get("slo_state"),
        "reserved_cpu_cores": Cores(one.get("reserved_cpu_cores")),
        "used_cpu_cores": Cores(one.get("used_cpu_cores")),
        "entitled_cpu_cores": Cores(one.get("entitled_cpu_cores")),
        "excess_cpu_cores": Cores(one.get("excess_cpu_cores")),
        "objectives": Kept([{**now, **_guaranteed(one, now["metric"])} for now in one.get("objectives", ())]),
        "missed_seconds": one.get("missed_seconds"),
        "offends": Offences(one.get("offences")),
    }


def _guaranteed(one: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """What is guaranteed of a metric, in its base unit; None where its SLO sets a ceiling or a weight alone."""
    objective = one["guaranteed"].get(metric, {})
    return {"guaranteed": objective.get("floor", objective.get("target"))}


def _sentence(found: Mapping[str, Any]) -> str:
    """The host in a line."""
    if found["capacity_cpu_cores"] is None:
        return f"{found['name']} ({found['mode']}) has not reported yet"
    capacity, reserved, free = (f"{found[f'{name}_cpu_cores']:.4g}" for name in ("capacity", "reserved", "free"))
    told = f"{found['name']} ({found['mode']}): {reserved} of {capacity} cores reserved, {free} free"
    return f"{told}; it is silent since {found['reported_at']}, so this is as it was then" if found["silent"] else told


class Set(command.ShowOne):
    """Set the modes of a host, or say that it is fenced.

    --mode: observe changes nothing on it, enforce keeps SLOs, maintenance leaves it out. --relief-mode: what is done about floors that
    it cannot keep, and once it is dead and fenced. --fenced: nothing runs on it any more, for certain; its instances may then be
    started elsewhere, and two that run at once destroy their disks.

    Example: openstack slo host set compute-1 --mode enforce
    Example: openstack slo host set compute-1 --maintenance --relief-mode act
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Name of a host")
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--mode", choices=MODES, help="What the host is to do")
        mode.add_argument(
            "--maintenance",
            dest="mode",
            action="store_const",
            const="maintenance",
            help="The same as --mode maintenance: it keeps what it has, takes nothing new, and is excluded from SLAs",
        )
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
