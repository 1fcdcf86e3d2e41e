"""Placement in memory, as far as it allocates: generations, capacity as Placement 16 checks it, and answers that go wrong on purpose.

`tests/functional/test_ledger_real.py` asks the real one the same questions.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter

from stella.clouds.openstack.allocations import CONSUMER_TYPE
from stella.control.ledger import Consumer

UNKNOWN = "unknown"
Resources = Mapping[str, int]


@dataclass
class Answer:
    """One answer over HTTP."""

    status_code: int
    body: Any = None

    @property
    def content(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body).encode()

    def json(self) -> Any:
        return json.loads(self.content)


class Died(Exception):
    """The process that asked ended."""


@dataclass
class Allocated:
    """What a consumer holds, by provider."""

    generation: int
    type: str
    project: str
    resources: dict[str, dict[str, int]]


def _error(status: int, code: str, detail: str = "") -> Answer:
    return Answer(status, {"errors": [{"status": status, "code": code, "detail": detail}]})


def _concurrent() -> Answer:
    return _error(409, "placement.concurrent_update", "consumer generation conflict")


@dataclass
class EmulatedPlacement:
    """Providers with inventories (``totals``), consumers with allocations."""

    totals: dict[str, dict[str, int]] = field(default_factory=dict)
    reserved: dict[str, dict[str, int]] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    parents: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Name and parent of each provider that is listed."""

    consumers: dict[str, Allocated] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    before: Callable[[str, str], Answer | None] | None = None
    """Called with method and path before each request; what it returns is the answer instead."""

    def provider(self, uuid: str, totals: Resources) -> None:
        """Make one."""
        self.totals[uuid], self.generations[uuid] = dict(totals), 1

    def host(self, root: str, name: str, totals: Resources) -> str:
        """Make a compute node's provider with Stella's child below it, whose uuid is returned."""
        child = str(uuid5(UUID(root), "stella"))
        self.parents[root], self.parents[child] = (name, None), (f"{name}:stella", root)
        self.provider(root, {})
        self.provider(child, totals)
        return child

    def adapter(self) -> Adapter:
        """What asks it."""
        return _Adapter(self)

    def used(self, provider: str, name: str) -> int:
        """How much of a class is allocated."""
        return sum(one.resources.get(provider, {}).get(name, 0) for one in self.consumers.values())

    def held(self, consumer: str, provider: str) -> Resources:
        """What one consumer holds on a provider."""
        found = self.consumers.get(consumer)
        return found.resources.get(provider, {}) if found else {}

    def allocate(
        self, consumer: str, resources: Mapping[str, Resources], *, type: str = UNKNOWN, project: str = "p1"
    ) -> None:
        """Set what a consumer holds by provider, without asking for room: as Nova does where it may, and a test always may."""
        found = self.consumers.pop(consumer, None)
        for provider in {*resources, *(found.resources if found else ())}:
            self.generations[provider] = self.generations.get(provider, 0) + 1
        taken = {provider: dict(one) for provider, one in resources.items() if one}
        if taken:
            generation = found.generation + 1 if found else 1
            self.consumers[consumer] = Allocated(generation=generation, type=type, project=project, resources=taken)

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """One request."""
        self.asked.append(f"{method} {path}")
        forced = self.before(method, path) if self.before else None
        if forced is not None:
            return forced
        if (method, path) == ("GET", "/resource_providers"):
            rows = [
                {"uuid": uuid, "name": name, "parent_provider_uuid": parent, "generation": self.generations[uuid]}
                for uuid, (name, parent) in self.parents.items()
            ]
            return Answer(200, {"resource_providers": rows})
        if method == "GET" and (found := re.fullmatch(r"/resource_providers/([^/]+)/(\w+)", path)):
            return self._of_provider(found[1], found[2])
        if found := re.fullmatch(r"/allocations/([^/]+)", path):
            return self._show(found[1]) if method == "GET" else self._put(found[1], body)
        return _error(404, "placement.undefined_code")

    def _of_provider(self, uuid: str, what: str) -> Answer:
        if uuid not in self.totals:
            return _error(404, "placement.undefined_code")
        body: dict[str, Any] = {"resource_provider_generation": self.generations[uuid]}
        if what == "allocations":
            body[what] = {
                consumer: {"resources": one.resources[uuid], "consumer_generation": one.generation}
                for consumer, one in self.consumers.items()
                if uuid in one.resources
            }
        elif what == "inventories":
            reserved = self.reserved.get(uuid, {})
            body[what] = {
                name: {"total": total, "reserved": reserved.get(name, 0)} for name, total in self.totals[uuid].items()
            }
        else:
            body[what] = {name: self.used(uuid, name) for name in self.totals[uuid]}
        return Answer(200, body)

    def _show(self, consumer: str) -> Answer:
        found = self.consumers.get(consumer)
        if found is None:
            return Answer(200, {"allocations": {}})
        body = {
            "allocations": {provider: {"resources": one} for provider, one in found.resources.items()},
            "consumer_generation": found.generation,
            "consumer_type": found.type,
            "project_id": found.project,
        }
        return Answer(200, body)

    def _put(self, consumer: str, body: Any) -> Answer:
        found = self.consumers.get(consumer)
        if body["consumer_generation"] != (found.generation if found else None):
            return _concurrent()
        wanted = {provider: one["resources"] for provider, one in body["allocations"].items()}
        for provider, resources in wanted.items():
            for name, amount in resources.items():
                assert amount > 0, "Placement's schema refuses nothing"
                total = self.totals[provider].get(name, 0)
                held = self.held(consumer, provider).get(name, 0)
                after = self.used(provider, name) - held + amount
                if amount > total or (after > total - self.reserved.get(provider, {}).get(name, 0) and amount > held):
                    return _error(409, "placement.undefined_code", "capacity exceeded")
        self.allocate(consumer, wanted, type=body["consumer_type"], project=body["project_id"])
        return Answer(204)

    def ours(self, provider: str) -> Mapping[str, Consumer]:
        """The consumers of Stella's type on a provider."""
        return {
            uuid: Consumer(generation=one.generation, resources=one.resources[provider])
            for uuid, one in self.consumers.items()
            if one.type == CONSUMER_TYPE and provider in one.resources
        }


class _Adapter(Adapter):
    def __init__(self, placement: EmulatedPlacement) -> None:
        self.service_type = "placement"
        self._placement = placement

    def request(self, url: str, method: str, **more: Any) -> Any:  # type: ignore[override]
        return self._placement.answer(method, url, more.get("json"))


def unreachable(method: str, path: str) -> Answer | None:
    """For `EmulatedPlacement.before`: nothing answers."""
    raise exceptions.ConnectFailure("nothing listens there")
