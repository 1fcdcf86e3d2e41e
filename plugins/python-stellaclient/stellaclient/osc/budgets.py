"""`openstack slo attainment show` and `openstack slo budget list`: how well it went, and what may still go wrong."""

import argparse
from collections.abc import Mapping
from typing import Any

from osc_lib.command import command

from stellaclient.osc.columns import Minutes, Money, Percent, Rates, Ratio
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import add_server, add_sort, service, uuid_of
from stellaclient.osc.slas import sla_of

_SPANS = ("5m", "1h", "6h", "3d")


class ShowAttainment(command.Lister):
    """Show how well the objectives of an instance were met this month, and what is left of its error budget.

    Under an SLA class the month is that of its time zone; without one it is the month in UTC, and there is no budget.

    Example: openstack slo attainment show --server web-1
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
            found = stella.get_budget(uuid)
            plain = stella.get_attainment(uuid).objectives or () if found is None else ()
        if found is None:
            print("it is under no SLA class", file=self.app.stderr)
            return ("metric", "attainment"), [(one["metric"], Ratio(one["attainment_ratio"])) for one in plain]
        columns = ("metric", "attainment", "target", "with_demand", "allowed", "used", "left", "unknown")
        rows = [
            (
                one["metric"],
                Percent(one["attainment_ratio"]),
                Percent(found["terms"]["attainment_target_ratio"]),
                *(Minutes(one[f"{name}_seconds"]) for name in columns[3:]),
                Rates({span: one["burn_rates"][span] for span in _SPANS}),
                one["exhausted_on"] or "-",
            )
            for one in found["objectives"]
        ]
        return (*columns, "burn_rate", "used_up_on"), rows


class ListBudgets(command.Lister):
    """List the error budgets of instances under an SLA class, the one with least left first.

    Example: openstack slo budget list --sla gold
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--sla", metavar="<class>", help="Only those under this class (name or uuid)")
        parser.add_argument("--project", metavar="<id>", help="Only those of this project (for operators)")
        add_sort(parser, ("left_ratio", "left_seconds", "name"))
        parser.add_argument("--limit", type=int, default=100, metavar="<number>", help="The most to list (100)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        query = {"project": parsed_args.project, "sort": parsed_args.sort, "limit": parsed_args.limit}
        with one_line():
            query["sla"] = sla_of(stella, parsed_args.sla).uuid if parsed_args.sla else None
            found = stella.budgets(**{name: value for name, value in query.items() if value is not None})
        columns = (
            "uuid",
            "name",
            "sla",
            "left",
            "left_of_budget",
            "worst",
            "burn_rate",
            "used_up_on",
            "credit",
            "at_stake",
        )
        return columns, [self._row(one) for one in found]

    @staticmethod
    def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
        worst = min(
            (o for o in one["objectives"] if o["attainment_ratio"] is not None),
            key=lambda o: str(o["attainment_ratio"]),
            default=None,
        )
        at_stake = one["next_credit"]["credit_amount"] if one["next_credit"] else None
        return (
            one["uuid"],
            one["name"],
            one["sla"]["name"],
            Minutes(one["left_seconds"] if worst else None),
            Ratio(one["left_ratio"]),
            worst["metric"] if worst else "-",
            Rates(worst["burn_rates"] if worst else {}),
            (worst["exhausted_on"] if worst else None) or "-",
            Money((one["credit_amount"], one["currency"])),
            Money((at_stake, one["currency"])),
        )
