"""`openstack slo violation list` and `openstack slo decision list`."""

import argparse
from collections.abc import Iterable
from itertools import islice
from typing import Any

from osc_lib.command import command

from stellaclient.osc.columns import Keys
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import add_server, service, uuid_of

_VIOLATION = ("id", "uuid", "metric", "opened_at", "closed_at", "cause", "host", "offender")
_DECISION = ("id", "decided_at", "kind", "uuid", "host", "user_id", "reason")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    add_server(parser, required=False)
    parser.add_argument("--host", metavar="<host>", help="Only those of this host (for operators)")
    parser.add_argument("--project", metavar="<id>", help="Only those of this project (for operators)")
    parser.add_argument("--limit", type=int, default=100, metavar="<number>", help="The most to list (100)")


def _query(given: argparse.Namespace, **more: Any) -> dict[str, Any]:
    query = {"host": given.host, "project": given.project, **more}
    return {key: value for key, value in query.items() if value}


def _first(found: Iterable[Any], uuid: str | None, limit: int) -> list[Any]:
    return list(islice((record for record in found if uuid in (None, record.uuid)), max(0, limit)))


class ListViolations(command.Lister):
    """List episodes in which an objective was missed, newest first.

    Example: openstack slo violation list --open
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_filters(parser)
        parser.add_argument("--open", action="store_true", help="Only those that last")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server) if parsed_args.server else None
        query = _query(parsed_args, open="true" if parsed_args.open else None)
        with one_line():
            found = _first(stella.violations(**query), uuid, parsed_args.limit)
        return _VIOLATION, [tuple(getattr(v, column) for column in _VIOLATION) for v in found]


class ListDecisions(command.Lister):
    """List what was decided about SLOs and hosts, by whom and why, newest first.

    Example: openstack slo decision list --server web-1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_filters(parser)
        parser.add_argument("--kind", metavar="<kind>", help="Only decisions of this kind")
        parser.add_argument("--long", action="store_true", help="Also the request's id and the details")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server) if parsed_args.server else None
        with one_line():
            found = _first(stella.decisions(**_query(parsed_args, kind=parsed_args.kind)), uuid, parsed_args.limit)
        columns = (*_DECISION, "request_id", "detail") if parsed_args.long else _DECISION
        rows = [
            (*(getattr(d, column) for column in _DECISION), d.request_id, Keys(d.detail))[: len(columns)] for d in found
        ]
        return columns, rows
