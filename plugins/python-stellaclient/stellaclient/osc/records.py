"""`openstack slo violation` and `openstack slo decision`."""

import argparse
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.osc.columns import Amount, Keys
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import add_server, add_sort, service, uuid_of
from stellaclient.sdk.proxy import Proxy
from stellaclient.sdk.resources import Decision

_VIOLATION = ("id", "uuid", "metric", "opened_at", "closed_at", "cause", "host", "offender")
_DECISION = ("id", "decided_at", "kind", "uuid", "host", "user_id", "reason")
_MOVE = ("state", "to", "predicted_effect_seconds_per_hour", "measured_effect_seconds_per_hour")
_MOVE_STATES = ("suggested", "reserved", "moving", "done", "failed", "refused", "stopped")


def _add_filters(parser: argparse.ArgumentParser, sort_keys: tuple[str, ...]) -> None:
    add_server(parser, required=False)
    parser.add_argument("--host", metavar="<host>", help="Only those of this host (for operators)")
    parser.add_argument("--project", metavar="<id>", help="Only those of this project (for operators)")
    parser.add_argument("--from", dest="start", metavar="<time>", help="Not before, such as 2026-11-24T00:00:00Z")
    parser.add_argument("--to", dest="end", metavar="<time>", help="Before, such as 2026-11-25T00:00:00Z")
    add_sort(parser, sort_keys)
    parser.add_argument("--limit", type=int, default=100, metavar="<number>", help="The most to list (100)")


def _query(stella: Proxy, given: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """What the API is asked. Raises `CommandError`."""
    query = {"host": given.host, "project": given.project, "sort": given.sort, **more}
    query |= {"from": _time("--from", given.start), "to": _time("--to", given.end)}
    query["uuid"] = uuid_of(stella, given.server) if given.server else None
    return {key: value for key, value in query.items() if value}


def _time(option: str, text: str | None) -> str | None:
    """The time as RFC 3339 in UTC; one without zone is UTC. Raises `CommandError`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option}: {text[:60]!r} is not a time, such as 2026-11-24T00:00:00Z") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _first(found: Iterable[Any], limit: int) -> list[Any]:
    return list(islice(found, max(0, limit)))


class ListViolations(command.Lister):
    """List episodes in which an objective was missed, newest first.

    Example: openstack slo violation list --server web-1 --from 2026-11-24T00:00:00Z
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_filters(parser, ("id", "opened_at", "metric"))
        parser.add_argument("--open", action="store_true", help="Only those that last")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        query = _query(stella, parsed_args, open="true" if parsed_args.open else None)
        with one_line():
            found = _first(stella.violations(**query), parsed_args.limit)
        return _VIOLATION, [tuple(getattr(v, column) for column in _VIOLATION) for v in found]


class ShowViolation(command.Lister):
    """Show a violation minute by minute: what was used and asked for, how much was missed and why.

    What hosts reported, for operators with the offender and the evidence, is printed beside the table (on stderr).

    Example: openstack slo violation show 17
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("id", metavar="<id>", type=int, help="Id of a violation")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Show it."""
        stella = service(self)
        with one_line():
            found = stella.get_violation(parsed_args.id)
        for line in _told(found):
            print(line, file=self.app.stderr)
        metric = found["metric"]
        rows = [
            (
                one["start"],
                Amount((metric, one["usage_mean"])),
                Amount((metric, one["usage_min"])),
                Amount((metric, one["demand_mean"])),
                one["seconds"]["met"],
                one["seconds"]["violated"] + one["seconds"]["degraded"],
                one["seconds"]["unknown"],
                max(one["causes"], key=lambda cause: one["causes"][cause], default=None),
            )
            for one in found["timeline"]
        ]
        columns = (
            "minute",
            "usage",
            "usage_min",
            "demand",
            "met_seconds",
            "missed_seconds",
            "unknown_seconds",
            "cause",
        )
        return columns, rows


def _told(found: Mapping[str, Any]) -> list[str]:
    """The violation in a sentence, and a line for each part of it."""
    ended = f"until {found['closed_at']}" if found["closed_at"] else "still lasting"
    missed = f", {found['missed_seconds']:g} s missed" if found["missed_seconds"] is not None else ""
    who = f" on {found['host']}" if found["host"] else ""
    lines = [
        f"{found['metric']} of {found['name'] or found['uuid']}{who}: cause {found['cause'] or 'unknown'}, "
        f"from {found['opened_at']}, {ended}{missed}"
    ]
    if found["offender"]:
        named = f"{found['offender_name']} ({found['offender']})" if found["offender_name"] else found["offender"]
        lines.append(f"offender: {named}")
    for part in found["parts"]:
        figures = ", ".join(f"{name} {value}" for name, value in part["evidence"].items())
        lines.append(f"{part['opened_at']}: {figures}" if figures else f"{part['opened_at']}: no figures")
    return lines


class ListDecisions(command.Lister):
    """List what was decided about SLOs and hosts, by whom and why, newest first.

    Example: openstack slo decision list --server web-1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_filters(parser, ("id", "decided_at", "kind"))
        parser.add_argument(
            "--kind", metavar="<kind>", help="Only decisions of this kind, such as relief or evacuation"
        )
        parser.add_argument(
            "--state", choices=_MOVE_STATES, help="Only moves in this state (of the kinds relief and evacuation)"
        )
        parser.add_argument(
            "--long", action="store_true", help="Also the request's id, the details, and what became of a move"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        query = _query(stella, parsed_args, kind=parsed_args.kind, state=parsed_args.state)
        with one_line():
            found = _first(stella.decisions(**query), parsed_args.limit)
        columns: tuple[str, ...] = _DECISION
        if parsed_args.long or parsed_args.state or parsed_args.kind in ("relief", "evacuation"):
            columns += _MOVE
        columns += ("request_id", "detail") if parsed_args.long else ()
        rows = [_decided(one) for one in found]
        return columns, [tuple(row[column] for column in columns) for row in rows]


class ShowDecision(command.ShowOne):
    """Show a decision: for one to move an instance also from where to where, why, and the predicted and the measured effect.

    Example: openstack slo decision show 812
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("id", metavar="<id>", type=int, help="Id of a decision")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Show it."""
        stella = service(self)
        with one_line():
            found = stella.get_decision(parsed_args.id)
        row, move = _decided(found), found.move
        if move is None:
            row = {name: value for name, value in row.items() if name not in _MOVE}
        else:
            more = ("freed_cpu_cores", "helped", "victims", "changed_at")
            row |= {name: move[name] for name in more} | {"outcome": move["reason"] or None}
        return tuple(row), tuple(row.values())


def _decided(found: Decision) -> dict[str, Any]:
    """A decision by column; those of a move are None where it is about none."""
    move = found.move or {}
    return (
        {column: getattr(found, column) for column in _DECISION}
        | {column: move.get(column) for column in _MOVE}
        | {"request_id": found.request_id, "detail": Keys(found.detail)}
    )
