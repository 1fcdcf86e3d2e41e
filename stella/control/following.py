"""What becomes of an instance's SLO when its server changes. Decided from what Nova says of the server and what Stella knows; pure.

The SLO that is wanted is the flavor's together with what the user added. It is in force where the server is, and only there:

- the server is deleted: withdrawn; not while its host is silent, whose QEMU may live
- shelved and offloaded: suspended, so that it reserves nothing; kept, and in force again where the server comes back
- a new flavor that contradicts what the user added: suspended, until the user adds something else
- anything else: in force where its host reports it. A flavor that changed (resize, confirm, revert) is a change of the SLO
- Nova does not say, or the server is on its way between hosts: all stays as it is
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from stella.model.flavor import slo_of
from stella.model.slo import InvalidSlo, Slo
from stella.model.slo_union import together

DELETED, SHELVED_OFFLOADED, UNKNOWN = "DELETED", "SHELVED_OFFLOADED", "UNKNOWN"
"""Nova's own words for a server's status, those that matter here. UNKNOWN: its cell is down."""

SHELVED = "the server is shelved: it has no host"
_FIGURES = re.compile(r"(?<![\w.-])[0-9]+([.,][0-9]+)*(?![\w-])")
"""Numbers, and not those in names such as host1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What Nova says of a server. ``extra_specs`` are those of the flavor that it was made of; None where Nova does not say.

    ``host`` is Nova's name of its host; None while it has none, or where Nova does not say. ``volumes`` are the ids of its
    volumes, ``disks`` names its other disks, without swap and configuration drive, which no floor is used on; ``disk_bytes`` is the
    size of its flavor's disks.
    """

    uuid: str
    status: str
    name: str = ""
    project: str = ""
    host: str | None = None
    task_state: str | None = None
    flavor: str = ""
    vcpus: int | None = None
    disk_bytes: int | None = None
    extra_specs: Mapping[str, str] | None = None
    disks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What Stella knows of the instance: its host, and its SLO as ``flavor`` sells it and with what was ``added``.

    ``is_reported``: its host reports it at present. ``is_held``: its SLO is in force and reserves; ``is_suspended``: it is kept, but
    not in force, for ``reason``.
    """

    host: str
    is_reported: bool
    is_silent: bool = False
    flavor: Slo | None = None
    added: Slo | None = None
    is_held: bool = False
    is_suspended: bool = False
    reason: str = ""
    cloud_state: str | None = None


class Do(Enum):
    """What is to be done with an SLO."""

    KEEP = "keep"
    SET = "set"
    SUSPEND = "suspend"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be done: ``slo`` is what to SET, or to keep while it is suspended; ``flavor`` the part of it that the flavor sells.

    ``reason``: why, for a person. ``cloud_state``: Nova's status to keep; None where it said none.
    """

    do: Do
    cloud_state: str | None
    flavor: Slo | None = None
    slo: Slo | None = None
    reason: str = ""


def decide(server: Server, known: Followed) -> Step:
    """What ``server`` means for the SLO that is ``known``."""
    state = server.status
    if state == DELETED:
        return _deleted(known)
    if state == UNKNOWN or server.extra_specs is None:
        return _keep(None, "Nova does not tell its flavor")
    try:
        flavor = slo_of(server.extra_specs)
    except InvalidSlo as error:
        return _keep(state, f"flavor {server.flavor}: {error}")
    wanted, contradiction = _all(flavor, known.added)
    because = SHELVED if state == SHELVED_OFFLOADED else contradiction
    if wanted is None:
        if not (known.is_held or known.is_suspended):
            return _keep(state)
    elif known.is_held and flavor == known.flavor and state != SHELVED_OFFLOADED:
        return _keep(state)
    elif because:
        if known.is_suspended and known.reason == because and flavor == known.flavor:
            return _keep(state)
        return Step(do=Do.SUSPEND, cloud_state=state, flavor=flavor, slo=wanted, reason=because)
    waits = _waits(server, known)
    if waits:
        return _keep(state, waits)
    if wanted is None:
        return Step(do=Do.WITHDRAW, cloud_state=state, reason=f"its flavor {server.flavor} guarantees nothing")
    return Step(do=Do.SET, cloud_state=state, flavor=flavor, slo=wanted, reason=f"its flavor is {server.flavor}")


def _keep(state: str | None, reason: str = "") -> Step:
    return Step(do=Do.KEEP, cloud_state=state, reason=reason)


def _deleted(known: Followed) -> Step:
    if not (known.is_held or known.is_suspended):
        return _keep(DELETED)
    if known.is_silent and known.is_held:
        return _keep(DELETED, f"the host {known.host} is silent")
    return Step(do=Do.WITHDRAW, cloud_state=DELETED, reason="the server is deleted")


def _waits(server: Server, known: Followed) -> str:
    """Why nothing can be said yet of the host that the SLO would be set on; empty where it can."""
    if not known.is_reported:
        return f"the host {known.host} does not report it"
    if known.is_silent:
        return f"the host {known.host} is silent"
    if server.host is not None and server.host != known.host:
        return f"Nova has it on {server.host}, and {known.host} reports it"
    return ""


def _all(flavor: Slo | None, added: Slo | None) -> tuple[Slo | None, str]:
    """What is guaranteed in all, None for nothing; or the flavor's alone and why both together cannot be."""
    if flavor is None or added is None:
        return flavor if added is None else added, ""
    try:
        return together(flavor, added), ""
    except InvalidSlo as error:
        return flavor, f"what its flavor guarantees and what was added contradict one another: {error}"


def is_same_reason(one: str, other: str) -> bool:
    """Whether two reasons say the same, whatever their figures: what is free changes all the time, and is no news."""
    return _FIGURES.sub("#", one) == _FIGURES.sub("#", other)
