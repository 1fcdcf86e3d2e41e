"""Which actions are offered: what the API would refuse for want of a role is not."""

from django.http import HttpRequest
from openstack_dashboard import policy

from stella_dashboard import SERVICE_TYPE

LIST = "stella:instance:list"
SET = "stella:slo:set"
DELETE = "stella:slo:delete"
SHOW_HOST = "stella:instance:show_host"
LIST_HOSTS = "stella:host:list"
UPDATE_HOST = "stella:host:update"
LIST_ALL_VIOLATIONS = "stella:violation:list_all"
LIST_ALL_DECISIONS = "stella:decision:list_all"
SHOW_VIOLATION = "stella:violation:show"
SHOW_EVIDENCE = "stella:violation:show_evidence"
LIST_SLAS = "stella:sla:list"
SET_SLA = "stella:sla:set"
LIST_ATTACHMENTS = "stella:sla:list_attachments"
ATTACH_SLA = "stella:sla:attach"
REPORT = "stella:sla:report"
REPORT_ALL = "stella:sla:report_all"
LIST_BUDGETS = "stella:budget:list"
LIST_ALL_BUDGETS = "stella:budget:list_all"
SHOW_BUDGET = "stella:budget:show"
LIST_EXCLUSIONS = "stella:exclusion:list"
LIST_ALL_EXCLUSIONS = "stella:exclusion:list_all"
SET_EXCLUSION = "stella:exclusion:set"
LIST_CORRECTIONS = "stella:correction:list"
LIST_ALL_CORRECTIONS = "stella:correction:list_all"
SET_CORRECTION = "stella:correction:set"

_LIVE_MIGRATE = "os_compute_api:os-migrate-server:migrate_live"
_TO_A_HOST = (("compute", _LIVE_MIGRATE), ("compute", f"{_LIVE_MIGRATE}:host"))


def may(request: HttpRequest, rule: str, project_id: str | None = None) -> bool:
    """Whether the policies allow ``rule`` to this user, for what belongs to ``project_id`` (by default the user's own project)."""
    return bool(policy.check(((SERVICE_TYPE, rule),), request, {"project_id": project_id or request.user.project_id}))


def may_move(request: HttpRequest, project_id: str | None = None) -> bool:
    """Whether Nova's policies allow this user to move a server of ``project_id`` to a host of their choice while it runs."""
    return bool(policy.check(_TO_A_HOST, request, {"project_id": project_id or request.user.project_id}))
