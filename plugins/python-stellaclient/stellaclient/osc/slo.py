"""`openstack slo set`, `show` and `unset`."""

import argparse
from collections.abc import Collection, Mapping
from time import monotonic, sleep
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient import units
from stellaclient.osc.columns import Attained, ByMetric, Contradictions, Cores, Episode, Limits, Objectives, Statuses
from stellaclient.osc.errors import one_line, show_largest
from stellaclient.osc.service import add_server, service, uuid_of
from stellaclient.sdk.proxy import Proxy
from stellaclient.sdk.resources import Slo

_POLL_SECONDS = 0.5
QUANTITIES = {
    "net_pps": ("network_packets", "floor", "20k", "packet rate that is guaranteed when asked for"),
    "net_pps_ceiling": ("network_packets", "ceiling", "100k", "packet rate that is never exceeded"),
    "net_bandwidth": ("network_bytes", "floor", "500Mbit/s", "network bandwidth that is guaranteed"),
    "net_bandwidth_ceiling": ("network_bytes", "ceiling", "1Gbit/s", "network bandwidth that is never exceeded"),
    "disk": ("block_bytes", "floor", "300MB/s", "disk bandwidth that is guaranteed"),
    "disk_ceiling": ("block_bytes", "ceiling", "500MB/s", "disk bandwidth that is never exceeded"),
    "disk_iops": ("block_operations", "floor", "8000", "disk operations per second that are guaranteed"),
    "disk_iops_ceiling": ("block_operations", "ceiling", "20000", "disk operations per second, never exceeded"),
    "disk_latency": ("block_latency", "target", "5ms", "mean disk latency, at most"),
    "cpu": ("cpu", "floor", "20%", "CPU that is guaranteed, in percent of one core or in cores"),
    "cpu_ceiling": ("cpu", "ceiling", "1.5cores", "CPU that is never exceeded"),
}
DIRECTIONS = {
    "net_direction": ("network", ("tx", "rx", "both"), "of the network objectives, seen from the instance"),
    "disk_direction": ("block", ("read", "write", "both"), "of the disk objectives"),
}
METRICS = tuple(units.UNIT_OF)
LARGEST_PRIORITY = 100


def add_objectives(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `asked` and `merge` read, and ``--replace``."""
    for option, (_, _, example, text) in QUANTITIES.items():
        help_text = f"{text[0].upper()}{text[1:]}, such as {example}".replace("%", "%%")
        parser.add_argument(f"--{option.replace('_', '-')}", metavar="<quantity>", help=help_text)
    for option, (_, choices, text) in DIRECTIONS.items():
        parser.add_argument(f"--{option.replace('_', '-')}", choices=choices, help=f"Direction {text}")
    parser.add_argument(
        "--priority", type=int, metavar="<0-100>", help="Of floors that do not all fit, higher ones are kept"
    )
    parser.add_argument("--replace", action="store_true", help="Drop objectives that are not named")


def asked(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The objectives that the options name, in base units. Raises `CommandError`."""
    found: dict[str, dict[str, Any]] = {}
    for option, (metric, key, _, _) in QUANTITIES.items():
        text = getattr(given, option)
        if text is None:
            continue
        try:
            found.setdefault(metric, {})[key] = units.parse(text, units.UNIT_OF[metric])
        except units.InvalidQuantity as error:
            raise CommandError(f"--{option.replace('_', '-')}: {error}") from None
    return found


def merge(
    before: Mapping[str, Mapping[str, Any]], change: Mapping[str, Mapping[str, Any]], given: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """The objectives of before, changed. Raises `CommandError` for a direction of nothing."""
    merged = {metric: {**keys, "priority": keys.get("priority", 0)} for metric, keys in before.items()}
    for metric, keys in change.items():
        merged[metric] = {**merged.get(metric, {}), **keys}
    for option, (resource, _, _) in DIRECTIONS.items():
        direction = getattr(given, option)
        metrics = [metric for metric in merged if metric.startswith(f"{resource}_")]
        if direction and not metrics:
            raise CommandError(f"--{option.replace('_', '-')} needs an objective of the {resource}")
        for metric in metrics if direction else ():
            merged[metric]["direction"] = direction
    if given.priority is not None:
        for keys in merged.values():
            keys["priority"] = given.priority
    return merged


def wait(stella: Proxy, uuid: str, generation: int, timeout_seconds: float) -> Slo:
    """The SLO once its host enforces it. Raises `CommandError` with the reason where it does not."""
    end = monotonic() + timeout_seconds
    while True:
        with one_line():
            slo = stella.get_slo(uuid)
        if slo is None or slo.generation != generation:
            raise CommandError("the SLO was changed by others before its host enforced it")
        if slo.state == "enforced":
            return slo
        if slo.state == "suspended":
            raise CommandError(f"suspended: {(slo.reason or 'no reason given').rstrip('.')}")
        if slo.state in ("refused", "degraded"):
            offer = f"; largest that fits: {show_largest(slo.largest)}" if slo.largest else ""
            raise CommandError(f"{slo.state} by the host: {(slo.reason or 'no reason given').rstrip('.')}{offer}")
        if monotonic() >= end:
            raise CommandError(
                f"accepted, but not enforced by the host within {timeout_seconds:g} s; it is still {slo.state}"
            )
        sleep(_POLL_SECONDS)


def wait_withdrawn(stella: Proxy, uuid: str, metrics: Collection[str], timeout_seconds: float) -> None:
    """Return once the host, in a report after the change, no longer tells of these objectives. Raises `CommandError`."""
    end = monotonic() + timeout_seconds
    with one_line():
        reported_at = stella.get_instance(uuid).reported_at
    while True:
        with one_line():
            instance = stella.get_instance(uuid)
        left = [o["metric"] for o in instance.objectives or () if o["metric"] in metrics]
        if instance.state == "gone" or (instance.reported_at != reported_at and not left):
            return
        if monotonic() >= end:
            raise CommandError(f"withdrawn, but not confirmed by the host within {timeout_seconds:g} s")
        sleep(_POLL_SECONDS)


def add_wait(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds ``--wait`` and ``--timeout``."""
    parser.add_argument("--wait", action="store_true", help=f"Wait until the host {what}")
    parser.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="<seconds>", help="How long to wait at most (60)"
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError("must be from 0 to 86400 s")
    return value


def shown(slo: Slo, **more: Any) -> dict[str, Any]:
    """The columns of an SLO."""
    return {
        "uuid": slo.uuid,
        **more,
        "objectives": Objectives(slo.objectives),
        "from_flavor": Objectives(slo.flavor_objectives or {}),
        "priority": slo.priority,
        "state": slo.state,
        "reason": slo.reason,
        "largest": ByMetric(slo.largest),
        "reserved_cpu_cores": Cores(slo.reserved_cpu_cores),
        "estimated": slo.estimated,
        "limits": Limits(slo.limits or []),
        "contradictions": Contradictions(slo.contradictions or []),
        "failover": _failover(slo.failover),
        "generation": slo.generation,
        "changed_at": slo.changed_at,
    }


def _failover(told: Mapping[str, Any] | None) -> str:
    """Whether another host keeps a place, and to operators which; a dash where the SLA class does not ask for one."""
    if told is None:
        return "-"
    kept = "kept" if told["kept"] else "no place"
    return f"{kept} on {told['host']}" if told.get("host") else kept


class Set(command.ShowOne):
    """Set objectives of an instance; those that are not named stay as they are.

    Example: openstack slo set --server web-1 --net-pps 20k --disk 300MB/s --cpu 20% --wait
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_server(parser)
        add_objectives(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="Answer whether it would be accepted; change nothing"
        )
        add_wait(parser, "enforces or refuses it")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Set it."""
        change = asked(parsed_args)
        if not change and (
            parsed_args.replace
            or (parsed_args.priority is None and not any(getattr(parsed_args, o) for o in DIRECTIONS))
        ):
            raise CommandError("name at least one objective, such as --cpu 20%")
        if parsed_args.priority is not None and not 0 <= parsed_args.priority <= LARGEST_PRIORITY:
            raise CommandError(f"--priority: must be from 0 to {LARGEST_PRIORITY}")
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server)
        with one_line():
            before = stella.get_slo(uuid)
        kept = {} if before is None or parsed_args.replace else before.added
        objectives = merge(kept, change, parsed_args)
        if not objectives:
            raise CommandError("the instance has no SLO; name at least one objective, such as --cpu 20%")
        priority = parsed_args.priority
        if priority is None:
            priority = before.priority if before is not None and not parsed_args.replace else 0
        with one_line():
            slo = stella.put_slo(
                uuid,
                objectives,
                priority=priority,
                generation=before.generation if before else None,
                dry_run=parsed_args.dry_run,
            )
        if parsed_args.dry_run:
            columns = {
                "uuid": uuid,
                "accepted": slo.accepted,
                "objectives": Objectives(slo.objectives),
                "reserved_cpu_cores": Cores(slo.reserved_cpu_cores),
                "estimated": slo.estimated,
                "contradictions": Contradictions(slo.contradictions or []),
            }
            return tuple(columns), tuple(columns.values())
        if parsed_args.wait:
            slo = wait(stella, uuid, slo.generation, parsed_args.timeout)
        columns = shown(slo)
        return tuple(columns), tuple(columns.values())


class Show(command.ShowOne):
    """Show the SLO of an instance, how its objectives do now, were kept today and this month, and what was missed last.

    Example: openstack slo show --server web-1 -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_server(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Show it."""
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server)
        with one_line():
            instance = stella.get_instance(uuid)
            slo = stella.get_slo(uuid)
            if slo is None:
                raise CommandError(f"instance {instance.name or uuid} has no SLO")
            attainment = stella.get_attainment(uuid)
            last = next(iter(stella.violations(uuid=uuid, limit=1)), None)
        columns = shown(
            slo,
            name=instance.name,
            status=Statuses(instance.objectives),
            attainment_today=Attained(attainment.today),
            attainment_this_month=Attained(attainment.month or {"objectives": attainment.objectives}),
            last_violation=Episode(
                {key: getattr(last, key) for key in ("metric", "cause", "opened_at", "closed_at")} if last else None
            ),
        )
        return tuple(columns), tuple(columns.values())


class Unset(command.Command):
    """Withdraw the SLO of an instance, or single objectives of it. What its flavor sells stays.

    Example: openstack slo unset --server web-1 --objective cpu --wait
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_server(parser)
        parser.add_argument(
            "--objective", action="append", choices=METRICS, help="Only this one; may be given more than once"
        )
        add_wait(parser, "confirms it")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Withdraw it."""
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server)
        with one_line():
            slo = stella.get_slo(uuid)
        if slo is None:
            raise CommandError(f"instance {parsed_args.server} has no SLO")
        added = slo.added
        if not added:
            raise CommandError(
                "all of the SLO comes with the server's flavor; resize to another flavor to be rid of it"
            )
        dropped = parsed_args.objective or list(added)
        missing = [metric for metric in dropped if metric not in added]
        if missing:
            of_flavor = " but that of its flavor" if missing[0] in slo.objectives else ""
            raise CommandError(f"the SLO has no objective {missing[0]}{of_flavor}")
        left = {
            metric: {**keys, "priority": keys.get("priority", 0)}
            for metric, keys in added.items()
            if metric not in dropped
        }
        with one_line():
            if left:
                changed = stella.put_slo(uuid, left, priority=slo.priority, generation=slo.generation)
            else:
                stella.delete_slo(uuid, slo.generation)
        if parsed_args.wait and left:
            wait(stella, uuid, changed.generation, parsed_args.timeout)
        elif parsed_args.wait:
            wait_withdrawn(stella, uuid, set(dropped) - set(slo.flavor_objectives or {}), parsed_args.timeout)
