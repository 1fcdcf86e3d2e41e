"""SLA classes, what they are attached to, and their reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from stella_dashboard.api import lists, transport
from stella_dashboard.api.instances import in_order, moment
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem

SORT_KEYS = ("name",)
SCOPES = ("instance", "flavor", "project")
UNKNOWN = ("missed", "ignored")
_LARGEST_LIST = "500"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is promised and what is owed. Ratios and the amount are decimal text.

    ``credits`` are (below, credit), the least grave first.
    """

    target: str
    unknown: str
    credits: tuple[tuple[str, str], ...] = ()
    price: tuple[str, str] | None = None

    def told(self) -> dict[str, Any]:
        """As the API takes it."""
        return {
            "attainment_target_ratio": self.target,
            "unknown": self.unknown,
            "credits": [{"below_ratio": below, "credit_ratio": credit} for below, credit in self.credits],
            "price": {"amount": self.price[0], "currency": self.price[1]} if self.price else None,
        }


Offers = Mapping[str, Mapping[str, Mapping[str, float] | None]]
"""By metric ``limit`` and ``default``, each by ``base``, ``per_vcpu`` and ``per_disk_gib``; None: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sla:
    """A class. ``next_terms`` count from ``next_terms_from`` on."""

    uuid: str
    name: str
    time_zone: str
    generation: int
    terms: Terms
    created_at: datetime
    tolerance: str = "0.95"
    next_terms: Terms | None = None
    next_terms_from: datetime | None = None
    offers: Offers = field(default_factory=dict)
    withdrawn_at: datetime | None = None

    @property
    def marker(self) -> str:
        """What names its place in a list."""
        return self.uuid

    @property
    def newest_terms(self) -> Terms:
        """Those that were set last."""
        return self.next_terms or self.terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """That a class counts for an instance, all of a flavor or all of a project."""

    id: int
    scope: str
    target: str
    start: datetime
    user_id: str


def page(
    request: HttpRequest,
    *,
    query: Mapping[str, str],
    sort: str = "name",
    limit: int,
    after: str | None = None,
    before: str | None = None,
) -> Items[Sla] | Problem:
    """Classes; ``query`` may have name and withdrawn."""
    return lists.page(request, "/v1/slas", _sla, query=query, sort=sort, limit=limit, after=after, before=before)


def all_in_use(request: HttpRequest) -> Sequence[Sla] | Problem:
    """All that may be attached, by name."""
    answer = transport.of(request).ask("GET", "/v1/slas", query={"sort": "name", "limit": _LARGEST_LIST})
    return answer if isinstance(answer, PROBLEMS) else [_sla(one) for one in answer["slas"]]


def show(request: HttpRequest, uuid: str) -> Sla | Problem:
    """The class of this uuid."""
    answer = transport.of(request).ask("GET", f"/v1/slas/{uuid}")
    return answer if isinstance(answer, PROBLEMS) else _sla(answer)


def create(request: HttpRequest, *, name: str, time_zone: str, terms: Terms, offers: Offers) -> Problem | None:
    """Make one."""
    body = {"name": name, "time_zone": time_zone, "terms": terms.told(), "objectives": offers}
    return _done(transport.of(request).ask("POST", "/v1/slas", body=body))


def change(request: HttpRequest, uuid: str, generation: int, **changed: Any) -> Problem | None:
    """Replace ``name``, ``terms`` or ``objectives``, unless it was changed since this generation was seen."""
    body = {"generation": generation, **changed}
    return _done(transport.of(request).ask("PATCH", f"/v1/slas/{uuid}", body=body))


def withdraw(request: HttpRequest, uuid: str, *, detach: bool) -> Problem | None:
    """Withdraw it; ``detach``: also where it is attached."""
    query = {"detach": "true"} if detach else {}
    return _done(transport.of(request).ask("DELETE", f"/v1/slas/{uuid}", query=query))


def attachments(request: HttpRequest, uuid: str) -> Sequence[Attachment] | Problem:
    """What it is attached to at present."""
    answer = transport.of(request).ask("GET", f"/v1/slas/{uuid}/attachments", query={"limit": _LARGEST_LIST})
    if isinstance(answer, PROBLEMS):
        return answer
    return [
        Attachment(
            id=one["id"],
            scope=one["scope"],
            target=one["target"],
            start=datetime.fromisoformat(one["start"]),
            user_id=one["user_id"],
        )
        for one in answer["attachments"]
    ]


def attach(request: HttpRequest, uuid: str, scope: str, target: str, *, replace: bool) -> Problem | None:
    """Attach it from this minute on; ``replace``: in the place of another."""
    body = {"scope": scope, "target": target, "replace": replace}
    return _done(transport.of(request).ask("POST", f"/v1/slas/{uuid}/attachments", body=body))


def detach(request: HttpRequest, uuid: str, attachment: int) -> Problem | None:
    """Detach it from this minute on."""
    return _done(transport.of(request).ask("DELETE", f"/v1/slas/{uuid}/attachments/{attachment}"))


def report(request: HttpRequest, uuid: str, query: Mapping[str, str]) -> Mapping[str, Any] | Problem:
    """The report of a period as the API tells it; ``query`` may have period and project."""
    client = transport.of(request)
    client.allow_report()
    found: Mapping[str, Any] | Problem = client.ask("GET", f"/v1/slas/{uuid}/report", query=query)
    return found


def report_file(request: HttpRequest, uuid: str, query: Mapping[str, str]) -> bytes | Problem:
    """The same as a file; ``query`` also has the format."""
    client = transport.of(request)
    client.allow_report()
    return client.ask_text("GET", f"/v1/slas/{uuid}/report", query=query)


def _done(answer: Any) -> Problem | None:
    return answer if isinstance(answer, PROBLEMS) else None


def _terms(told: Mapping[str, Any]) -> Terms:
    price = told["price"]
    return Terms(
        target=told["attainment_target_ratio"],
        unknown=told["unknown"],
        credits=tuple((one["below_ratio"], one["credit_ratio"]) for one in told["credits"]),
        price=(price["amount"], price["currency"]) if price else None,
    )


def _sla(told: Mapping[str, Any]) -> Sla:
    return Sla(
        uuid=told["uuid"],
        name=told["name"],
        time_zone=told["time_zone"],
        generation=told["generation"],
        terms=_terms(told["terms"]),
        created_at=datetime.fromisoformat(told["created_at"]),
        tolerance=told["tolerance_ratio"],
        next_terms=_terms(told["next_terms"]) if told["next_terms"] else None,
        next_terms_from=moment(told["next_terms_from"]),
        offers=in_order(told["objectives"]),
        withdrawn_at=moment(told["withdrawn_at"]),
    )
