"""Who may ask which hosts could take an instance: schedulers and operators."""

from stella.api.policies.roles import OPERATOR, rule

LIST = "stella:candidate:list"

RULES = [
    rule(LIST, OPERATOR, "List the hosts that could take an instance with an SLO.", "POST", "/v1/candidates"),
]
