"""SLA classes, budgets, exclusions, corrections and reports, as methods of the service."""

from collections.abc import Iterator, Mapping
from typing import Any

from openstack import exceptions, proxy

from stellaclient.sdk.resources import Correction, Exclusion, Sla, SlaAttachment


class SlaProxy(proxy.Proxy):
    """Every method raises `openstack.exceptions.HttpException` for what the API refuses."""

    def slas(self, **query: Any) -> Iterator[Sla]:
        """SLA classes by name; ``name`` filters, ``withdrawn`` lists those of the past too."""
        return self._list(Sla, **query)

    def get_sla(self, uuid: str) -> Sla:
        """The class of this uuid."""
        return self._get(Sla, uuid)

    def create_sla(self, body: Mapping[str, Any]) -> Sla:
        """A new class: ``name``, ``terms``, and perhaps ``time_zone`` and ``objectives``."""
        return Sla.existing(**self._send("POST", "/v1/slas", json=dict(body)))

    def update_sla(self, uuid: str, body: Mapping[str, Any], *, generation: int) -> Sla:
        """Change what is named; ``generation`` is that of the class as it was read."""
        return Sla.existing(**self._send("PATCH", f"/v1/slas/{uuid}", json={**body, "generation": generation}))

    def delete_sla(self, uuid: str, *, detach: bool = False) -> None:
        """Withdraw a class; ``detach``: also where it is attached."""
        self._send("DELETE", f"/v1/slas/{uuid}", params={"detach": "true"} if detach else {})

    def sla_attachments(self, uuid: str) -> Iterator[SlaAttachment]:
        """What a class is attached to at present."""
        return self._list(SlaAttachment, sla_id=uuid)

    def attach_sla(self, uuid: str, scope: str, target: str, *, replace: bool = False) -> None:
        """Attach a class to an ``instance`` (its uuid), a ``flavor`` (its name) or a ``project`` (its id)."""
        self._send("POST", f"/v1/slas/{uuid}/attachments", json={"scope": scope, "target": target, "replace": replace})

    def detach_sla(self, uuid: str, attachment_id: int) -> None:
        """End an attachment."""
        self._send("DELETE", f"/v1/slas/{uuid}/attachments/{attachment_id}")

    def sla_report(self, uuid: str, **query: Any) -> bytes:
        """The report as the API sends it; ``period``, ``project``, ``format`` (json, csv or html)."""
        response = self.get(f"/v1/slas/{uuid}/report", params=query)
        exceptions.raise_from_response(response)
        found: bytes = response.content
        return found

    def budgets(self, **query: Any) -> list[dict[str, Any]]:
        """Error budgets, the least left first; ``project``, ``sla``, ``sort`` and ``limit``."""
        found: list[dict[str, Any]] = self._send("GET", "/v1/budgets", params=query)["budgets"]
        return found

    def get_budget(self, uuid: str) -> dict[str, Any] | None:
        """The error budget of an instance; None where it is under no class."""
        try:
            return self._send("GET", f"/v1/instances/{uuid}/budget")
        except exceptions.NotFoundException:
            return None

    def exclusions(self, **query: Any) -> Iterator[Exclusion]:
        """Exclusions, newest first; ``project``, ``from`` and ``to`` filter."""
        return self._list(Exclusion, **query)

    def create_exclusion(self, body: Mapping[str, Any]) -> Exclusion:
        """A window that does not count."""
        return Exclusion.existing(**self._send("POST", "/v1/exclusions", json=dict(body)))

    def withdraw_exclusion(self, number: int, reason: str) -> Exclusion:
        """Let a window count again."""
        return Exclusion.existing(**self._send("DELETE", f"/v1/exclusions/{number}", params={"reason": reason}))

    def corrections(self, **query: Any) -> Iterator[Correction]:
        """Corrections, newest first; ``project``, ``sla``, ``period`` and ``uuid`` filter."""
        return self._list(Correction, **query)

    def create_correction(self, body: Mapping[str, Any]) -> Correction:
        """Seconds that count otherwise."""
        return Correction.existing(**self._send("POST", "/v1/corrections", json=dict(body)))

    def withdraw_correction(self, number: int, reason: str) -> Correction:
        """Let the seconds count as they were measured."""
        return Correction.existing(**self._send("DELETE", f"/v1/corrections/{number}", params={"reason": reason}))

    def get_violation(self, number: int) -> dict[str, Any]:
        """A violation with its parts and its timeline."""
        return self._send("GET", f"/v1/violations/{number}")

    def _send(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        response = self.request(path, method, **more)
        exceptions.raise_from_response(response)
        found: dict[str, Any] = response.json() if response.content else {}
        return found
