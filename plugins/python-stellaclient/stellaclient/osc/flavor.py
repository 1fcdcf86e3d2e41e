"""`openstack slo flavor`: SLOs that flavors sell. The flavor is Nova's; Stella says which extra specs sell an SLO."""

import argparse
from collections.abc import Mapping
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.osc.columns import Contradictions, Cores, Keys, Objectives, Ratio
from stellaclient.osc.errors import one_line, show_largest
from stellaclient.osc.service import service
from stellaclient.osc.slo import LARGEST_PRIORITY, METRICS, add_objectives, asked, merge
from stellaclient.sdk.proxy import Proxy

PREFIX = "stella:slo_"
RESOURCES = "resources:CUSTOM_STELLA_"
QUOTAS = "quota:"
_PRIORITY = f"{PREFIX}priority"
_KEYS = ("floor", "ceiling", "weight", "target", "direction", "unit", "priority")
_SPECS = {f"{PREFIX}{metric}_{key}": (metric, key) for metric in METRICS for key in _KEYS}


def add_flavor(parser: argparse.ArgumentParser) -> None:
    """Adds the flavor."""
    parser.add_argument("flavor", metavar="<flavor>", help="Name or id of a flavor of Nova")


def find_flavor(of: Any, name: str) -> Any:
    """Nova's flavor, with its extra specs. Raises `CommandError`."""
    with one_line():
        found = of.app.client_manager.sdk_connection.compute.find_flavor(
            name, ignore_missing=True, get_extra_specs=True
        )
    if found is None:
        raise CommandError(f"no flavor is named {name[:64]!r}; `openstack flavor list --all` lists them")
    return found


def ours(extra_specs: Mapping[str, str]) -> dict[str, str]:
    """Those extra specs that `slo flavor set` writes."""
    return {name: text for name, text in extra_specs.items() if name.startswith((PREFIX, RESOURCES))}


def quotas(extra_specs: Mapping[str, str]) -> dict[str, str]:
    """Those extra specs with which Nova limits every server of the flavor."""
    return {name: text for name, text in sorted(extra_specs.items()) if name.startswith(QUOTAS)}


def _contradictions(of: Any, flavor: Any) -> Contradictions:
    """Floors that the flavor sells above a limit that it sets. Raises `CommandError`."""
    extra_specs = flavor.extra_specs or {}
    limited, sold = quotas(extra_specs), objectives_of(extra_specs)
    if not limited or not sold:
        return Contradictions([])
    with one_line():
        found = service(of).estimate(sold, vcpus=flavor.vcpus, extra_specs=limited)
    return Contradictions(found.get("contradictions") or [])


def objectives_of(extra_specs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The objectives that a flavor sells, in base units; none where it sells none. Raises `CommandError` that names the extra spec."""
    sold = {name: text for name, text in extra_specs.items() if name.startswith(PREFIX)}
    shared = int(_number(_PRIORITY, sold.pop(_PRIORITY, "0")))
    found: dict[str, dict[str, Any]] = {}
    for name, text in sorted(sold.items()):
        if name not in _SPECS:
            raise CommandError(
                f"the flavor has {name}, which this client does not know; `openstack slo flavor unset` drops it"
            )
        metric, key = _SPECS[name]
        value: Any = text if key == "direction" else _number(name, text)
        found.setdefault(metric, {"priority": shared} if shared else {})[key] = (
            int(value) if key == "priority" else value
        )
    return {metric: found[metric] for metric in METRICS if metric in found}


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CommandError(f"the flavor has {name}={text[:60]!r}, which is no number in base units") from None


def shown(flavor: Any, extra_specs: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """The columns of a flavor that sells an SLO."""
    resources = {
        name.removeprefix("resources:"): int(text) if text.isdecimal() else text
        for name, text in sorted(extra_specs.items())
        if name.startswith(RESOURCES)
    }
    return {
        "flavor": flavor.name,
        "id": flavor.id,
        "vcpus": flavor.vcpus,
        "objectives": Objectives(objectives_of(extra_specs)),
        "resources": Keys(resources),
        **more,
    }


class Set(command.ShowOne):
    """Have a flavor sell an SLO; objectives that are not named stay as they are. Servers that exist keep what they have.

    A floor above the flavor's own limit (quota:*) is refused.

    It writes the extra specs stella:slo_* and, with the CPU that the I/O costs, resources:CUSTOM_STELLA_*.

    Example: openstack slo flavor set gold --net-pps 20k --disk 300MB/s --cpu 20%
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_flavor(parser)
        add_objectives(parser)
        parser.add_argument("--dry-run", action="store_true", help="Show what would be written; change nothing")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Estimate it, then write it."""
        change = asked(parsed_args)
        if not change and (parsed_args.replace or parsed_args.priority is None):
            raise CommandError("name at least one objective, such as --cpu 20%")
        if parsed_args.priority is not None and not 0 <= parsed_args.priority <= LARGEST_PRIORITY:
            raise CommandError(f"--priority: must be from 0 to {LARGEST_PRIORITY}")
        stella, flavor = service(self), find_flavor(self, parsed_args.flavor)
        before = ours(flavor.extra_specs or {})
        wanted = merge({} if parsed_args.replace else objectives_of(before), change, parsed_args)
        if not wanted:
            raise CommandError("the flavor sells no SLO yet: name at least one objective, such as --cpu 20%")
        with one_line():
            estimate = stella.estimate(wanted, vcpus=flavor.vcpus, extra_specs=quotas(flavor.extra_specs or {}))
        above = estimate.get("contradictions") or []
        for one in above:
            if not one["reachable"]:
                raise CommandError(f"{one['message']}; no server of this flavor could get it")
        after: dict[str, str] = estimate["extra_specs"]
        if not parsed_args.dry_run:
            write(self, flavor, before, after)
        more = {"reserved_cpu_cores": Cores(estimate["reserved_cpu_cores"]), "estimated": estimate["estimated"]}
        more["contradictions"] = Contradictions(above)
        columns = shown(flavor, after, **more)
        return tuple(columns), tuple(columns.values())


def write(of: Any, flavor: Any, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Have the flavor's own extra specs be ``after``; the new ones first, so that it never sells what is not allocated."""
    compute = of.app.client_manager.sdk_connection.compute
    with one_line():
        if after and dict(after) != dict(before):
            compute.create_flavor_extra_specs(flavor, dict(after))
        for name in sorted(set(before) - set(after)):
            compute.delete_flavor_extra_specs_property(flavor, name)


class Show(command.ShowOne):
    """Show the SLO that a flavor sells, what Nova allocates for it, and floors above a limit (quota:*) of the flavor.

    Example: openstack slo flavor show gold -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_flavor(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Show it."""
        flavor = find_flavor(self, parsed_args.flavor)
        extra_specs = flavor.extra_specs or {}
        columns = shown(
            flavor, ours(extra_specs), quotas=Keys(quotas(extra_specs)), contradictions=_contradictions(self, flavor)
        )
        return tuple(columns), tuple(columns.values())


class Unset(command.Command):
    """Have a flavor sell no SLO any more. Servers that exist keep what they have.

    Example: openstack slo flavor unset gold
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_flavor(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Take its extra specs away."""
        flavor = find_flavor(self, parsed_args.flavor)
        write(self, flavor, ours(flavor.extra_specs or {}), {})


def explain(of: Any, stella: Proxy, name: str, vcpus: int | None) -> tuple[Any, Any]:
    """A line for each host: whether an instance of this flavor would fit, why not, and what would. Raises `CommandError`."""
    flavor = find_flavor(of, name)
    sold = {key: text for key, text in ours(flavor.extra_specs or {}).items() if key.startswith(PREFIX)}
    if not sold:
        raise CommandError(f"flavor {flavor.name} sells no SLO; `openstack slo flavor set` has it sell one")
    with one_line():
        found = stella.candidates(extra_specs=sold, vcpus=vcpus or flavor.vcpus, with_largest=True)
    rows = [
        (
            one["host"],
            one["fits"],
            _why(one),
            Cores(one["reserved_cpu_cores"]),
            Ratio(one["head_room_ratio"]),
            Ratio(one["attainment_ratio"]),
        )
        for one in found
    ]
    return ("host", "fits", "why_not", "reserved_cpu_cores", "head_room_left", "attainment_last_hour"), rows


def _why(candidate: Mapping[str, Any]) -> str:
    largest = {metric: value for metric, value in (candidate.get("largest") or {}).items() if value > 0}
    reason = candidate.get("reason") or ""
    return f"{reason}; largest that fits: {show_largest(largest)}" if largest else str(reason)
