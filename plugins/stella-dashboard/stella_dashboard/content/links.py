"""Where the names in operators' lists lead: to Stella's page of an instance or a host, to Horizon's own page of a project."""

import re

from django.urls import NoReverseMatch, reverse

_KEYSTONE_ID = re.compile(r"[0-9a-f]{32}")


def instance(uuid: str | None) -> str:
    """The page of an instance; empty for what is no uuid."""
    return _address("horizon:project:service_levels:detail", uuid)


def host(name: str | None) -> str:
    """The page of a host; empty where it is not told."""
    return _address("horizon:admin:stella_hosts:detail", name)


def violation(number: int) -> str:
    """The page of a violation, with what this user may see of it."""
    return reverse("horizon:project:service_levels:violation", args=[number])


def project(project_id: str | None) -> str:
    """Horizon's page of a project, which has its name; empty for what is no id of Keystone's: a host without OpenStack has others."""
    return _address("horizon:identity:projects:detail", project_id) if _KEYSTONE_ID.fullmatch(project_id or "") else ""


def _address(view: str, argument: str | None) -> str:
    if not argument:
        return ""
    try:
        return reverse(view, args=[argument])
    except NoReverseMatch:
        return ""
