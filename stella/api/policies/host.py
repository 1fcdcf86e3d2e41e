"""Who may see and change hosts. The routes of agents take the host's own credential, whatever the policies say."""

from stella.api.policies.roles import ADMIN, OPERATOR, rule

LIST = "stella:host:list"
SHOW = "stella:host:show"
UPDATE = "stella:host:update"

RULES = [
    rule(LIST, OPERATOR, "List hosts.", "GET", "/v1/hosts"),
    rule(SHOW, OPERATOR, "Show a host.", "GET", "/v1/hosts/{name}"),
    rule(UPDATE, ADMIN, "Change the modes of a host, and say that it is fenced.", "PATCH", "/v1/hosts/{name}"),
]
