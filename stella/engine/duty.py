"""What a duty is, and what it works with. Duties know neither threads nor the lease."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from stella.clouds.port import Cloud, Ledger
from stella.conf.retention import Retention
from stella.db.database import Session

T = TypeVar("T")


class Store(Protocol):
    """The database while this process leads."""

    def reader(self) -> AbstractContextManager[Session]:
        """A session that sees one state and changes nothing."""

    def write(self, change: Callable[[Session], T]) -> T:
        """Run ``change`` in one fenced transaction, perhaps more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """After how many seconds something is silent or gone, and how long things are kept."""

    host_silent_seconds: float
    violation_silent_seconds: float
    instance_gone_seconds: float
    retention: Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a duty works with. ``clock`` gives Unix seconds, the same that the API's processes keep (NTP)."""

    store: Store
    cloud: Cloud
    ledger: Ledger
    limits: Limits
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run did: rows changed, whether there is more to do at once, and what waits (None: it is not counted).

    ``hosts``: how many hosts are in a state that somebody should look at, by its name.
    """

    changed: int = 0
    more: bool = False
    backlog: int | None = None
    hosts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Something done again and again. One run is short (about a second): what is left is said with `Outcome.more`.

    ``is_hinted`` tells whether there is something to do before the interval has passed; it is asked several times a second.
    """

    name: str
    interval_seconds: float
    run: Callable[[Work], Outcome]
    is_hinted: Callable[[], bool] | None = None


class Companion(Protocol):
    """Something that goes on beside the duties while this process leads. Both return at once and may be called again and again."""

    def start(self) -> None:
        """This process leads."""

    def stop(self) -> None:
        """It leads no more."""


def limits_of(config: Any) -> Limits:
    """The limits that the configuration sets."""
    return Limits(
        host_silent_seconds=config.link.silent_seconds,
        violation_silent_seconds=config.engine.violation_silent_seconds,
        instance_gone_seconds=config.engine.instance_gone_seconds,
        retention=Retention.of(config),
    )
