"""`openstack slo usage`: what an instance used, over time."""

import argparse
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.osc.columns import Amount
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import add_server, service, uuid_of

STEPS = (1, 60, 3600, 86400)
_AGO = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?")


def moment(text: str | None, option: str, now: datetime) -> str | None:
    """A time as the API takes it, from RFC 3339, a date, or a span before now such as ``15m``. Raises `CommandError`."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            found = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        elif _TIME.fullmatch(text.strip()):
            found = datetime.fromisoformat(text.strip())
        else:
            raise ValueError
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option}: {text[:40]!r} is neither a time, such as 2026-11-24T00:00:00Z, nor a span before now, such as 15m, 3h or 2d"
        ) from None
    return found.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _missed(objective: Mapping[str, Any]) -> tuple[int, str | None]:
    """Missed seconds, and the cause of most of them."""
    seconds, causes = objective.get("seconds") or {}, objective.get("causes") or {}
    count = seconds.get("violated", 0) + seconds.get("degraded", 0)
    return count, max(causes, key=lambda cause: causes[cause], default=None) if count else None


class Usage(command.Lister):
    """List what an instance used and asked for, in steps of a second, a minute, an hour or a day.

    Example: openstack slo usage --server web-1 --step 60 --from 1h
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_server(parser)
        parser.add_argument(
            "--step",
            type=int,
            choices=STEPS,
            default=60,
            help="Seconds of a row (60). With 1 the host begins to send them, and they are kept for 15 minutes",
        )
        parser.add_argument("--from", dest="start", metavar="<time>", help="A time, or so long ago: 15m, 3h, 2d")
        parser.add_argument("--to", dest="end", metavar="<time>", help="The same; default: now")
        parser.add_argument("--metric", metavar="<metric>", help="Only this metric, such as cpu")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List it."""
        now = datetime.now(UTC)
        start = moment(parsed_args.start, "--from", now)
        end = moment(parsed_args.end, "--to", now)
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server)
        with one_line():
            found = stella.get_usage(uuid, step=parsed_args.step, start=start, end=end)
        if parsed_args.step == 1 and found.not_watched_reason:
            print(f"no live points: {found.not_watched_reason}", file=self.app.stderr)
        elif parsed_args.step == 1 and not found.points:
            print("no points yet: its host begins to send them now; run the command again", file=self.app.stderr)
        rows = [
            self._live(point["at"], one) if parsed_args.step == 1 else self._summed(point["at"], one)
            for point in found.points or ()
            for one in point["objectives"]
            if parsed_args.metric in (None, one["metric"])
        ]
        if parsed_args.step == 1:
            return ("at", "metric", "usage", "demand", "status", "cause"), rows
        columns = (
            "at",
            "metric",
            "usage",
            "usage_min",
            "usage_max",
            "demand",
            "met_seconds",
            "missed_seconds",
            "cause",
        )
        return columns, rows

    @staticmethod
    def _live(at: str, one: Mapping[str, Any]) -> tuple[Any, ...]:
        amounts = [Amount((one["metric"], one.get(key))) for key in ("usage", "demand")]
        return at, one["metric"], *amounts, one.get("status"), one.get("cause")

    @staticmethod
    def _summed(at: str, one: Mapping[str, Any]) -> tuple[Any, ...]:
        amounts = [Amount((one["metric"], one.get(key))) for key in ("usage", "usage_min", "usage_max", "demand")]
        return at, one["metric"], *amounts, (one.get("seconds") or {}).get("met", 0), *_missed(one)
