"""Who may see violations."""

from stella.api.policies.roles import OPERATOR, rule

LIST = "stella:violation:list"
LIST_ALL = "stella:violation:list_all"

RULES = [
    rule(LIST, "role:reader or rule:stella_operator", "List violations of the own project.", "GET", "/v1/violations"),
    rule(LIST_ALL, OPERATOR, "List violations of all projects.", "GET", "/v1/violations"),
]
