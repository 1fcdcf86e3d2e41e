"""What is shown of exclusions and corrections, in lists and in reports."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.urls import reverse

from stella_dashboard.api.exclusions import Authored, Correction, Exclusion
from stella_dashboard.content import links
from stella_dashboard.words import names, slas

_LARGEST_AGE = timedelta(days=7)
"""An exclusion that began longer ago is part of reports, and is not withdrawn any more."""


def exclusion(found: Exclusion, now: datetime | None = None) -> Mapping[str, Any]:
    """Its row."""
    url = {"instance": links.instance, "project": links.project, "host": links.host}.get(found.scope, lambda _: "")
    may_change = found.withdrawn_at is None and found.start > (now or datetime.now(UTC)) - _LARGEST_AGE
    return {
        **_authored(found),
        "kind": names.of(slas.KINDS, found.kind),
        "scope": names.of(slas.SCOPES, found.scope),
        "target": found.target or "",
        "url": url(found.target),
        "start": found.start,
        "until": found.until,
        "withdraw_url": reverse("horizon:admin:stella_exclusions:withdraw", args=[found.id]) if may_change else "",
    }


def correction(found: Correction) -> Mapping[str, Any]:
    """Its row."""
    address = reverse("horizon:admin:stella_exclusions:withdraw_correction", args=[found.id])
    return {
        **_authored(found),
        "sla": found.sla,
        "period": found.period,
        "instance": found.uuid,
        "url": links.instance(found.uuid),
        "objective": names.of(names.METRICS, found.metric),
        "seconds": found.seconds,
        "source": names.of(slas.COUNTED, found.source),
        "target": names.of(slas.COUNTED, found.target),
        "withdraw_url": address if found.withdrawn_at is None else "",
    }


def _authored(found: Authored) -> dict[str, Any]:
    return {
        "id": found.id,
        "reason": found.reason,
        "author": found.author,
        "created_at": found.created_at,
        "withdrawn_at": found.withdrawn_at,
        "withdrawn_by": found.withdrawn_by,
        "withdrawn_reason": found.withdrawn_reason,
    }
