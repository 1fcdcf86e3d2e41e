"""SLA classes, budgets, exclusions, corrections, reports and violations as the API tells them."""

from typing import Any

from tests import operator_records
from tests.emulated_api import NOW, UUID

SLA = "22222222-2222-4222-8222-000000000001"
OTHER = "22222222-2222-4222-8222-000000000002"
TERMS = {
    "attainment_target_ratio": "0.999",
    "unknown": "missed",
    "credits": [{"below_ratio": "0.999", "credit_ratio": "0.1"}, {"below_ratio": "0.99", "credit_ratio": "0.25"}],
    "price": {"amount": "49.90", "currency": "EUR"},
}
OFFERS = {"network_packets": {"limit": {"base": 1000.0, "per_vcpu": 5000.0}, "default": {"base": 1000.0}}}
_AUTHORED = {
    "reason": "new kernel",
    "author": "ann",
    "created_at": NOW,
    "withdrawn_at": None,
    "withdrawn_by": None,
    "withdrawn_reason": None,
}


def sla(uuid: str = SLA, name: str = "gold", **more: Any) -> dict[str, Any]:
    """A class."""
    return {
        "uuid": uuid,
        "name": name,
        "time_zone": "Asia/Seoul",
        "generation": 3,
        "terms": TERMS,
        "next_terms": None,
        "next_terms_from": None,
        "tolerance_ratio": "0.95",
        "objectives": OFFERS,
        "created_at": "2026-09-10T00:00:00Z",
        "withdrawn_at": None,
        **more,
    }


def attachment(number: int = 7, scope: str = "flavor", target: str = "m1.large") -> dict[str, Any]:
    """That it is attached to a flavor."""
    return {"id": number, "scope": scope, "target": target, "start": NOW, "user_id": "ann"}


def objective(metric: str = "network_packets", **more: Any) -> dict[str, Any]:
    """The budget of an objective of which a quarter is used."""
    return {
        "metric": metric,
        "attainment_ratio": "0.999750",
        "with_demand_seconds": 600_000,
        "allowed_seconds": 600,
        "used_seconds": 150,
        "left_seconds": 450,
        "unknown_seconds": 0,
        "burn_rates": {"5m": 50.0, "1h": 2.5, "6h": 0.25, "3d": None},
        "exhausted_at": "2026-11-29T12:00:00Z",
        "exhausted_on": "2026-11-29",
        **more,
    }


def budget(number: int = 1, *objectives: dict[str, Any], **more: Any) -> dict[str, Any]:
    """That of an instance."""
    return {
        "uuid": UUID.format(number),
        "name": f"web-{number}",
        "project_id": "1",
        "sla": {"uuid": SLA, "name": "gold"},
        "period": {
            "name": "2026-11",
            "time_zone": "Asia/Seoul",
            "start": "2026-10-31T15:00:00Z",
            "end": "2026-11-30T15:00:00Z",
        },
        "left_seconds": 450,
        "left_ratio": 0.75,
        "credit_ratio": "0",
        "credit_amount": "0.00",
        "currency": "EUR",
        "next_credit": {
            "below_ratio": "0.999",
            "credit_ratio": "0.1",
            "credit_amount": "4.99",
            "left_seconds": 450,
        },
        "objectives": list(objectives) or [objective()],
        **more,
    }


def shown_budget(*objectives: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The same, of one instance."""
    told = {"terms": TERMS, "offers": OFFERS, "default_objectives": {"network_packets": {"floor": 6000.4}}}
    return {**budget(1, *objectives), **told, "limits": {"network_packets": 11_000.0}, **more}


def exclusion(number: int = 1, **more: Any) -> dict[str, Any]:
    """A maintenance of a host, a day ago."""
    return {
        "id": number,
        "kind": "maintenance",
        "scope": "host",
        "target": "compute-1",
        "start": "2026-11-24T02:00:00Z",
        "until": "2026-11-24T04:00:00Z",
        **_AUTHORED,
        **more,
    }


def correction(number: int = 1, **more: Any) -> dict[str, Any]:
    """Two minutes that were met after all."""
    return {
        "id": number,
        "sla": SLA,
        "period": "2026-11",
        "uuid": UUID.format(1),
        "metric": "cpu",
        "seconds": 120,
        "source": "violated",
        "target": "met",
        **_AUTHORED,
        **more,
    }


def report(**more: Any) -> dict[str, Any]:
    """A month of one instance that is owed something."""
    one = {
        "metric": "cpu",
        "attainment_ratio": "0.998263",
        "attainment_ratio_measured": "0.991666",
        "attainment_ratio_without_exclusions": "0.995000",
        "met_seconds": 5750,
        "missed_seconds": 10,
        "allowed_seconds": 5,
        "unknown_seconds": 60,
        "own_limits_seconds": 180,
        "is_met": False,
    }
    result = {
        "uuid": UUID.format(1),
        "objectives": [one],
        "attainment_ratio": "0.998263",
        "attainment_ratio_measured": "0.991666",
        "is_met": False,
        "credit_ratio": "0.1",
        "credit_ratio_measured": "0.1",
        "credit_amount": "4.99",
    }
    return {
        "format": "stella-sla-report-1",
        "sla": {"uuid": SLA, "name": "gold", "generation": 3},
        "terms": TERMS,
        "project_id": None,
        "period": {
            "name": "2026-10",
            "time_zone": "Asia/Seoul",
            "start": "2026-09-30T15:00:00Z",
            "end": "2026-10-31T15:00:00Z",
            "until": "2026-10-31T15:00:00Z",
            "final": True,
        },
        "rollups": [{"uuid": UUID.format(1), "name": "web-1", "project_id": "p1", "metric": "cpu"}],
        "exclusions": [exclusion()],
        "corrections": [correction(withdrawn_at=NOW, withdrawn_by="bob", withdrawn_reason="another instance")],
        "results": [result],
        "totals": {
            "instances": 1,
            "instances_missed": 1,
            "instances_credited": 1,
            "met_seconds": 5750,
            "missed_seconds": 10,
            "attainment_ratio": "0.998263",
            "attainment_ratio_measured": "0.991666",
            "credit_amount": "4.99",
            "currency": "EUR",
        },
        "sha256": "d" * 64,
        **more,
    }


def shown_violation(*, for_operator: bool = True, **more: Any) -> dict[str, Any]:
    """A violation with a part and two minutes."""
    seconds = dict.fromkeys(("met", "violated", "degraded", "no_demand", "self_limited", "unknown"), 0)
    minute = {"causes": {"cpu": 40}, "usage_mean": 14e3, "usage_min": 13e3, "usage_max": 15e3, "demand_mean": 26e3}
    evidence = {"value": 20_000.0, "worst": 13_000.0, "missed_seconds": 40.0}
    offending = {"offender_used_cores": 1.75, "offender_entitled_cores": 0.5, "later_figure_bytes": 7}
    part = {
        "opened_at": "2026-11-28T11:00:10Z",
        "closed_at": "2026-11-28T11:00:50Z",
        "cause": "cpu",
        "missed_seconds": 40.0,
        "host": "compute-1" if for_operator else None,
        "offender": UUID.format(99) if for_operator else None,
        "evidence": {**evidence, **(offending if for_operator else {})},
    }
    hidden = {} if for_operator else {"host": None, "offender": None, "offender_name": None}
    return {
        **operator_records.violation(1),
        **hidden,
        "missed_seconds": 40.0,
        "parts": [part],
        "timeline": [
            {"start": "2026-11-28T10:59:00Z", "seconds": {**seconds, "met": 60}, **minute, "causes": {}},
            {"start": "2026-11-28T11:00:00Z", "seconds": {**seconds, "met": 20, "violated": 40}, **minute},
        ],
        **more,
    }


def move(**more: Any) -> dict[str, Any]:
    """What a relief moved."""
    return {
        "state": "done",
        "from": "compute-1",
        "to": "compute-2",
        "freed_cpu_cores": 0.8,
        "predicted_effect_seconds_per_hour": 1200.0,
        "measured_effect_seconds_per_hour": 900.0,
        "helped": True,
        "victims": [UUID.format(5)],
        "changed_at": NOW,
        "reason": "",
        **more,
    }
