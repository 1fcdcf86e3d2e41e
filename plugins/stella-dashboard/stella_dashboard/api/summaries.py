"""All at one look: of a project, or of all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import transport
from stella_dashboard.api.problems import PROBLEMS, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """All hosts together, in cores. ``free_cpu_cores`` is what can still be guaranteed.

    ``free_without_one_cpu_cores`` is what of it would be left with any one host lost; None: an older API does not tell.
    """

    total: int
    silent: int
    modes: Mapping[str, int]
    capacity_cpu_cores: float
    reserved_cpu_cores: float
    free_cpu_cores: float
    free_without_one_cpu_cores: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """``instances`` are counted by health. ``today`` and ``month`` are attainment by metric, of a project; None: it is not told.

    ``hosts`` is for operators who ask about all projects.
    """

    instances: Mapping[str, int]
    open_violations: int
    today: Mapping[str, float | None] | None = None
    month: Mapping[str, float | None] = field(default_factory=dict)
    hosts: Hosts | None = None

    @property
    def guaranteed(self) -> int:
        """How many instances have a service level, kept or not."""
        return sum(count for health, count in self.instances.items() if health != "best_effort")


def of_project(request: HttpRequest) -> Summary | Problem:
    """The user's project."""
    return _ask(request, {"project": request.user.project_id})


def of_all(request: HttpRequest) -> Summary | Problem:
    """All projects and all hosts. For operators."""
    return _ask(request, {})


def _ask(request: HttpRequest, query: Mapping[str, str]) -> Summary | Problem:
    answer = transport.of(request).ask("GET", "/v1/summary", query=query)
    if isinstance(answer, PROBLEMS):
        return answer
    attained: Mapping[str, Any] | None = answer["attainment"]
    return Summary(
        instances=answer["instances"],
        open_violations=answer["open_violations"],
        today=attained["today"] if attained is not None else None,
        month=attained["month"] if attained is not None else {},
        hosts=_hosts(answer["hosts"]) if answer["hosts"] is not None else None,
    )


def _hosts(told: Mapping[str, Any]) -> Hosts:
    """What this release knows of what is told; a newer API may tell more."""
    return Hosts(**{known.name: told[known.name] for known in fields(Hosts) if known.name in told})
