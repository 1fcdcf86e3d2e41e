"""Who may see and set SLA classes and what they are attached to."""

from stella.api.policies.roles import ADMIN, OPERATOR, rule

LIST = "stella:sla:list"
SHOW = "stella:sla:show"
SET = "stella:sla:set"
LIST_ATTACHMENTS = "stella:sla:list_attachments"
ATTACH = "stella:sla:attach"
REPORT = "stella:sla:report"
REPORT_ALL = "stella:sla:report_all"

_READER = "role:reader or rule:stella_operator"
RULES = [
    rule(LIST, _READER, "List SLA classes.", "GET", "/v1/slas"),
    rule(SHOW, _READER, "Show an SLA class.", "GET", "/v1/slas/{sla_id}"),
    rule(SET, ADMIN, "Create, change and withdraw SLA classes.", "POST", "/v1/slas"),
    rule(LIST_ATTACHMENTS, OPERATOR, "List what an SLA class is attached to.", "GET", "/v1/slas/{sla_id}/attachments"),
    rule(ATTACH, ADMIN, "Attach and detach SLA classes.", "POST", "/v1/slas/{sla_id}/attachments"),
    rule(REPORT, _READER, "See the report of an SLA class for the own project.", "GET", "/v1/slas/{sla_id}/report"),
    rule(REPORT_ALL, OPERATOR, "See the report of an SLA class for all projects.", "GET", "/v1/slas/{sla_id}/report"),
]
