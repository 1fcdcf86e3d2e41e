"""What goes wrong when Stella's API is asked, as values."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stella_dashboard.api import reasons
from stella_dashboard.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer in time, or none that can be read. ``reason`` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotOffered:
    """The service catalogue has no service of type ``stella`` in this region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The API's own error. ``code`` is stable; ``detail`` is a sentence in English, ``reason`` the same by code.

    ``field`` names the key that is wrong.

    ``counter_offer``, ``quota``, ``limit`` and ``largest`` are what the API adds to a refused SLO, else empty.
    """

    status: int
    code: str
    detail: str
    reason: Reason = reasons.NONE
    field: str = ""
    counter_offer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    quota: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    limit: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    largest: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_EXTRA = ("counter_offer", "quota", "limit", "largest")

Problem = Unreachable | NotOffered | Refused
PROBLEMS = (Unreachable, NotOffered, Refused)
"""For `isinstance`."""


def of_answer(status: int, body: Any) -> Problem:
    """The problem in an answer with this HTTP status and body (None: not JSON)."""
    try:
        first = body["errors"][0]
        code, detail = str(first["code"]), str(first.get("detail") or first["title"])
    except (LookupError, TypeError):
        return Unreachable(f"status {status} without an error of the API")
    mappings = {name: found for name in _EXTRA if isinstance(found := first.get(name), Mapping)}
    return Refused(
        status=status,
        code=code,
        detail=detail,
        reason=reasons.of(detail, first.get("why")),
        field=str(first.get("field") or ""),
        **mappings,
    )
