"""Who may see violations."""

from stella.api.policies.roles import OPERATOR, PROJECT_READER, rule

LIST = "stella:violation:list"
LIST_ALL = "stella:violation:list_all"
SHOW = "stella:violation:show"
SHOW_EVIDENCE = "stella:violation:show_evidence"

RULES = [
    rule(LIST, "role:reader or rule:stella_operator", "List violations of the own project.", "GET", "/v1/violations"),
    rule(LIST_ALL, OPERATOR, "List violations of all projects.", "GET", "/v1/violations"),
    rule(SHOW, PROJECT_READER, "Show a violation with its timeline.", "GET", "/v1/violations/{violation_id}"),
    rule(SHOW_EVIDENCE, OPERATOR, "See who offended, and the evidence.", "GET", "/v1/violations/{violation_id}"),
]
