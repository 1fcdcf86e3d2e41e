"""What Stella asks of a cloud: which instances are gone, a place on a host for what users add to theirs, and moves to other hosts.

Stand-alone the hosts' reports answer, and the database alone counts (`stella.clouds.standalone`). Under OpenStack, Nova and Placement.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from stella.control.move_progress import Movement


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An instance that its host, which reports, has not reported since ``gone_at`` (Unix seconds)."""

    uuid: str
    host: str
    gone_at: float


class Unanswered(Exception):
    """The cloud cannot be asked at present; nothing may be concluded from that."""


class Cloud(Protocol):
    """A cloud."""

    def gone(self, missing: Collection[Missing]) -> frozenset[str]:
        """The uuids among these that do not exist any more, or not where they could run. Raises `Unanswered`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """All that an instance's SLO takes on one host, its flavor's part included.

    ``instance`` and ``project`` are uuids; ``provider`` is the uuid of the host's compute node in Placement (its root provider);
    ``resources`` are whole numbers of resource classes, as `stella.model.resources.resources_of` counts them: empty to let go of all.
    ``at_least``: what is held beyond them stays, since another change of the same SLO may be about to need it.
    """

    instance: str
    project: str
    provider: str
    resources: Mapping[str, int]
    at_least: bool = False


class NoRoom(Exception):
    """The host has not so much left of a resource class. ``free`` is the largest amount of it that the SLO could hold there in all."""

    def __init__(self, resource_class: str, free: int) -> None:
        """``free`` is in units of the class."""
        super().__init__(f"{resource_class}: room for {free}")
        self.resource_class = resource_class
        self.free = free


class Ledger(Protocol):
    """Where what is taken on hosts is counted, beside the database: Placement."""

    def hold(self, claim: Claim) -> None:
        """Make Stella's own consumer hold exactly what of ``claim`` the instance's flavor does not hold already.

        Doing it again is harmless. Raises `NoRoom`, with nothing changed, and `Unanswered`: then it is not known whether
        something changed.
        """


class Impossible(Exception):
    """The cloud refuses this one move; the message says why. Nothing was changed."""


class Mover(Protocol):
    """A cloud that can move instances. Every method raises `Unanswered`; then it is not known whether something changed."""

    def movement(self, instance: str) -> Movement:
        """Where an instance is, and whether it moves."""

    def migrate(self, instance: str, host: str) -> None:
        """Ask for a live migration to ``host``, which the cloud's own scheduler must agree to. Raises `Impossible`."""

    def evacuate(self, instance: str, host: str) -> None:
        """Ask for an instance of a dead host to be rebuilt on ``host``, from its disks. Raises `Impossible`."""

    def is_down(self, host: str) -> bool:
        """Whether the cloud itself takes the host for dead."""

    def reserve(self, claim: Claim, *, source: str) -> Mapping[str, int]:
        """Hold on another host what an instance will need there beside what the cloud itself will hold; what is held now.

        ``claim`` is for the destination; ``source`` is the provider of the host that it leaves. Raises `NoRoom`, with nothing changed.
        """

    def release(self, claim: Claim) -> None:
        """Let go of what was reserved for ``claim``, whose resources do not matter. Doing it again is harmless."""
