"""`openstack slo watch`: a line for each objective, again and again."""

import argparse
import json
import time
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient import units
from stellaclient.osc.errors import one_line
from stellaclient.osc.instances import why
from stellaclient.osc.service import add_server, service, uuid_of


def line(objective: dict[str, Any], at: str) -> str:
    """One objective for a person."""
    metric = objective["metric"]
    used, demanded = (units.show_metric(metric, objective.get(key)) for key in ("usage", "demand"))
    return (
        f"{at}  {metric:<16} {objective['status']:<12} usage {used:<12} demand {demanded:<12} "
        f"{why(objective['status'], objective.get('cause'))}"
    )


class Watch(command.Command):
    """Print how the objectives of an instance do, as its host reports them, until interrupted.

    Example: openstack slo watch --server web-1 --interval 2 --lines json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_server(parser)
        parser.add_argument("--interval", type=float, default=1.0, metavar="<seconds>", help="How often to ask (1)")
        parser.add_argument("--count", type=int, metavar="<number>", help="Stop after so many times")
        parser.add_argument("--lines", choices=("text", "json"), default="text", help="What a line is (text)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Watch it."""
        if not parsed_args.interval >= 0.1:
            raise CommandError("--interval: must be 0.1 s or more")
        stella = service(self)
        uuid = uuid_of(stella, parsed_args.server)
        done = 0
        try:
            while parsed_args.count is None or done < parsed_args.count:
                time.sleep(parsed_args.interval if done else 0)
                with one_line():
                    instance = stella.get_instance(uuid)
                for objective in instance.objectives or ():
                    exact = json.dumps({"reported_at": instance.reported_at, "uuid": uuid, **objective})
                    text = exact if parsed_args.lines == "json" else line(objective, instance.reported_at)
                    print(text, file=self.app.stdout, flush=True)
                done += 1
        except KeyboardInterrupt:
            return
