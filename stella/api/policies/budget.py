"""Who may see error budgets."""

from stella.api.policies.roles import OPERATOR, PROJECT_READER, rule

LIST = "stella:budget:list"
LIST_ALL = "stella:budget:list_all"
SHOW = "stella:budget:show"

RULES = [
    rule(LIST, "role:reader or rule:stella_operator", "List error budgets of the own project.", "GET", "/v1/budgets"),
    rule(LIST_ALL, OPERATOR, "List error budgets of all projects.", "GET", "/v1/budgets"),
    rule(SHOW, PROJECT_READER, "Show the error budget of an instance.", "GET", "/v1/instances/{uuid}/budget"),
]
