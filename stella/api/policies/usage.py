"""Who may see usage."""

from stella.api.policies.roles import PROJECT_READER, rule

SHOW = "stella:usage:show"

RULES = [
    rule(SHOW, PROJECT_READER, "Show and watch the usage of an instance.", "GET", "/v1/instances/{uuid}/usage"),
]
