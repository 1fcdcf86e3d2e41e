"""The report of a period of an SLA class, with all that it rests on."""

import csv
import io

from stella.api import pages, sla_reports, slas
from stella.api.operation import Answer, Call, operation
from stella.api.policies import sla as policies
from stella.api.projects import visible_project
from stella.api.schemas import sla_report as schema
from stella.sla import tables


@operation(
    query=schema.QUERY,
    responses={200: schema.REPORT},
    rules=(policies.REPORT, policies.REPORT_ALL),
    errors=("stella.request.invalid", "stella.request.not_found"),
    media_types=("text/csv", "text/html"),
)
def show(call: Call) -> Answer:
    """Report a period: the attainment of each instance as measured, without exclusions and corrected, and the credit that is owed.

    Answers 200 for the instances of the caller's project, or all for operators; as JSON, CSV, or an HTML page to be printed. The JSON
    holds all that it rests on: `stella-manage sla recompute FILE` computes the credit again from it alone. 404 where there is no such
    class, 400 for a period that has not begun or too many instances at once.
    """
    project = visible_project(call, list_rule=policies.REPORT, all_rule=policies.REPORT_ALL)
    with call.services.database.reader() as session:
        row = slas.in_path(call, session)
        period = slas.period(call, row, pages.text(call, "period"))
        report = sla_reports.make(call, session, row, period, project_id=project)
    match pages.text(call, "format"):
        case "csv":
            written = io.StringIO()
            csv.writer(written, lineterminator="\r\n").writerows(tables.rows(report))
            return Answer(text=written.getvalue(), media_type="text/csv")
        case "html":
            return Answer(text=tables.html(report), media_type="text/html")
    return Answer(body=report)
