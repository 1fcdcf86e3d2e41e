"""Who may see decisions."""

from stella.api.policies.roles import OPERATOR, PROJECT_READER, rule

LIST = "stella:decision:list"
LIST_ALL = "stella:decision:list_all"
SHOW = "stella:decision:show"

RULES = [
    rule(LIST, "role:reader or rule:stella_operator", "List decisions about the own project.", "GET", "/v1/decisions"),
    rule(LIST_ALL, OPERATOR, "List decisions about all projects and hosts.", "GET", "/v1/decisions"),
    rule(SHOW, PROJECT_READER, "Show a decision about an instance.", "GET", "/v1/decisions/{decision_id}"),
]
