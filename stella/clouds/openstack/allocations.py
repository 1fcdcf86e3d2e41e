"""Placement's REST API, as far as Stella allocates in it: consumers of its own, on its own children, and nothing of Nova's.

Every write carries the generation of the consumer that its decision rests on. What Nova holds is read at the same moment as what we
hold, in one request; should it change before we write, the engine's duty `ledger` mends it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack import nova, placement
from stella.clouds.openstack.placement import Changed, Root, Stock
from stella.clouds.openstack.session import OpenStack, Refused, ask
from stella.clouds.port import Claim, NoRoom
from stella.control.ledger import Change, Consumer, consumer_of, part_of_nova, unknown
from stella.model.resources import at_least, beyond

CONSUMER_TYPE = "STELLA_SLO"
"""How our consumers are known for certain."""

USER = "stella"
"""The user of our consumers; their project is that of the instance, so that what is added counts as the tenant's."""

NO_PROJECT = "00000000-0000-0000-0000-000000000000"
"""What Placement itself writes where it does not know the project."""

CONCURRENT_UPDATE = "placement.concurrent_update"
_ATTEMPTS = 5
_NO_CONSUMER = Consumer(generation=0, resources={})

Migrations = Callable[[str], Collection[str]]
"""The uuids of an instance's migrations. Raises `Unanswered`."""


class Exceeded(Exception):
    """The provider has not so much left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What the consumers of a provider hold, at its generation."""

    generation: int
    consumers: Mapping[str, Consumer]


def read(adapter: Adapter, child: str) -> Holdings | None:
    """All that is allocated on the provider ``child``; None where there is no such provider. Raises `Unanswered`."""
    path = f"/resource_providers/{child}/allocations"
    status, body = ask(adapter, "GET", path)
    if status == 404:
        return None
    if status != 200:
        raise Refused(f"placement: GET {path}: HTTP {status}")
    return Holdings(
        generation=int(body["resource_provider_generation"]),
        consumers={
            uuid: Consumer(generation=int(one["consumer_generation"]), resources=dict(one["resources"]))
            for uuid, one in body["allocations"].items()
        },
    )


def is_ours(adapter: Adapter, consumer: str) -> bool:
    """Whether a consumer is of our type. Raises `Unanswered`."""
    return bool(_consumer(adapter, consumer).get("consumer_type") == CONSUMER_TYPE)


def _consumer(adapter: Adapter, uuid: str) -> Mapping[str, Any]:
    path = f"/allocations/{uuid}"
    status, body = ask(adapter, "GET", path)
    if status != 200:
        raise Refused(f"placement: GET {path}: HTTP {status}")
    found: Mapping[str, Any] = body
    return found


def write(adapter: Adapter, change: Change, *, child: str, project: str) -> None:
    """Make one consumer hold what ``change`` says on ``child`` and nothing elsewhere; without resources, delete it.

    Raises `Exceeded`, `Changed` where another client was quicker, and `Unanswered`.
    """
    path = f"/allocations/{change.consumer}"
    body = {
        "allocations": {child: {"resources": dict(change.resources)}} if change.resources else {},
        "project_id": project or NO_PROJECT,
        "user_id": USER,
        "consumer_generation": change.generation,
        "consumer_type": CONSUMER_TYPE,
    }
    status, answer = ask(adapter, "PUT", path, body)
    if status == 204:
        return
    if status == 409 and _code(answer) == CONCURRENT_UPDATE:
        raise Changed(f"the allocation {change.consumer} was changed by another client")
    if status == 409:
        raise Exceeded(placement.detail(answer))
    raise Refused(f"placement: PUT {path}: HTTP {status}: {placement.detail(answer)}")


def _code(answer: object) -> str:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return str(errors[0].get("code", "")) if errors else ""


def largest(stock: Stock, held: Mapping[str, int]) -> Mapping[str, int]:
    """How much of each class a consumer that holds ``held`` could hold: what it has, and what is free where that is more."""
    found = dict(held)
    for name, inventory in stock.inventories.items():
        others = stock.used.get(name, 0) - held.get(name, 0)
        found[name] = max(held.get(name, 0), inventory.total - inventory.reserved - others, 0)
    return found


class PlacementLedger:
    """What users add, held in Placement: `stella.clouds.port.Ledger`."""

    def __init__(self, adapter: Adapter, *, migrations: Migrations = lambda instance: ()) -> None:
        """``adapter`` asks Placement; ``migrations`` is asked for an instance that Nova may be moving."""
        self._adapter = adapter
        self._migrations = migrations

    def hold(self, claim: Claim) -> None:
        """See `stella.clouds.port.Ledger.hold`."""
        for _ in range(_ATTEMPTS):
            try:
                return self._hold(claim)
            except Changed:
                continue
        raise Refused(f"placement: what {claim.instance} holds was changed {_ATTEMPTS} times by other clients")

    def _hold(self, claim: Claim) -> None:
        if not claim.provider:
            if claim.resources:
                raise Refused(
                    "placement: the resource provider of the host is not known yet; stella-engine looks for it"
                )
            return
        root = Root(uuid=claim.provider, name=claim.provider)
        holdings = read(self._adapter, root.child_uuid)
        if holdings is None:
            if not claim.resources:
                return
            raise Refused(f"placement: the resource provider {root.child_uuid} is missing; stella-engine makes it")
        part = self.part_of_nova(claim, holdings.consumers)
        consumer = consumer_of(claim.instance, claim.provider)
        found = holdings.consumers.get(consumer)
        wanted = beyond(claim.resources, part)
        if claim.at_least and found is not None:
            wanted = at_least(wanted, found.resources)
        if wanted == (found or _NO_CONSUMER).resources:
            return
        change = Change(consumer=consumer, resources=wanted, generation=found.generation if found else None)
        try:
            write(self._adapter, change, child=root.child_uuid, project=claim.project)
        except Exceeded as error:
            raise self._no_room(root, change, part) from error

    def reserve(self, claim: Claim, *, source: str) -> Mapping[str, int]:
        """Hold a claim on a host that Nova will move the instance to: what Nova holds on ``source`` it will hold there by itself.

        What is held afterwards. Raises as `hold`.
        """
        own = claim
        if source and claim.resources:
            holdings = read(self._adapter, Root(uuid=source, name=source).child_uuid)
            found = replace(claim, provider=source)
            part = self.part_of_nova(found, holdings.consumers) if holdings is not None else {}
            own = replace(claim, resources=beyond(claim.resources, part))
        self.hold(own)
        return own.resources

    def release(self, claim: Claim) -> None:
        """Let go of what was reserved. Raises as `hold`."""
        self.hold(replace(claim, resources={}, at_least=False))

    def part_of_nova(self, claim: Claim, consumers: Mapping[str, Consumer]) -> Mapping[str, int]:
        """What Nova holds for the instance among ``consumers``, those of the claim's host.

        A server that Nova moves has its allocation at the destination already: only then its migrations are asked for, and not where
        the own consumer holds the whole claim: then it goes on holding it until the move has ended. Raises `Unanswered`.
        """
        found = part_of_nova(consumers, claim.instance, ())
        own = consumers.get(consumer_of(claim.instance, claim.provider), _NO_CONSUMER)
        if found or own.resources == claim.resources or not unknown(consumers, (claim.instance,)):
            return found
        if claim.provider in _consumer(self._adapter, claim.instance)["allocations"]:
            return found
        return part_of_nova(consumers, claim.instance, self._migrations(claim.instance))

    def _no_room(self, root: Root, change: Change, part: Mapping[str, int]) -> Exception:
        """Which class is short, and how much of it the whole SLO could hold; `Changed` where there is room meanwhile."""
        holdings, stock = read(self._adapter, root.child_uuid), placement.read(self._adapter, root)
        if holdings is None or stock is None:
            return Changed(f"the resource provider {root.child_uuid} is gone")
        could = largest(stock, holdings.consumers.get(change.consumer, _NO_CONSUMER).resources)
        for name, amount in sorted(change.resources.items()):
            if amount > could.get(name, 0):
                return NoRoom(name, part.get(name, 0) + could.get(name, 0))
        return Changed(f"the resource provider {root.child_uuid} has room again")


def ledger_of(openstack: OpenStack) -> PlacementLedger:
    """The ledger of an OpenStack. Nothing is asked yet."""
    return PlacementLedger(openstack.placement, migrations=partial(nova.migrations, openstack.nova))
