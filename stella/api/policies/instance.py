"""Who may see instances."""

from stella.api.policies.roles import OPERATOR, PROJECT_MEMBER, PROJECT_READER, rule

LIST = "stella:instance:list"
LIST_ALL = "stella:instance:list_all"
SHOW = "stella:instance:show"
SHOW_HOST = "stella:instance:show_host"
UPDATE = "stella:instance:update"

RULES = [
    rule(LIST, "role:reader or rule:stella_operator", "List instances of the own project.", "GET", "/v1/instances"),
    rule(LIST_ALL, OPERATOR, "List instances of all projects.", "GET", "/v1/instances"),
    rule(SHOW, PROJECT_READER, "Show an instance.", "GET", "/v1/instances/{uuid}"),
    rule(
        UPDATE,
        PROJECT_MEMBER,
        "Say whether relief may move an instance.",
        "PATCH",
        "/v1/instances/{uuid}",
    ),
    rule(
        SHOW_HOST, OPERATOR, "See on which host an instance runs, and which instance offends.", "GET", "/v1/instances"
    ),
]
