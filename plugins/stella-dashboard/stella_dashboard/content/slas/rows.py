"""What is shown of SLA classes, on all pages that show them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils.translation import gettext as _

from stella_dashboard.api.slas import Attachment, Sla, Terms
from stella_dashboard.content import links
from stella_dashboard.words import names, operators, slas

PROJECT, ADMIN = "horizon:project:sla_reports", "horizon:admin:stella_slas"
_LARGEST_PERIODS = 36


def show(sla: Sla, namespace: str) -> Mapping[str, Any]:
    """Its row; its name leads to its page, for tenants to its report."""
    report = reverse(f"{namespace}:report", args=[sla.uuid])
    shown = {
        "uuid": sla.uuid,
        "name": sla.name,
        "url": reverse(f"{namespace}:detail", args=[sla.uuid]) if namespace == ADMIN else report,
        "report_url": report,
        "time_zone": sla.time_zone,
        "offers": [slas.offer(metric, told) for metric, told in sla.offers.items()],
        "withdrawn_at": sla.withdrawn_at,
        "next_terms_from": sla.next_terms_from,
        **terms(sla.terms),
    }
    if namespace == ADMIN:
        for name in ("change", "delete", "attach"):
            shown[f"{name}_url"] = reverse(f"{namespace}:{name}", args=[sla.uuid])
    return shown


def terms(found: Terms) -> Mapping[str, Any]:
    """What is promised and what is owed."""
    return {
        "target": slas.percent(found.target),
        "unknown": names.of(slas.UNKNOWN, found.unknown),
        "credits": [
            _("below %(attainment)s: %(credit)s") % {"attainment": slas.percent(below), "credit": slas.percent(credit)}
            for below, credit in found.credits
        ],
        "price": slas.money(*found.price) if found.price else "",
    }


def attachment(sla: Sla, found: Attachment, viewer_id: str) -> Mapping[str, Any]:
    """What it is attached to."""
    url = {"instance": links.instance, "project": links.project}.get(found.scope, lambda _: "")(found.target)
    return {
        "scope": names.of(slas.SCOPES, found.scope),
        "target": found.target,
        "url": url,
        "start": found.start,
        "who": operators.user(found.user_id, viewer_id),
        "detach_url": reverse(f"{ADMIN}:detach", args=[sla.uuid, found.id]),
    }


def periods(sla: Sla, now: datetime | None = None) -> Sequence[str]:
    """The months that a report may be about, the present one first, in the class's time zone: since it was made."""
    try:
        zone: Any = ZoneInfo(sla.time_zone)
    except (KeyError, ValueError, OSError):  # this machine may know fewer zones than Stella's
        zone = UTC
    last, first = (at.astimezone(zone) for at in (now or datetime.now(UTC), sla.created_at))
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    months = range(last.year * 12 + last.month - 1, last.year * 12 + last.month - 1 - min(count, _LARGEST_PERIODS), -1)
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in months]
