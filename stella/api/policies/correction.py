"""Who may see and set corrections of reports."""

from stella.api.policies.roles import ADMIN, OPERATOR, rule

LIST = "stella:correction:list"
LIST_ALL = "stella:correction:list_all"
SET = "stella:correction:set"

RULES = [
    rule(
        LIST,
        "role:reader or rule:stella_operator",
        "List corrections that reach the own project.",
        "GET",
        "/v1/corrections",
    ),
    rule(LIST_ALL, OPERATOR, "List all corrections.", "GET", "/v1/corrections"),
    rule(SET, ADMIN, "Create and withdraw corrections.", "POST", "/v1/corrections"),
]
