"""`openstack slo list`, `explain` and `history`, and `openstack slo instance set`."""

import argparse
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from openstack import exceptions
from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.osc import flavor
from stellaclient.osc.columns import Amount, Contradictions, Objectives, Ratio, Statuses
from stellaclient.osc.errors import of_response, one_line
from stellaclient.osc.service import add_server, add_sort, service, uuid_of
from stellaclient.sdk.proxy import Proxy
from stellaclient.sdk.resources import Slo

_LARGEST_VCPUS = 1024
STATES = ("pending", "enforced", "refused", "degraded", "suspended")
_WHY = {
    "MET": "it gets what is guaranteed",
    "NO_DEMAND": "it does not ask for its floor",
    "SELF_LIMITED": "its own vCPUs or queue depth are the limit",
    "DEGRADED": "its host cannot hold all floors; those of higher priority are kept",
    "VIOLATED": "it asked for its floor and did not get it",
    "UNKNOWN": "its host has not measured it lately",
    "PENDING": "its host has not confirmed it yet",
}
_CAUSES = {
    "cpu": "it waits for CPU",
    "network": "packets are dropped or queued on the host's network",
    "block": "the disk back end is slow",
    "host": "a thread of QEMU on the host is full",
    "capacity": "the host has too little capacity",
    "sensor": "the host could not measure it",
}


def why(status: str, cause: str | None) -> str:
    """The status as a sentence."""
    text = _WHY.get(status, status)
    return f"{text}: {_CAUSES.get(cause, cause)}" if cause else text


class List(command.Lister):
    """List instances that have an SLO, and how their objectives do.

    Example: openstack slo list --state enforced -f csv
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--all", action="store_true", help="Also instances without SLO")
        parser.add_argument("--state", choices=STATES, help="Only SLOs in this state")
        parser.add_argument("--host", metavar="<host>", help="Only instances on this host (for operators)")
        parser.add_argument("--project", metavar="<id>", help="Only instances of this project (for operators)")
        parser.add_argument("--name", metavar="<name>", help="Only instances of exactly this name")
        add_sort(parser, ("uuid", "name", "project_id", "state"))
        parser.add_argument(
            "--long", action="store_true", help="Also project, host, time of the last report, and floors above a limit"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        query = {
            "status": parsed_args.state,
            "host": parsed_args.host,
            "project": parsed_args.project,
            "name": parsed_args.name,
            "sort": parsed_args.sort,
        }
        with one_line():
            found = list(stella.instances(**{key: value for key, value in query.items() if value}))
        columns = ["uuid", "name", "instance_state", "slo_state", "status"]
        columns += ["project_id", "host", "reported_at", "contradictions"] if parsed_args.long else []
        rows = [
            (
                i.id,
                i.name,
                i.state,
                i.slo_state,
                Statuses(i.objectives),
                i.project_id,
                i.host,
                i.reported_at,
                Contradictions(i.contradictions or []),
            )[: len(columns)]
            for i in found
            if parsed_args.all or i.slo_state is not None
        ]
        return columns, rows


def refused_since(stella: Proxy, uuid: str, slo: Slo | None) -> str | None:
    """What became of the last SLO that did not fit, asked again now; None where the SLO was changed after that."""
    with one_line():
        last = next(iter(stella.decisions(uuid=uuid, kind="slo_does_not_fit", limit=1)), None)
    if last is None or (slo is not None and _moment(slo.changed_at) > _moment(last.decided_at)):
        return None
    wanted = last.detail["objectives"]
    shown = Objectives(wanted).human_readable().replace("\n", "; ")
    try:
        stella.put_slo(uuid, wanted, generation=slo.generation if slo is not None else None, dry_run=True)
    except exceptions.ForbiddenException:
        return None
    except exceptions.HttpException as error:
        return f"refused at {last.decided_at}: {shown}; now: {of_response(error)}"
    return f"refused at {last.decided_at}: {shown}; now it would be accepted"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Explain(command.Lister):
    """Explain for each objective of an instance whether it is met now, why not, and how often it was this month.

    What was refused since its SLO changed last is asked again, and told beside the table with what would fit.
    With --flavor (for operators), explain for each host whether an instance of that flavor would fit, and why not.

    Example: openstack slo explain --server web-1
    Example: openstack slo explain --flavor gold
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--server", metavar="<server>", help="Name or uuid of an instance")
        what.add_argument("--flavor", metavar="<flavor>", help="Name or id of a flavor of Nova (for operators)")
        parser.add_argument("--vcpus", type=int, metavar="<number>", help="With --flavor: as if it had so many vCPUs")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Explain it."""
        if parsed_args.vcpus is not None and (
            parsed_args.flavor is None or not 1 <= parsed_args.vcpus <= _LARGEST_VCPUS
        ):
            raise CommandError(f"--vcpus: goes with --flavor and is from 1 to {_LARGEST_VCPUS}")
        stella = service(self)
        if parsed_args.flavor is not None:
            return flavor.explain(self, stella, parsed_args.flavor, parsed_args.vcpus)
        uuid = uuid_of(stella, parsed_args.server)
        with one_line():
            instance = stella.get_instance(uuid)
            slo = stella.get_slo(uuid)
            attained = {o["metric"]: o["attainment_ratio"] for o in stella.get_attainment(uuid).objectives or ()}
        if told := refused_since(stella, uuid, slo):
            self.app.stderr.write(f"{told}\n")
        now = {o["metric"]: o for o in instance.objectives or ()}
        wanted: Mapping[str, Mapping[str, Any]] = slo.objectives if slo is not None else {}
        above = {
            one["field"].split(".")[1]: str(one["message"]).partition(": ")[2] for one in instance.contradictions or ()
        }
        waiting = slo is not None and slo.state in ("pending", "refused")
        rows = []
        for metric in dict.fromkeys([*wanted, *now]):
            current = now.get(metric, {})
            status = "PENDING" if waiting or not current else current["status"]
            reason = f"its host says: {slo.reason}" if slo is not None and waiting and slo.reason else None
            asked = wanted.get(metric, {})
            rows.append(
                (
                    metric,
                    Amount((metric, asked.get("floor", asked.get("target")))),
                    Amount((metric, current.get("usage"))),
                    Amount((metric, current.get("demand"))),
                    status,
                    "; ".join(filter(None, (reason or why(status, current.get("cause")), above.get(metric)))),
                    Ratio(attained.get(metric)),
                )
            )
        return ("metric", "objective", "usage", "demand", "status", "why", "attainment_this_month"), rows


class History(command.Lister):
    """List the changes of an instance's SLO, newest first: who, when, from where.

    Example: openstack slo history --server web-1 --limit 5
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_server(parser)
        parser.add_argument("--limit", type=int, default=100, metavar="<number>", help="The most to list (100)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server)
        with one_line():
            found = list(islice(stella.slo_history(uuid), max(0, parsed_args.limit)))
        rows = [
            (
                c.generation,
                c.changed_at,
                c.user_id,
                c.remote_address,
                Objectives(c.before),
                Objectives(c.after),
                c.request_id,
            )
            for c in found
        ]
        return ("generation", "changed_at", "user_id", "remote_address", "before", "after", "request_id"), rows


class Set(command.ShowOne):
    """Say whether relief may move an instance to another host when floors are missed.

    Example: openstack slo instance set --server db-1 --no-relief
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_server(parser)
        relief = parser.add_mutually_exclusive_group(required=True)
        relief.add_argument("--no-relief", dest="opt_out", action="store_true", help="It is never moved by relief")
        relief.add_argument("--relief", dest="opt_out", action="store_false", help="It may be moved")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Set it."""
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server)
        with one_line():
            found = stella.set_instance(uuid, relief_opt_out=parsed_args.opt_out)
        return ("uuid", "name", "relief_opt_out"), (found.id, found.name, found.relief_opt_out)
