"""What `xgos check` knows of a host: values only, so that every case can be tested without such a host."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from stella.linux.domain_xml import Interface
from stella.xgos.sensing.inspection import Inspection


class Master(enum.StrEnum):
    """What a device is a port of, as the kernel tells."""

    NONE = "none"
    BRIDGE = "bridge"
    OPENVSWITCH = "openvswitch"
    OTHER = "other"
    NO_DEVICE = "no device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An instance's link: how libvirt plugged it, and what the kernel says of its device."""

    interface: Interface
    master: Master


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The control groups. ``version`` 0: no hierarchy with the cpu controller, ``error`` says why. ``cpuset_mount`` may be empty."""

    version: int = 0
    mount: str = ""
    cpuset_mount: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAnswer:
    """One exchange with stella-api. ``offset_seconds``: how far this host's clock is ahead of the API's; None where it sent no date.

    ``uncertainty_seconds``: by how much that may be wrong.
    """

    status: int = 0
    error: str = ""
    offset_seconds: float | None = None
    uncertainty_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent that runs; ``error`` where it cannot be asked."""

    version: str = ""
    mode: str = ""
    failing_sensors: Sequence[str] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaHost:
    """Nova's name of this host, and from where; ``error`` where its configuration cannot be read. ``files`` empty: there is none."""

    name: str = ""
    files: Sequence[str] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """All of it. ``hypervisor`` is a text where libvirt cannot be asked; ``api`` None where the host is not linked to one.

    ``has_schedstat`` None: it cannot be read. ``link_limits_lack``: why ``packets`` or ``bytes`` of links cannot be limited.
    """

    version: str
    host_name: str
    groups: Groups
    hypervisor: Inspection | str
    links: Sequence[Link] = ()
    has_schedstat: bool | None = True
    link_limits_lack: Sequence[tuple[str, str]] = ()
    api: ApiAnswer | None = None
    agent: Agent = Agent()
    nova: NovaHost = NovaHost()
