"""Who may see and set SLOs."""

from stella.api.policies.roles import PROJECT_MEMBER, PROJECT_READER, rule

SHOW = "stella:slo:show"
SET = "stella:slo:set"
DELETE = "stella:slo:delete"
HISTORY = "stella:slo:history"

RULES = [
    rule(HISTORY, PROJECT_READER, "List the changes of an SLO.", "GET", "/v1/instances/{uuid}/slo/history"),
    rule(SHOW, PROJECT_READER, "Show the SLO of an instance.", "GET", "/v1/instances/{uuid}/slo"),
    rule(SET, PROJECT_MEMBER, "Set the SLO of an instance.", "PUT", "/v1/instances/{uuid}/slo"),
    rule(DELETE, PROJECT_MEMBER, "Withdraw the SLO of an instance.", "DELETE", "/v1/instances/{uuid}/slo"),
]
