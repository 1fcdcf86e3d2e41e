"""What is shown of error budgets, on all pages that show them."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from stella_dashboard.api.budgets import BURN_SPANS, Budget, Credit, ObjectiveBudget
from stella_dashboard.content import links
from stella_dashboard.words import names, quantities, slas


def show(budget: Budget) -> Mapping[str, Any]:
    """The row of an instance: what its worst objective leaves."""
    worst = budget.worst
    return {
        "name": budget.title,
        "url": f"{links.instance(budget.uuid)}#stella-budget",
        "project_id": budget.project_id,
        "project_url": links.project(budget.project_id),
        "sla": budget.sla_name,
        "left": slas.minutes(budget.left_seconds) if worst else slas.DASH,
        "left_ratio": quantities.show_ratio(budget.left_ratio) if (budget.left_ratio or 0.0) >= 0 else "",
        "is_missed": is_missed(budget),
        "worst": names.of(names.METRICS, worst.metric) if worst else "",
        "burn": burn(worst),
        "exhausted_on": (worst.exhausted_on if worst else None) or slas.DASH,
        "credit": owed(budget.credit, budget.currency),
        "at_stake": at_stake(budget),
    }


def is_missed(budget: Budget) -> bool:
    """Whether the target is missed: more than the budget is used."""
    return budget.left_ratio is not None and budget.left_ratio < 0


def burn(found: ObjectiveBudget | None) -> list[Mapping[str, Any]]:
    """Burn rates by span; empty where nothing had demand."""
    if found is None:
        return []
    return [
        {
            "span": str(slas.SPANS[span]),
            "short": span,
            "rate": slas.burn_rate(found.burn_rates.get(span)),
            "is_fast": (found.burn_rates.get(span) or 0.0) > 1,
        }
        for span in BURN_SPANS
    ]


def owed(credit: Credit, currency: str | None) -> str:
    """What is owed if the period ended now; a dash for nothing."""
    return slas.DASH if credit.ratio == "0" else slas.owed(credit.ratio, credit.amount, currency)


def at_stake(budget: Budget) -> str:
    """What will be owed when more is missed, and how much more; a dash where nothing more will."""
    step = budget.at_stake
    if step is None:
        return slas.DASH
    shown = {
        "credit": slas.owed(step.ratio, step.amount, budget.currency),
        "minutes": slas.minutes(step.left_seconds),
    }
    return _("%(credit)s after %(minutes)s more") % shown
