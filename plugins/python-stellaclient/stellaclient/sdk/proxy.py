"""The service, for programs and for the commands."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from openstack import exceptions

from stellaclient.sdk.resources import (
    Attainment,
    Decision,
    Host,
    Instance,
    Quota,
    Slo,
    SloChange,
    Usage,
    Violation,
)
from stellaclient.sdk.slas import SlaProxy

CLIENT_VERSIONS = ((1, 0), (1, 0))
"""Oldest and newest microversion that this client speaks."""


class NoCommonVersion(Exception):
    """Client and server have no microversion in common."""


def _number(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def common_version(server_oldest: str, server_newest: str) -> str:
    """The newest microversion that both speak. Raises `NoCommonVersion`."""
    newest = min(CLIENT_VERSIONS[1], _number(server_newest))
    if newest < max(CLIENT_VERSIONS[0], _number(server_oldest)):
        ours = " to ".join(f"{major}.{minor}" for major, minor in CLIENT_VERSIONS)
        raise NoCommonVersion(
            f"The server offers versions {server_oldest} to {server_newest}, this client speaks {ours}"
        )
    return f"{newest[0]}.{newest[1]}"


class Proxy(SlaProxy):
    """Stella. Every method raises `openstack.exceptions.HttpException` for what the API refuses."""

    def negotiate(self) -> None:
        """Settle on the newest microversion that both speak; done once. Raises `NoCommonVersion`."""
        if self.default_microversion is not None:
            return
        response = self.get("/")
        if response.status_code == 404:
            raise NoCommonVersion(
                "The endpoint has no API at its root; it must be that of stella-api, such as http://127.0.0.1:8791"
            )
        exceptions.raise_from_response(response)
        try:
            found = response.json()["versions"][0]
            versions = found["min_version"], found["max_version"]
        except (ValueError, LookupError, TypeError):
            raise NoCommonVersion(
                "The endpoint does not answer as stella-api does; it must be the API's root"
            ) from None
        self.default_microversion = common_version(*versions)

    def instances(self, **query: Any) -> Iterator[Instance]:
        """Instances; ``host``, ``project``, ``name`` and ``status`` (state of the SLO) filter, ``sort`` is ``key:desc`` or ``key``."""
        return self._list(Instance, **query)

    def get_instance(self, uuid: str) -> Instance:
        """The instance of this uuid."""
        return self._get(Instance, uuid)

    def set_instance(self, uuid: str, *, relief_opt_out: bool) -> Instance:
        """Say whether relief must not move an instance."""
        response = self.patch(f"/v1/instances/{uuid}", json={"relief_opt_out": relief_opt_out})
        exceptions.raise_from_response(response)
        return self.get_instance(uuid)

    def get_slo(self, uuid: str) -> Slo | None:
        """The SLO of an instance; None when it has none, or when there is no such instance."""
        try:
            return Slo.new(instance_id=uuid).fetch(self, requires_id=False)
        except exceptions.NotFoundException:
            return None

    def put_slo(
        self,
        uuid: str,
        objectives: Mapping[str, Mapping[str, Any]],
        *,
        priority: int = 0,
        generation: int | None = None,
        dry_run: bool = False,
    ) -> Slo:
        """Set the whole SLO of an instance; ``generation`` is that of the one that it replaces."""
        body: dict[str, Any] = {"objectives": objectives, "priority": priority}
        if generation is not None:
            body["generation"] = generation
        return Slo.new(instance_id=uuid).put(self, body, dry_run=dry_run)

    def delete_slo(self, uuid: str, generation: int) -> None:
        """Withdraw the SLO that has this generation."""
        Slo.new(instance_id=uuid).withdraw(self, generation)

    def slo_history(self, uuid: str, **query: Any) -> Iterator[SloChange]:
        """Changes of an instance's SLO, newest first."""
        return self._list(SloChange, instance_id=uuid, **query)

    def get_attainment(self, uuid: str) -> Attainment:
        """Attainment of this month."""
        return Attainment.new(instance_id=uuid).fetch(self, requires_id=False)

    def get_usage(self, uuid: str, *, step: int = 60, start: str | None = None, end: str | None = None) -> Usage:
        """What an instance used from ``start`` to ``end`` (RFC 3339), in steps of so many seconds: 1, 60, 3600 or 86400."""
        query = {"step": step, "from": start, "to": end}
        given: dict[str, Any] = {name: value for name, value in query.items() if value is not None}
        return Usage.new(instance_id=uuid).fetch(self, requires_id=False, **given)

    def hosts(self, **query: Any) -> Iterator[Host]:
        """Hosts; ``mode`` filters, ``sort`` is ``key:desc`` or ``key``."""
        return self._list(Host, **query)

    def get_host(self, name: str) -> Host:
        """The host of this name."""
        return self._get(Host, name)

    def set_host_mode(self, name: str, mode: str) -> Host:
        """Set the mode of a host: observe, enforce or maintenance."""
        return self.set_host(name, mode=mode)

    def set_host(self, name: str, **changes: Any) -> Host:
        """Set ``mode``, ``relief_mode`` (None: as the cloud has it) or ``fenced`` of a host."""
        response = self.patch(f"/v1/hosts/{name}", json=changes)
        exceptions.raise_from_response(response)
        return self.get_host(name)

    def violations(self, **query: Any) -> Iterator[Violation]:
        """Violations, newest first; ``open``, ``host``, ``project``, ``uuid``, ``from`` and ``to`` filter; ``sort`` orders."""
        return self._list(Violation, **query)

    def decisions(self, **query: Any) -> Iterator[Decision]:
        """Decisions, newest first; ``kind``, ``state``, ``host``, ``project``, ``uuid``, ``from``, ``to`` filter; ``sort`` orders."""
        return self._list(Decision, **query)

    def get_decision(self, number: int) -> Decision:
        """The decision of this number."""
        return self._get(Decision, str(number))

    def estimate(
        self,
        objectives: Mapping[str, Mapping[str, Any]],
        *,
        vcpus: int,
        extra_specs: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """What an SLO takes, for an instance with so many vCPUs: CPU, resource classes, and the extra specs that sell it.

        ``extra_specs`` are those of the flavor that is to sell it: limits among them below a floor are told as contradictions.
        """
        body: dict[str, Any] = {"objectives": objectives, "vcpus": vcpus}
        if extra_specs:
            body["extra_specs"] = dict(extra_specs)
        response = self.post("/v1/estimates", json=body)
        exceptions.raise_from_response(response)
        found: dict[str, Any] = response.json()
        return found

    def candidates(self, **question: Any) -> list[dict[str, Any]]:
        """Hosts, and whether each could take an instance: ``extra_specs`` or ``objectives``, ``vcpus``, ``hosts``, ``instance``."""
        response = self.post("/v1/candidates", json=question)
        exceptions.raise_from_response(response)
        found: list[dict[str, Any]] = response.json()["candidates"]
        return found

    def quotas(self) -> Iterator[Quota]:
        """Quotas of projects that had an SLO or a quota of their own, by project."""
        return self._list(Quota)

    def get_quota(self, project_id: str) -> Quota:
        """The quota of a project."""
        return self._get(Quota, _segment(project_id))

    def set_quota(self, project_id: str, limits: Mapping[str, float | None]) -> Quota:
        """Set these limits of a project, in base units; None goes back to the default, -1 is no limit."""
        response = self.put(f"/v1/quotas/{_segment(project_id)}", json={"limits": dict(limits)})
        exceptions.raise_from_response(response)
        return self.get_quota(project_id)

    def delete_quota(self, project_id: str) -> None:
        """Take all own limits of a project away."""
        exceptions.raise_from_response(self.delete(f"/v1/quotas/{_segment(project_id)}"))


def _segment(text: str) -> str:
    """The text as one segment of a path."""
    return quote(text, safe="")
