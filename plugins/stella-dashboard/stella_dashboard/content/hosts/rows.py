"""What is shown of a host, on all pages that show hosts."""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from stella_dashboard.api.hosts import Host
from stella_dashboard.words import names, operators, quantities

_TIGHT_RATIO = 0.1
"""Below this share of its capacity a host's head-room is called little."""


def show(host: Host) -> Mapping[str, Any]:
    """Its row: words and quantities, and where its links lead."""
    capacity = host.capacity_cpu_cores or 0.0
    return {
        "name": host.name,
        "url": reverse("horizon:admin:stella_hosts:detail", args=[host.name]),
        "mode_url": reverse("horizon:admin:stella_hosts:mode", args=[host.name]),
        "mode": names.of(operators.MODES, host.mode),
        "mode_class": host.mode if host.mode in operators.MODES else "unknown",
        "mode_meaning": names.of(operators.MODE_MEANINGS, host.mode) if host.mode in operators.MODES else "",
        "trouble": trouble(host),
        "reported_at": host.reported_at,
        "cpus": host.cpus,
        "capacity": cores(host.capacity_cpu_cores),
        "overhead": cores(host.overhead_cpu_cores),
        "reserved": cores(host.reserved_cpu_cores),
        "free": cores(host.free_cpu_cores),
        "is_tight": host.free_cpu_cores is not None and host.free_cpu_cores < capacity * _TIGHT_RATIO,
        "reserved_number": f"{max(0.0, host.reserved_cpu_cores):.3f}",
        "capacity_number": f"{capacity:.3f}" if capacity > 0 else "",
        "instances": host.instances,
        "open_violations": host.open_violations,
        "violations_url": f"{reverse('horizon:admin:stella_violations:index')}?{urlencode({'open': 'true', 'host': host.name})}",
        "all_violations_url": f"{reverse('horizon:admin:stella_violations:index')}?{urlencode({'host': host.name})}",
        "decisions_url": f"{reverse('horizon:admin:stella_decisions:index')}?{urlencode({'host': host.name})}",
        "version": host.versions.get("xgos", ""),
        "agent": host.agent or "",
        "lacking": [operators.capability(name) for name in host.lacking],
    }


def cores(value: float | None) -> str:
    """CPU of a host, always in cores: percents would be taken for a share of the host. More than is there is a negative head-room."""
    if value is None:
        return "\N{EN DASH}"
    number = f"{float(f'{abs(value):.3g}'):g}"
    shown = quantities.cores(number)
    return f"\N{MINUS SIGN}{shown}" if value < 0 and number != "0" else shown


def trouble(host: Host) -> str:
    """Why nothing can be expected of it now; empty where it reports."""
    if not host.is_enrolled:
        return _("Not enrolled")
    if host.reported_at is None:
        return _("Has not reported yet")
    return _("Silent") if host.is_silent else ""
