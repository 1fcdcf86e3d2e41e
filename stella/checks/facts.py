"""What `stella-status` knows of a cloud: values only, so that every case can be tested without such a cloud. Never a secret."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One log in to Keystone. ``error`` where it did not succeed. ``services`` are the types in the catalogue."""

    error: str = ""
    user: str = ""
    roles: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """An enrolled host as the database has it; times are Unix seconds.

    ``clock_offset_seconds``: how far its clock was ahead of this one's when its last report came, less the time that the report took.
    None where there is none to compare.
    """

    name: str
    mode: str
    has_capacity: bool
    reported_at: float | None = None
    version: str = ""
    clock_offset_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Which engine leads, if one does, and its last sign of life (Unix seconds)."""

    held: bool
    renewed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Nova:
    """What Nova answered. ``hosts``: those with a nova-compute, and whether it is up."""

    error: str = ""
    version: tuple[int, int] = (0, 0)
    hosts: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What Placement answered. Of each enrolled host with a capacity: its resource classes in Stella's provider.

    None where that provider, or (then the host is in ``without_root``) its compute node's own, does not exist.
    """

    error: str = ""
    version: tuple[int, int] = (0, 0)
    classes: Mapping[str, Collection[str] | None] | None = None
    without_root: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaConf:
    """The options of Nova's that Stella depends on. ``files`` empty: none was named. ``error`` where they cannot be read.

    ``login`` are the options of ``[stella]`` that are set, by name alone.
    """

    files: Sequence[str] = ()
    error: str = ""
    available_filters: Sequence[str] = ()
    enabled_filters: Sequence[str] = ()
    weight_classes: Sequence[str] = ()
    login: frozenset[str] = frozenset()
    notification_drivers: Sequence[str] = ()
    notification_topics: Sequence[str] = ()
    notification_format: str = ""
    control_exchange: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """One address of the message queue; ``error`` where it does not speak AMQP."""

    address: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """What stella-engine listens to. ``topic`` empty: to nothing."""

    topic: str = ""
    exchange: str = ""
    brokers: Sequence[Broker] = ()
