"""What a simulated cloud comes to: the reports of its SLA classes by the real arithmetic, and sums for operators."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stella.model.report import StatusCounts
from stella.sim.cloud.scenario import GOLD, NAMESPACE, SILVER, Shape, Tenant
from stella.sim.cloud.table import CAUSES, STATUSES
from stella.sla.periods import Period, show_time
from stella.sla.report import ObjectiveRow, Subject, assemble
from stella.sla.terms import Terms
from stella.sla.terms import parse as parse_terms

BEGINS_AT = 1_796_126_400
"""Noon of 2026-12-01 (UTC)."""
_TERMS: Mapping[str, Mapping[str, Any]] = {
    GOLD: {
        "attainment_target_ratio": "0.999",
        "credits": [
            {"below_ratio": "0.999", "credit_ratio": "0.1"},
            {"below_ratio": "0.99", "credit_ratio": "0.25"},
            {"below_ratio": "0.95", "credit_ratio": "1"},
        ],
        "price": {"amount": "2.00", "currency": "EUR"},
    },
    SILVER: {
        "attainment_target_ratio": "0.99",
        "credits": [
            {"below_ratio": "0.99", "credit_ratio": "0.1"},
            {"below_ratio": "0.95", "credit_ratio": "0.5"},
        ],
        "price": {"amount": "1.00", "currency": "EUR"},
    },
}
CLASSES: Mapping[str, Terms] = {name: parse_terms(terms) for name, terms in _TERMS.items()}
"""Of the simulated cloud. The price is that of an instance in the simulated time, which is taken for the period."""


@dataclass(slots=True)
class Accounts:
    """Seconds by status of every instance that had an SLO, kept when it leaves; and what was counted on the way."""

    rows: dict[str, list[ObjectiveRow]] = field(default_factory=lambda: {name: [] for name in CLASSES})
    missed_seconds: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    best_effort_refused: int = 0
    deaths: int = 0

    def close(self, tenant: Tenant, seconds: Sequence[int], missed_by: Sequence[int]) -> None:
        """Keep what became of an instance with an SLO."""
        if tenant.slo is None:
            return
        counts = StatusCounts(**dict(zip(STATUSES, map(int, seconds), strict=True)))
        for objective in tenant.slo.objectives:
            row = ObjectiveRow(
                uuid=tenant.uuid,
                name=tenant.name,
                project_id=tenant.project,
                metric=objective.metric.value,
                counts=counts,
            )
            self.rows[tenant.sla].append(row)
        for cause, missed in zip(CAUSES, missed_by, strict=True):
            self.missed_seconds[cause] += int(missed)


def reports(accounts: Accounts, shape: Shape, *, seconds: float) -> dict[str, dict[str, Any]]:
    """The report of each class, as `stella-api` makes it of a period; here the period is what was simulated."""
    until = BEGINS_AT + int(seconds)
    period = Period(name=show_time(BEGINS_AT), start=BEGINS_AT, end=until)
    found = {}
    for name, terms in CLASSES.items():
        subject = Subject(
            sla_uuid=str(NAMESPACE),
            sla_name=name,
            generation=1,
            time_zone="UTC",
            project_id=None,
            period=period,
            until=until,
            final=True,
        )
        found[name] = assemble(subject, terms, accounts.rows[name], [], [])
    return found


def total_seconds(rows: Iterable[ObjectiveRow], *statuses: str) -> int:
    """The seconds with these statuses of all rows."""
    return sum(getattr(row.counts, status) for row in rows for status in statuses)
