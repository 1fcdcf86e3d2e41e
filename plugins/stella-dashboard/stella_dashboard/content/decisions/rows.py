"""What is shown of a decision, on all pages that show decisions."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from stella_dashboard.api.decisions import Decision, Move
from stella_dashboard.content import links
from stella_dashboard.content.hosts.rows import cores
from stella_dashboard.words import names, operators, reasons, slas

FRESH = timedelta(hours=1)
"""So long a suggestion may be taken; Stella suggests again what would still help, and counts no older one as followed."""


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
        "move": _move(decision.move) if decision.move else None,
    }


def _move(move: Move) -> Mapping[str, Any]:
    return {
        "state": names.of(operators.MOVES, move.state),
        "is_bad": move.state in ("failed", "stopped"),
        "source": move.source or "",
        "source_url": links.host(move.source),
        "destination": move.destination or "",
        "destination_url": links.host(move.destination),
        "freed": cores(move.freed_cpu_cores) if move.freed_cpu_cores else "",
        "predicted": _effect(move.predicted) if move.predicted else slas.DASH,
        "measured": slas.DASH if move.measured is None else _effect(move.measured),
        "helped": "" if move.helped is None else _("helped") if move.helped else _("did not help"),
        "helped_class": "met" if move.helped else "missed",
        "victims": [{"uuid": uuid, "url": links.instance(uuid)} for uuid in move.victims],
        "trouble": reasons.show(move.trouble),
    }


def can_be_taken(decision: Decision, now: datetime) -> bool:
    """Whether it suggests a move that an operator may still have Nova make."""
    move = decision.move
    if move is None or (decision.kind, move.state) != ("relief", "suggested") or not decision.uuid:
        return False
    return bool(move.destination) and now - decision.decided_at < FRESH


def move_url(decision: Decision) -> str:
    """Where a suggested move is taken."""
    return reverse("horizon:admin:stella_decisions:move", args=[decision.id])


def _effect(seconds_per_hour: float) -> str:
    """Violated time that ends, or with a minus sign comes, in each hour."""
    return _("%(duration)s an hour") % {"duration": slas.minutes(round(seconds_per_hour))}
