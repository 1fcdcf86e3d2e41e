"""What is shown of a decision, on all pages that show decisions."""

from collections.abc import Mapping
from typing import Any

from stella_dashboard.api.decisions import Decision
from stella_dashboard.content import links
from stella_dashboard.words import names, operators, reasons


def show(decision: Decision, viewer_id: str) -> Mapping[str, Any]:
    """Its row."""
    return {
        "at": decision.decided_at,
        "kind": names.of(operators.DECISIONS, decision.kind),
        "is_refusal": decision.kind in operators.REFUSALS,
        "name": decision.title,
        "url": links.instance(decision.uuid),
        "project_id": decision.project_id or "",
        "project_url": links.project(decision.project_id),
        "host": decision.host or "",
        "host_url": links.host(decision.host),
        "who": operators.user(decision.user_id, viewer_id),
        "request_id": decision.request_id,
        "reason": reasons.show(decision.reason),
        "detail": operators.detail(decision.detail, decision.hosts),
    }
