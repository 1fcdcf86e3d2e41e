"""`openstack slo exclusion` and `openstack slo correction`: what does not count, or counts otherwise; with reason and author."""

import argparse
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.osc.errors import one_line
from stellaclient.osc.service import add_server, add_sort, host_name, service, uuid_of
from stellaclient.osc.slas import sla_of
from stellaclient.osc.usage import moment
from stellaclient.sdk.proxy import Proxy

STATUSES = ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")
_WITHDRAWN = ("author", "withdrawn_at", "withdrawn_by", "withdrawn_reason")
_EXCLUSION = ("id", "kind", "scope", "target", "start", "until", "reason", *_WITHDRAWN)
_CORRECTION = ("id", "period", "uuid", "metric", "seconds", "source", "target", "reason", *_WITHDRAWN)


def _values(found: Any, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(found, column) for column in columns)


class CreateExclusion(command.ShowOne):
    """Exclude a window from all SLAs: of a host, a project, an instance, or of all (for administrators).

    It begins at most 7 days ago, at a whole minute.

    Example: openstack slo exclusion create --host compute-1 --from 2026-11-24T02:00Z --to 2026-11-24T04:00Z --reason "new kernel"
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--host", metavar="<host>", help="What this host counts in the window")
        what.add_argument("--project", metavar="<id>", help="Instances of this project")
        what.add_argument("--server", metavar="<server>", help="This instance (name or uuid)")
        what.add_argument("--all", action="store_true", help="Every instance")
        parser.add_argument(
            "--from", dest="start", metavar="<time>", required=True, help="Such as 2026-11-24T02:00:00Z"
        )
        parser.add_argument("--to", dest="end", metavar="<time>", required=True, help="The same")
        parser.add_argument(
            "--kind", choices=("maintenance", "tenant"), default="maintenance", help="Whose doing (maintenance)"
        )
        parser.add_argument("--reason", metavar="<text>", required=True, help="Why; shown in every report")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Exclude it."""
        now = datetime.now(UTC)
        body = {
            "kind": parsed_args.kind,
            "reason": parsed_args.reason,
            "start": moment(parsed_args.start, "--from", now),
            "until": moment(parsed_args.end, "--to", now),
        }
        stella = service(self)
        body |= self._target(stella, parsed_args)
        with one_line():
            return _EXCLUSION, _values(stella.create_exclusion(body), _EXCLUSION)

    @staticmethod
    def _target(stella: Proxy, given: argparse.Namespace) -> dict[str, str]:
        if given.host is not None:
            return {"scope": "host", "target": host_name(given.host)}
        if given.project is not None:
            return {"scope": "project", "target": given.project}
        if given.server is not None:
            return {"scope": "instance", "target": uuid_of(stella, given.server)}
        return {"scope": "all"}


class ListExclusions(command.Lister):
    """List exclusions, newest first, also those that are withdrawn.

    Example: openstack slo exclusion list --from 2026-11-01T00:00:00Z
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--project", metavar="<id>", help="Only those that reach this project (for operators)")
        parser.add_argument("--from", dest="start", metavar="<time>", help="Those that last after this time")
        parser.add_argument("--to", dest="end", metavar="<time>", help="Those that begin before this time")
        add_sort(parser, ("id", "start"))
        parser.add_argument("--limit", type=int, default=100, metavar="<number>", help="The most to list (100)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        now = datetime.now(UTC)
        query = {
            "project": parsed_args.project,
            "sort": parsed_args.sort,
            "from": moment(parsed_args.start, "--from", now),
            "to": moment(parsed_args.end, "--to", now),
        }
        stella = service(self)
        with one_line():
            found = list(islice(stella.exclusions(**{k: v for k, v in query.items() if v}), max(0, parsed_args.limit)))
        return _EXCLUSION, [_values(one, _EXCLUSION) for one in found]


class _Withdrawal(command.ShowOne):
    """Withdraw something with a reason."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("id", metavar="<id>", type=int, help="Its id, as the list shows it")
        parser.add_argument("--reason", metavar="<text>", required=True, help="Why; shown in every report")
        return parser


class DeleteExclusion(_Withdrawal):
    """Withdraw an exclusion: its window counts again, and it stays in reports (for administrators).

    Example: openstack slo exclusion delete 7 --reason "the work was put off"
    """

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Withdraw it."""
        stella = service(self)
        with one_line():
            return _EXCLUSION, _values(stella.withdraw_exclusion(parsed_args.id, parsed_args.reason), _EXCLUSION)


class CreateCorrection(command.ShowOne):
    """Correct the report of a month: seconds of one status count as another (for administrators).

    Example: openstack slo correction create --sla gold --period 2026-11 --server web-1 --metric cpu --seconds 9 --as violated:met
    --reason "sensor"
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--sla", metavar="<class>", required=True, help="Name or uuid of an SLA class")
        parser.add_argument("--period", metavar="<month>", required=True, help="Such as 2026-11")
        add_server(parser)
        parser.add_argument("--metric", metavar="<metric>", required=True, help="Such as cpu")
        parser.add_argument(
            "--seconds", type=int, metavar="<number>", required=True, help="How many; no more than there are"
        )
        parser.add_argument("--as", dest="change", metavar="<from>:<to>", required=True, help="Such as violated:met")
        parser.add_argument("--reason", metavar="<text>", required=True, help="Why; shown in every report")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Correct it."""
        source, _, target = parsed_args.change.partition(":")
        if source not in STATUSES or target not in STATUSES:
            raise CommandError(
                f"--as: {parsed_args.change[:40]!r} is not FROM:TO of {', '.join(STATUSES)}, such as violated:met"
            )
        stella = service(self)
        body = {
            "period": parsed_args.period,
            "uuid": uuid_of(stella, parsed_args.server),
            "metric": parsed_args.metric,
            "seconds": parsed_args.seconds,
            "source": source,
            "target": target,
            "reason": parsed_args.reason,
        }
        with one_line():
            made = stella.create_correction({**body, "sla": sla_of(stella, parsed_args.sla).uuid})
        return _CORRECTION, _values(made, _CORRECTION)


class ListCorrections(command.Lister):
    """List corrections, newest first, also those that are withdrawn.

    Example: openstack slo correction list --period 2026-11
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--period", metavar="<month>", help="Only those of this month, such as 2026-11")
        parser.add_argument("--sla", metavar="<class>", help="Only those of this class (name or uuid)")
        parser.add_argument("--project", metavar="<id>", help="Only those of this project (for operators)")
        parser.add_argument("--limit", type=int, default=100, metavar="<number>", help="The most to list (100)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        with one_line():
            sla = sla_of(stella, parsed_args.sla).uuid if parsed_args.sla else None
            query = {"period": parsed_args.period, "project": parsed_args.project, "sla": sla}
            found = list(islice(stella.corrections(**{k: v for k, v in query.items() if v}), max(0, parsed_args.limit)))
        return _CORRECTION, [_values(one, _CORRECTION) for one in found]


class DeleteCorrection(_Withdrawal):
    """Withdraw a correction: the seconds count as they were measured, and it stays in reports (for administrators).

    Example: openstack slo correction delete 3 --reason "it was the other instance"
    """

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Withdraw it."""
        stella = service(self)
        with one_line():
            return _CORRECTION, _values(stella.withdraw_correction(parsed_args.id, parsed_args.reason), _CORRECTION)
