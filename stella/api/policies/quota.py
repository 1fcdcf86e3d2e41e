"""Who may see and set quotas."""

from stella.api.policies.roles import ADMIN, OPERATOR, PROJECT_READER, rule

LIST = "stella:quota:list"
SHOW = "stella:quota:show"
SET = "stella:quota:set"

RULES = [
    rule(LIST, OPERATOR, "List the quotas of all projects.", "GET", "/v1/quotas"),
    rule(SHOW, PROJECT_READER, "Show the quota of a project and what it uses.", "GET", "/v1/quotas/{project_id}"),
    rule(SET, ADMIN, "Set the quota of a project.", "PUT", "/v1/quotas/{project_id}"),
]
