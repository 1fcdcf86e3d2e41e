"""`openstack slo sla report`: a month of an SLA class, and the credit that is owed."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.osc.columns import Minutes, Money, Percent
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import service
from stellaclient.osc.slas import sla_of

_FORMATS = {".json": "json", ".csv": "csv", ".html": "html"}


class Report(command.Lister):
    """Report a month of an SLA class: attainment as measured, without exclusions and corrected, and the credit that is owed.

    With --save all of it is kept in a file: .json holds what it rests on (`stella-manage sla recompute FILE` computes it again), .csv
    is for a spreadsheet, .html for the printer.

    Example: openstack slo sla report gold --period 2026-11 --save gold-2026-11.json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("sla", metavar="<class>", help="Name or uuid of an SLA class")
        parser.add_argument("--period", metavar="<month>", help="Such as 2026-11; default: this month")
        parser.add_argument("--project", metavar="<id>", help="Only instances of this project (for operators)")
        parser.add_argument("--save", metavar="<file>", help="Save it: .json, .csv or .html")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Report it."""
        path = Path(parsed_args.save) if parsed_args.save else None
        if path is not None and path.suffix not in _FORMATS:
            raise CommandError(f"--save: {path.name[:64]!r} must end with one of {', '.join(_FORMATS)}")
        query = {"period": parsed_args.period, "project": parsed_args.project}
        query = {name: value for name, value in query.items() if value}
        stella = service(self)
        with one_line():
            sla = sla_of(stella, parsed_args.sla)
            raw = stella.sla_report(sla.uuid, **query)
            kept = (
                raw
                if path is None or path.suffix == ".json"
                else stella.sla_report(sla.uuid, **query, format=_FORMATS[path.suffix])
            )
        if path is not None:
            try:
                path.write_bytes(kept)
            except OSError as error:
                raise CommandError(f"--save: {path}: {error.strerror}") from None
        report = json.loads(raw)
        totals, period = report["totals"], report["period"]
        amount = (
            f", credit {totals['credit_amount']} {totals['currency']}" if totals["credit_amount"] is not None else ""
        )
        print(
            f"{period['start']} to {period['until']}, {'final' if period['final'] else 'not final yet'}: "
            f"{totals['instances']} instances, {totals['instances_missed']} missed{amount}; sha256 {report['sha256']}",
            file=self.app.stderr,
        )
        return _report_rows(report)


def _report_rows(report: Mapping[str, Any]) -> tuple[Any, Any]:
    names = {row["uuid"]: row["name"] for row in report["rollups"]}
    currency = report["totals"]["currency"]
    rows = [
        (
            result["uuid"],
            names[result["uuid"]],
            one["metric"],
            Percent(one["attainment_ratio"]),
            Percent(one["attainment_ratio_without_exclusions"]),
            Percent(one["attainment_ratio_measured"]),
            Minutes(one["missed_seconds"]),
            Minutes(one["allowed_seconds"]),
            one["is_met"],
            Percent(result["credit_ratio"]),
            Money((result["credit_amount"], currency)),
        )
        for result in report["results"]
        for one in result["objectives"]
    ]
    columns = (
        "uuid",
        "name",
        "metric",
        "attainment",
        "without_exclusions",
        "measured",
        "missed",
        "allowed",
        "met",
        "credit",
        "owed",
    )
    return columns, rows
