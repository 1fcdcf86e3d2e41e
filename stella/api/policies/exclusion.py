"""Who may see and set windows that do not count."""

from stella.api.policies.roles import ADMIN, OPERATOR, rule

LIST = "stella:exclusion:list"
LIST_ALL = "stella:exclusion:list_all"
SET = "stella:exclusion:set"

RULES = [
    rule(
        LIST,
        "role:reader or rule:stella_operator",
        "List exclusions that reach the own project.",
        "GET",
        "/v1/exclusions",
    ),
    rule(LIST_ALL, OPERATOR, "List all exclusions.", "GET", "/v1/exclusions"),
    rule(SET, ADMIN, "Create and withdraw exclusions.", "POST", "/v1/exclusions"),
]
