"""An SLA class that counts for a project, and minutes that count under it, for the tests and for the screenshots."""

import time
from typing import Any

from sqlalchemy import update

from stella.db.sla_models import SlaAttachment
from tests.browser.site import Project

_DAY_SECONDS = 86_400
TERMS: dict[str, Any] = {
    "attainment_target_ratio": "0.95",
    "credits": [{"below_ratio": "0.95", "credit_ratio": "0.1"}, {"below_ratio": "0.9", "credit_ratio": "0.25"}],
    "price": {"amount": "49.90", "currency": "EUR"},
}
OFFERS: dict[str, Any] = {
    "cpu": {"limit": "60%", "default": "20%"},
    "network_packets": {"limit": {"base": "10kpps", "per_vcpu": "5kpps"}, "default": "1kpps"},
}


def make(project: Project, name: str, **more: Any) -> str:
    """The uuid of a new class."""
    body = {"name": name, "terms": TERMS, "objectives": OFFERS, **more}
    made = project.site.stella.cloud.admin.ask("POST", "/v1/slas", json=body)
    assert made.status_code == 201, made.text
    found: str = made.json["uuid"]
    return found


def put_under(project: Project, name: str, *, days: int = 27, **more: Any) -> str:
    """A new class that has counted for the project for some days; its uuid."""
    sla = make(project, name, **more)
    attached = {"scope": "project", "target": project.name}
    made = project.site.stella.cloud.admin.ask("POST", f"/v1/slas/{sla}/attachments", json=attached)
    assert made.status_code == 201, made.text
    start = int(time.time()) // 60 * 60 - days * _DAY_SECONDS
    with project.site.stella.cloud.database.engine.begin() as connection:
        earlier = update(SlaAttachment).where(SlaAttachment.id == made.json["id"])
        connection.execute(earlier.values(start=start))
    return sla


def report_past(project: Project, uuid: str, *, minutes: int = 30, **floors: float) -> None:
    """The minutes until now, as the course of the instance says."""
    now = int(time.time()) // 60 * 60
    objectives = {metric: {"floor": floor} for metric, floor in floors.items()}
    project.host.past(uuid, objectives, range(now - minutes * 60, now, 60))
