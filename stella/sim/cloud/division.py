"""How one host divides its CPU and its disks, over some seconds: `stella.control.cpu.divide`, and weights as the kernel has them.

Where all instances of a host want less than it has, each gets what it wants, and nothing is asked here. Where they want more, the
real control law says what each is entitled to, the agent makes weights of that, and weighted max-min over the whole host is what
weights do.
`stella.sim.machine` has a queue for each CPU and ticks of 250 ms; a test compares the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stella.control.cpu import CpuClaim, CpuShare, divide
from stella.sim.scheduler import fill


@dataclass(frozen=True, slots=True)
class Divided:
    """Of each claim: cores that it got, cores that it is entitled to, and whether what was set aside for it was granted."""

    got: list[float]
    allocated: list[float]
    fits: list[bool]


def divided(claims: Sequence[CpuClaim], *, for_floors: float, room: float) -> Divided:
    """Divide a host. ``for_floors`` is what the agent counts on (`capacity_for_floors`), ``room`` what there is, both in cores."""
    shares = divide(for_floors, claims)
    ordered: list[CpuShare] = [shares[claim.uuid] for claim in claims]
    allocated = [share.allocation_cores for share in ordered]
    got = fill(room, [claim.demand_cores for claim in claims], allocated)
    return Divided(got=got, allocated=allocated, fits=[share.fits for share in ordered])


def disks(capacity: float, asked: Sequence[float]) -> list[float]:
    """What each gets of a device that is too slow for all: an equal part, none more than it asks. No floor is kept there."""
    return fill(capacity, asked, [1.0] * len(asked))
