"""What a handler is: a function from a `Call` to an `Answer`, with its schemas and its access beside it.

Handlers know neither Falcon nor SQL. Their docstring is the contract: what it does, what it answers, each failure.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from oslo_config import cfg

from stella.api.errors import ApiError
from stella.api.host_attainment import RecentAttainment
from stella.api.host_holdings import HostHoldings
from stella.api.identity import Identity
from stella.api.intervals import HostCount
from stella.api.metrics import Metrics
from stella.api.policy import Policy
from stella.api.validation import Schema, empty_query
from stella.clouds.port import Ledger
from stella.db.database import Database
from stella.db.hosts import LinkedHost
from stella.db.slos import Origin
from stella.model.wire import Json


class Access(enum.Enum):
    """Who must prove what before a handler runs."""

    PUBLIC = "public"
    USER = "user"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What handlers work with.

    ``clock`` gives Unix seconds, ``host_count`` how many hosts are enrolled, ``attainments`` how their objectives did lately,
    ``holdings`` what they hold, ``ledger`` counts beside the database what is taken on hosts.
    """

    database: Database
    policy: Policy
    config: cfg.ConfigOpts
    clock: Callable[[], float]
    host_count: HostCount
    metrics: Metrics
    attainments: RecentAttainment
    holdings: HostHoldings
    ledger: Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, validated. ``host`` is the host that asks, on the routes of agents."""

    services: Services
    identity: Identity
    path: Mapping[str, str]
    query: Mapping[str, Json]
    body: Json
    if_match: str | None
    if_none_match: str | None
    request_id: str
    remote_address: str
    url: str
    host: LinkedHost | None = None

    @property
    def linked_host(self) -> LinkedHost:
        """The host that asks, on the routes of agents."""
        assert self.host is not None
        return self.host

    @property
    def mapping(self) -> Mapping[str, Any]:
        """The body, whose schema is that of an object."""
        return cast(Mapping[str, Any], self.body)

    @property
    def origin(self) -> Origin:
        """Who asks, in which request, from where, when."""
        return Origin(
            user_id=self.identity.user_id,
            request_id=self.request_id,
            remote_address=self.remote_address,
            at=self.services.clock(),
        )

    def allows(self, rule: str, project_id: str | None = None) -> bool:
        """Whether the user may do what ``rule`` names, to something of this project."""
        return self.services.policy.allows(self.identity, rule, project_id)

    def require(self, rule: str, project_id: str | None = None) -> None:
        """Raises `ApiError` (403) unless the user may."""
        if not self.allows(rule, project_id):
            raise ApiError("stella.request.forbidden", f"The access policy {rule} does not allow this for your roles.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back. ``body`` None sends no content. ``text`` is sent in its place, as its ``media_type``."""

    status: int = 200
    body: Json = None
    etag: str | None = None
    text: str | None = None
    media_type: str = ""


Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A handler with its contract: ``responses`` by status, ``errors`` the codes of `stella.api.errors` that are its own.

    ``media_types`` are those of a 200 beside JSON.
    """

    handler: Handler
    access: Access
    query: Schema
    body: Schema | None
    responses: Mapping[int, Schema | None]
    errors: tuple[str, ...]
    rules: tuple[str, ...] = field(default=())
    media_types: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``slo.put``: its module and function."""
        return f"{self.handler.__module__.rpartition('.')[2]}.{self.handler.__name__.rstrip('_')}"


def operation(
    *,
    responses: Mapping[int, Schema | None],
    access: Access = Access.USER,
    query: Schema | None = None,
    body: Schema | None = None,
    errors: tuple[str, ...] = (),
    rules: tuple[str, ...] = (),
    media_types: tuple[str, ...] = (),
) -> Callable[[Handler], Operation]:
    """Make a handler an operation of the API."""

    def declare(handler: Handler) -> Operation:
        return Operation(
            handler=handler,
            access=access,
            query=empty_query() if query is None else query,
            body=body,
            responses=responses,
            errors=errors,
            rules=rules,
            media_types=media_types,
        )

    return declare
