"""Who may ask what an SLO would take."""

from stella.api.policies.roles import rule

CREATE = "stella:estimate:create"

RULES = [
    rule(CREATE, "role:reader or rule:stella_operator", "Ask what an SLO would take.", "POST", "/v1/estimates"),
]
