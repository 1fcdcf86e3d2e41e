"""SLOs for Sloth (`prometheus/v1`), which makes rules of them: one document for each instance."""

from collections.abc import Iterable
from typing import Any

from stellaclient.export.guarantees import Guarantee, percent, selector, sentence


def documents(found: Iterable[Guarantee]) -> list[dict[str, Any]]:
    """A specification for each instance. Sloth multiplies the error budget by its own period (30 days), not by calendar months."""
    return [_document(one) for one in found if any(True for _ in one.measured())]


def _document(one: Guarantee) -> dict[str, Any]:
    labels = {"uuid": one.uuid, "project": one.project, "sla": one.terms.sla or ""}
    return {
        "version": "prometheus/v1",
        "service": f"instance-{one.uuid}",
        "labels": {name: value for name, value in labels.items() if value},
        "slos": [_slo(one, metric) for metric in one.measured()],
    }


def _slo(one: Guarantee, metric: str) -> dict[str, Any]:
    missed, all_with_demand = (
        f"sum(rate({selector(one, metric, met=met, missed=True)}[{{{{.window}}}}]))" for met in (False, True)
    )
    return {
        "name": metric.replace("_", "-"),
        "objective": float(percent(one.terms.target_ratio)),
        "description": sentence(one, metric),
        "labels": {"metric": metric},
        "sli": {"events": {"error_query": missed, "total_query": all_with_demand}},
        "alerting": {
            "name": "StellaBudgetBurns",
            "annotations": {"summary": f"{one.name or one.uuid} uses up its error budget of {metric}"},
            "page_alert": {"labels": {"severity": "critical"}},
            "ticket_alert": {"labels": {"severity": "warning"}},
        },
    }
