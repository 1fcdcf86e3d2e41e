"""Placement's REST API, as far as Stella keeps providers in it: one child of each compute node's, and nothing else.

The root is only looked up: what is not its own on it, nova-compute deletes when it starts, or fails to start where it is in use.
Every write carries the generation that its decision rests on; after a 409, another client's change, the caller reads it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid5

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack.session import Refused, ask
from stella.model.resources import NAMES


class NoProvider(Exception):
    """Placement has no compute node of this name, or what is there is not what it should be; the message says it."""


class Changed(Exception):
    """Somebody else wrote meanwhile: read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A compute node's own provider."""

    uuid: str
    name: str

    @property
    def child_uuid(self) -> str:
        """The uuid of Stella's child, always the same for the same root."""
        return str(uuid5(UUID(self.uuid), "stella"))

    @property
    def child_name(self) -> str:
        """Its name."""
        return f"{self.name}:stella"


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """The compute nodes' own providers, and the generation of every provider by uuid."""

    roots: tuple[Root, ...]
    generations: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """How much of a class there is, and how much of that is not given out."""

    total: int
    reserved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """The inventories of a provider, what is used of each, and the generation of both."""

    generation: int
    inventories: Mapping[str, Inventory]
    used: Mapping[str, int]


def list_providers(adapter: Adapter) -> Providers:
    """All of them, in one request. Raises `Unanswered`."""
    status, body = ask(adapter, "GET", "/resource_providers")
    if status != 200:
        raise Refused(f"placement: GET /resource_providers: HTTP {status}")
    found = body["resource_providers"]
    return Providers(
        roots=tuple(Root(uuid=one["uuid"], name=one["name"]) for one in found if one["parent_provider_uuid"] is None),
        generations={one["uuid"]: int(one["generation"]) for one in found},
    )


def ensure_classes(adapter: Adapter) -> None:
    """Make the resource classes that are missing. Raises `Unanswered`."""
    for name in NAMES:
        path = f"/resource_classes/{name}"
        status, _ = ask(adapter, "PUT", path)
        if status not in (201, 204):
            raise Refused(f"placement: PUT {path}: HTTP {status}")


def ensure_child(adapter: Adapter, root: Root) -> None:
    """Make Stella's child of ``root`` where it is missing.

    Raises `NoProvider` where something else has its name, `Changed` and `Unanswered`.
    """
    path = f"/resource_providers/{root.child_uuid}"
    status, body = ask(adapter, "GET", path)
    if status == 200:
        if body.get("parent_provider_uuid") != root.uuid:
            raise NoProvider(f"the resource provider {root.child_uuid} is not a child of {root.name}")
        return
    wanted = {"uuid": root.child_uuid, "name": root.child_name, "parent_provider_uuid": root.uuid}
    status, _ = ask(adapter, "POST", "/resource_providers", wanted)
    if status in (200, 201):
        return
    if status == 409:
        status, _ = ask(adapter, "GET", path)
        if status == 200:
            return  # another engine was quicker
        raise NoProvider(f"another resource provider is named {root.child_name}: rename or delete it")
    if status == 400:
        raise Changed(f"the resource provider {root.name} is gone")
    raise Refused(f"placement: POST /resource_providers: HTTP {status}")


def read(adapter: Adapter, root: Root) -> Stock | None:
    """What Stella's child of ``root`` has; None where there is no child. Raises `Changed` and `Unanswered`."""
    path = f"/resource_providers/{root.child_uuid}"
    status, body = ask(adapter, "GET", f"{path}/inventories")
    if status == 404:
        return None
    status_of_usages, usages = ask(adapter, "GET", f"{path}/usages")
    if (status, status_of_usages) != (200, 200):
        raise Refused(f"placement: GET {path}/inventories, usages: HTTP {status}, {status_of_usages}")
    generation = int(body["resource_provider_generation"])
    if usages["resource_provider_generation"] != generation:
        raise Changed(f"the resource provider {root.child_name} changed while it was read")
    inventories = {
        name: Inventory(total=int(one["total"]), reserved=int(one["reserved"]))
        for name, one in body["inventories"].items()
    }
    used = {name: int(amount) for name, amount in usages["usages"].items() if amount}
    return Stock(generation=generation, inventories=inventories, used=used)


def write(adapter: Adapter, root: Root, inventories: Mapping[str, Inventory], *, generation: int) -> None:
    """Replace the inventories of Stella's child of ``root``, if it is still of that generation. Raises `Changed` and `Unanswered`."""
    body = {
        "resource_provider_generation": generation,
        "inventories": {
            name: {
                "total": one.total,
                "reserved": one.reserved,
                "min_unit": 1,
                "max_unit": one.total,
                "step_size": 1,
                "allocation_ratio": 1.0,
            }
            for name, one in sorted(inventories.items())
        },
    }
    path = f"/resource_providers/{root.child_uuid}/inventories"
    status, answer = ask(adapter, "PUT", path, body)
    if status in (404, 409):
        raise Changed(f"the resource provider {root.child_name} was changed by another client")
    if status != 200:
        raise Refused(f"placement: PUT {path}: HTTP {status}: {detail(answer)}")


def detail(answer: object) -> str:
    """What an answer of Placement that is no success says, in one line."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return " ".join(str(errors[0].get("detail", "")).split())[:300] if errors else ""
