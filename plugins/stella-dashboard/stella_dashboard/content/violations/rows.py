"""What is shown of a violation, on all pages that show violations."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from stella_dashboard.api.violations import Violation
from stella_dashboard.content import links
from stella_dashboard.content.service_levels.detail import show_duration
from stella_dashboard.words import names

_HOST = "host"
_WIDTH = 1000
_SMALLEST_WIDTH = 6


def show(violation: Violation) -> Mapping[str, Any]:
    """Its row."""
    until = violation.closed_at or datetime.now(UTC)
    return {
        "name": violation.title,
        "url": links.instance(violation.uuid),
        "detail_url": links.violation(violation.id),
        "project_id": violation.project_id,
        "project_url": links.project(violation.project_id),
        "host": violation.host or "",
        "host_url": links.host(violation.host),
        "metric": names.of(names.METRICS, violation.metric),
        "opened_at": violation.opened_at,
        "closed_at": violation.closed_at,
        "is_open": violation.closed_at is None,
        "duration": show_duration(max(0.0, (until - violation.opened_at).total_seconds())),
        "cause": names.of(names.CAUSES, violation.cause),
        **_offender(violation),
    }


def _offender(violation: Violation) -> Mapping[str, str]:
    if not violation.offender:
        return {"offender": "\N{EN DASH}", "offender_url": ""}
    if violation.offender == _HOST:
        return {"offender": _("the host itself"), "offender_url": ""}
    name = violation.offender_name or violation.offender
    return {"offender": name, "offender_url": links.instance(violation.offender)}


def timeline(found: Sequence[Violation], now: datetime) -> tuple[datetime, datetime, list[Mapping[str, int]]]:
    """From when to when these lasted, and of each where it lies in between: ``x`` and ``width`` in thousandths.

    What is too short to be seen is drawn a little wider.
    """
    if not found:
        return now, now, []
    start = min(one.opened_at for one in found)
    end = max(one.closed_at or now for one in found)
    end = max(end, start + timedelta(seconds=1))
    span = (end - start).total_seconds()
    bars: list[Mapping[str, int]] = []
    for one in found:
        width = ((one.closed_at or now) - one.opened_at).total_seconds() / span * _WIDTH
        width = min(_WIDTH, max(_SMALLEST_WIDTH, round(width)))
        x = min(_WIDTH - width, round((one.opened_at - start).total_seconds() / span * _WIDTH))
        bars.append({"x": max(0, x), "width": width})
    return start, end, bars
