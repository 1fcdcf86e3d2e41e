"""Hosts, violations, decisions and summaries as the API tells them."""

from typing import Any

from tests.emulated_api import NOW, UUID


def host(name: str = "compute-1", **more: Any) -> dict[str, Any]:
    """A host that reports and enforces."""
    return {
        "name": name,
        "generation": 7,
        "mode": "enforce",
        "enrolled": True,
        "silent": False,
        "capacity_cpu_cores": 32.0,
        "reserved_cpu_cores": 30.5,
        "free_cpu_cores": 1.5,
        "overhead_cpu_cores": 0.25,
        "cpus": 34,
        "instances": 12,
        "open_violations": 0,
        "agent": "xgos",
        "capabilities": {"cpu_floor": True, "block_latency_target": "not in this release"},
        "lacking_why": {"block_latency_target": [{"code": "no_latency_target", "values": {}}]},
        "versions": {"xgos": "0.9"},
        "reported_at": NOW,
        **more,
    }


def violation(number: int = 1, **more: Any) -> dict[str, Any]:
    """A violation that lasted a minute."""
    return {
        "id": number,
        "uuid": UUID.format(number),
        "name": f"web-{number}",
        "project_id": "p1",
        "host": "compute-1",
        "metric": "network_packets",
        "opened_at": "2026-11-28T11:00:00Z",
        "closed_at": "2026-11-28T11:01:00Z",
        "cause": "cpu",
        "offender": UUID.format(99),
        "offender_name": "greedy",
        **more,
    }


def decision(number: int = 1, **more: Any) -> dict[str, Any]:
    """An SLO that does not fit."""
    return {
        "id": number,
        "decided_at": NOW,
        "kind": "slo_does_not_fit",
        "host": "compute-1",
        "uuid": UUID.format(number),
        "name": f"web-{number}",
        "project_id": "p1",
        "user_id": "ann",
        "request_id": "req-1",
        "reason": "objectives.network_packets.floor: the floors need 0.50 cores of CPU and this host has 0.10 cores left.",
        "why": [{"code": "capacity", "values": {"field": "network_packets.floor", "cores": 0.5, "free": 0.1}}],
        "detail": {"objectives": {"network_packets": {"floor": 20_000.0, "priority": 0}}},
        **more,
    }


def summary(**more: Any) -> dict[str, Any]:
    """Of all projects, one instance of which is in trouble."""
    return {
        "project_id": None,
        "instances": {"troubled": 1, "pending": 0, "guaranteed": 13, "best_effort": 40},
        "open_violations": 2,
        "attainment": None,
        "hosts": {
            "total": 3,
            "silent": 1,
            "modes": {"enforce": 2, "observe": 1},
            "capacity_cpu_cores": 96.0,
            "reserved_cpu_cores": 48.0,
            "free_cpu_cores": 16.0,
            "free_without_one_cpu_cores": 9.0,
        },
        **more,
    }


def held(number: int, **more: Any) -> dict[str, Any]:
    """An instance as the explanation of its host has it: it keeps to its entitlement, and is kept."""
    return {
        "uuid": UUID.format(number),
        "name": f"web-{number}",
        "project_id": "p1",
        "state": "running",
        "slo_state": "enforced",
        "reserved_cpu_cores": 8.0,
        "used_cpu_cores": 0.25,
        "entitled_cpu_cores": 0.5,
        "excess_cpu_cores": 0.0,
        "guaranteed": {"cpu": {"floor": 0.5, "priority": 0}},
        "objectives": [{"metric": "cpu", "usage": 0.2, "demand": 0.2, "status": "MET", "cause": None}],
        "violations": 0,
        "missed_seconds": 0.0,
        "offences": offences(),
        **more,
    }


def offences(*victims: int, lasting: int = 0, missed_seconds: float = 0.0) -> dict[str, Any]:
    """One violation of each of these."""
    return {
        "violations": len(victims),
        "lasting": lasting,
        "missed_seconds": missed_seconds,
        "victims": [{"uuid": UUID.format(number), "name": f"web-{number}"} for number in victims],
    }


def explanation(*instances: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Of a host whose services keep to their entitlement."""
    services = {"used_cpu_cores": 0.125, "entitled_cpu_cores": None, "excess_cpu_cores": None, "offences": offences()}
    return {
        "name": "compute-1",
        "mode": "enforce",
        "silent": False,
        "reported_at": NOW,
        "capacity_cpu_cores": 32.0,
        "reserved_cpu_cores": 30.5,
        "free_cpu_cores": 1.5,
        "since": "2026-11-28T11:00:00Z",
        "host_services": services,
        "instances": list(instances),
        **more,
    }
