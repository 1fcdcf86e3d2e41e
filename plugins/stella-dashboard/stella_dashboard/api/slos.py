"""Setting and withdrawing SLOs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import transport
from stella_dashboard.api.problems import PROBLEMS, Problem

Objectives = Mapping[str, Mapping[str, Any]]
"""By metric: floor, ceiling, target, weight, direction, unit and priority, in base units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits:
    """It would be accepted, with so much CPU set aside. ``estimated``: the cost of its I/O is not known from this instance yet.

    ``largest`` has, where the API tells it, for each floor the largest value that would be accepted, the others as asked.
    """

    reserved_cpu_cores: float
    estimated: bool
    largest: Mapping[str, float] = field(default_factory=dict)


def _path(uuid: str) -> str:
    return f"/v1/instances/{uuid}/slo"


def _body(objectives: Objectives, generation: int | None) -> dict[str, Any]:
    return {"objectives": objectives} if generation is None else {"objectives": objectives, "generation": generation}


def check(request: HttpRequest, uuid: str, objectives: Objectives, generation: int | None) -> Fits | Problem:
    """Whether the API would accept it; nothing is changed."""
    body = _body(objectives, generation)
    answer = transport.of(request).ask("PUT", _path(uuid), query={"dry_run": "true"}, body=body)
    if isinstance(answer, PROBLEMS):
        return answer
    return Fits(
        reserved_cpu_cores=answer["reserved_cpu_cores"],
        estimated=answer["estimated"],
        largest=answer.get("largest") or {},
    )


def put(request: HttpRequest, uuid: str, objectives: Objectives, generation: int | None) -> Problem | None:
    """Set it; ``generation`` is that of the SLO which was seen (None: there was none)."""
    answer = transport.of(request).ask("PUT", _path(uuid), body=_body(objectives, generation))
    return answer if isinstance(answer, PROBLEMS) else None


def withdraw(request: HttpRequest, uuid: str, generation: int) -> Problem | None:
    """Withdraw the SLO of this generation."""
    answer = transport.of(request).ask("DELETE", _path(uuid), query={"generation": str(generation)})
    return answer if isinstance(answer, PROBLEMS) else None
