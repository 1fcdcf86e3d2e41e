"""Who may see and set SLOs."""

from stella.api.policies.roles import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule

SHOW = "stella:slo:show"
SET = "stella:slo:set"
DELETE = "stella:slo:delete"
HISTORY = "stella:slo:history"
SHOW_MOVES = "stella:slo:show_moves"

RULES = [
    rule(HISTORY, PROJECT_READER, "List the changes of an SLO.", "GET", "/v1/instances/{uuid}/slo/history"),
    rule(SHOW, PROJECT_READER, "Show the SLO of an instance.", "GET", "/v1/instances/{uuid}/slo"),
    rule(SET, PROJECT_MEMBER, "Set the SLO of an instance.", "PUT", "/v1/instances/{uuid}/slo"),
    rule(
        SHOW_MOVES,
        ADMIN,
        "See which instances would have to move so that an SLO fits.",
        "PUT",
        "/v1/instances/{uuid}/slo",
    ),
    rule(DELETE, PROJECT_MEMBER, "Withdraw the SLO of an instance.", "DELETE", "/v1/instances/{uuid}/slo"),
]
