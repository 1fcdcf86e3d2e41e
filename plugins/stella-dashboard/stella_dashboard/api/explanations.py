"""Who holds what on a host, who uses more CPU than it is entitled to, and who offended lately. For operators."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest

from stella_dashboard.api import instances, transport
from stella_dashboard.api.instances import Objective
from stella_dashboard.api.problems import PROBLEMS, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """CPU of an instance, or of the host's services. None where the host does not tell; ``excess`` is what is above the entitlement.

    Violations that name it as their offender: how many, how many of them last, the seconds missed in them, and whose they are
    (uuid and name).
    """

    used_cpu_cores: float | None
    entitled_cpu_cores: float | None
    excess_cpu_cores: float | None
    violations: int
    lasting: int
    missed_seconds: float
    victims: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An instance on the host. ``slo_state`` None: it is best-effort."""

    uuid: str
    title: str
    project_id: str
    state: str
    slo_state: str | None
    reserved_cpu_cores: float
    use: Use
    objectives: tuple[Objective, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """``holders``: those that offend first, then by what they use above their entitlement.

    Violations count that last, or ended ``since``.
    """

    since: datetime
    free_cpu_cores: float | None
    services: Use
    holders: tuple[Holder, ...]


def of_host(request: HttpRequest, name: str) -> Explanation | Problem:
    """That of the host of this name."""
    answer = transport.of(request).ask("GET", f"/v1/hosts/{quote(name, safe='')}/explanation")
    if isinstance(answer, PROBLEMS):
        return answer
    return Explanation(
        since=datetime.fromisoformat(answer["since"]),
        free_cpu_cores=answer["free_cpu_cores"],
        services=_use(answer["host_services"]),
        holders=tuple(_holder(one) for one in answer["instances"]),
    )


def _holder(told: Mapping[str, Any]) -> Holder:
    return Holder(
        uuid=told["uuid"],
        title=told["name"] or told["uuid"],
        project_id=told["project_id"],
        state=told["state"],
        slo_state=told["slo_state"],
        reserved_cpu_cores=told["reserved_cpu_cores"],
        use=_use(told),
        objectives=instances.objectives_of(told, told["guaranteed"], told["slo_state"]),
    )


def _use(told: Mapping[str, Any]) -> Use:
    offences = told["offences"]
    return Use(
        **{name: told[name] for name in ("used_cpu_cores", "entitled_cpu_cores", "excess_cpu_cores")},
        **{name: offences[name] for name in ("violations", "lasting", "missed_seconds")},
        victims=tuple((one["uuid"], one["name"] or one["uuid"]) for one in offences["victims"]),
    )
