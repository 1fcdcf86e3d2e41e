"""`openstack slo watch`: a line for each objective and second, as the host sees them."""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from openstack import exceptions
from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient import units
from stellaclient.osc.errors import one_line
from stellaclient.osc.instances import why
from stellaclient.osc.service import add_server, service, uuid_of
from stellaclient.sdk.proxy import Proxy

QUIET_SECONDS = 5.0
"""After so long without a point the instance's last report is shown instead."""

Entry = tuple[str, list[dict[str, Any]]]
"""A time, and the objectives then."""


def line(objective: dict[str, Any], at: str) -> str:
    """One objective for a person."""
    metric = objective["metric"]
    used, demanded = (units.show_metric(metric, objective.get(key)) for key in ("usage", "demand"))
    return (
        f"{at}  {metric:<16} {objective['status']:<12} usage {used:<12} demand {demanded:<12} "
        f"{why(objective['status'], objective.get('cause'))}"
    )


class Feed:
    """What is new of an instance, each time that it is asked: seconds where its host sends them, else what it last reported.

    ``notice`` tells once why there are no seconds, where the API says so.
    """

    def __init__(self, stella: Proxy, uuid: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stella = stella
        self._uuid = uuid
        self._clock = clock
        self._live = True
        self._newest = ""
        self._shown_at = float("-inf")
        self.notice = ""

    def next(self) -> list[Entry]:
        """What is new, the oldest first: at first the last report, then seconds; the last report again after a while without."""
        now = self._clock()
        new: list[Entry] = []
        if not self._newest:
            new.append(self._reported())
            self._newest = new[0][0]
        if self._live:
            new += self._points()
        if not new and (not self._live or now - self._shown_at >= QUIET_SECONDS):
            new.append(self._reported())
        if new:
            self._shown_at = now
        return new

    def _reported(self) -> Entry:
        instance = self._stella.get_instance(self._uuid)
        return str(instance.reported_at), list(instance.objectives or ())

    def _points(self) -> list[Entry]:
        try:
            usage = self._stella.get_usage(self._uuid, step=1, start=self._newest)
        except exceptions.NotFoundException:
            self._stella.get_instance(self._uuid)  # raises as well where it is the instance that is not there
            self._live, self.notice = False, "the server is of a release without live points: showing reports"
            return []
        if usage.not_watched_reason:
            self._live, self.notice = False, f"no live points: {usage.not_watched_reason} Showing reports."
        found = [(point["at"], point["objectives"]) for point in usage.points or () if point["at"] > self._newest]
        self._newest = found[-1][0] if found else self._newest
        return found


class Watch(command.Command):
    """Print how the objectives of an instance do, second by second, until interrupted.

    Example: openstack slo watch --server web-1 --lines json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_server(parser)
        parser.add_argument("--interval", type=float, default=1.0, metavar="<seconds>", help="How often to ask (1)")
        parser.add_argument("--count", type=int, metavar="<number>", help="Stop after so many moments were printed")
        parser.add_argument("--lines", choices=("text", "json"), default="text", help="What a line is (text)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Watch it."""
        if not 0.1 <= parsed_args.interval <= 3600:
            raise CommandError("--interval: must be from 0.1 s to 3600 s")
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server)
        feed, left, told = Feed(stella, uuid), parsed_args.count, ""
        try:
            while left is None or left > 0:
                with one_line():
                    entries = feed.next()
                if feed.notice != told:
                    told = feed.notice
                    print(told, file=self.app.stderr, flush=True)
                for at, objectives in entries if left is None else entries[:left]:
                    self._print(uuid, at, objectives, as_json=parsed_args.lines == "json")
                left = None if left is None else left - len(entries)
                if left is None or left > 0:
                    time.sleep(parsed_args.interval)
        except KeyboardInterrupt:
            return

    def _print(self, uuid: str, at: str, objectives: list[dict[str, Any]], *, as_json: bool) -> None:
        for objective in objectives:
            exact = json.dumps({"at": at, "reported_at": at, "uuid": uuid, **objective})
            print(exact if as_json else line(objective, at), file=self.app.stdout, flush=True)
