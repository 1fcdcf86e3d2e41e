"""Who may see attainment."""

from stella.api.policies.roles import PROJECT_READER, rule

SHOW = "stella:attainment:show"

RULES = [rule(SHOW, PROJECT_READER, "Show attainment of an instance.", "GET", "/v1/instances/{uuid}/attainment")]
