"""What runs in simulated instances: loads that ask for packets, bytes or CPU, and wake and idle.

Demand is a pure function of time, so that it does not depend on how the time was cut into steps.
"""

import enum
import math
from dataclasses import dataclass

from stella.sim import chance

JITTER_SECONDS = 0.5
"""The cost of a packet or request stays the same for so long."""


class LoadKind(enum.StrEnum):
    """What a load asks for: packets, block bytes, or the CPU time of vCPUs."""

    NETWORK = "network"
    BLOCK = "block"
    CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """When a load is awake. In each period it is awake for about ``awake_ratio`` of it, drawn anew each time.

    ``low`` is the part of the peak that it asks for while it idles; ``period_seconds`` 0: it never idles.
    """

    period_seconds: float = 0.0
    awake_ratio: float = 1.0
    low: float = 0.0

    def level(self, seed: int, unix_seconds: float) -> float:
        """The part of the peak that is asked for, 0 to 1."""
        if self.period_seconds <= 0:
            return 1.0
        at = unix_seconds / self.period_seconds + chance.unit(seed, 0)
        cycle = math.floor(at)
        spread = 0.6 + 0.8 * chance.unit(seed, cycle + 1)
        return 1.0 if at - cycle < self.awake_ratio * spread else self.low


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load of an instance.

    ``peak``: packets/s, block bytes/s, or cores of each vCPU, while it is awake. A unit (a packet, a byte, a core-second) costs
    ``vcpu_seconds`` in the guest and ``io_seconds`` in QEMU, each varied by ``jitter_ratio``. ``unit_bytes``: size of a packet or
    request. ``forward_ratio``: the part that is sent or read. ``vcpus``: which vCPUs it runs on; one, but for CPU loads.
    """

    kind: LoadKind
    peak: float
    wave: Wave = Wave()
    vcpus: tuple[int, ...] = (0,)
    vcpu_seconds: float = 1.0
    io_seconds: float = 0.0
    jitter_ratio: float = 0.0
    unit_bytes: float = 0.0
    forward_ratio: float = 1.0

    def demand(self, seed: int, unix_seconds: float) -> float:
        """What it asks for, in units of ``peak``."""
        return self.peak * self.wave.level(seed, unix_seconds)

    def cost_factor(self, seed: int, unix_seconds: float) -> float:
        """What a unit costs now, as a multiple of what it costs on average."""
        if not self.jitter_ratio:
            return 1.0
        draw = chance.unit(chance.derived(seed, "cost"), math.floor(unix_seconds / JITTER_SECONDS))
        return 1.0 + self.jitter_ratio * (2.0 * draw - 1.0)


def network(
    packets_per_second: float, *, wave: Wave = Wave(), packet_bytes: float = 512.0, tx_ratio: float = 0.9, vcpu: int = 0
) -> Load:
    """A server that sends; packets cost what they cost in the laboratory (`stella.control.cost.Prior`)."""
    return Load(
        kind=LoadKind.NETWORK,
        peak=packets_per_second,
        wave=wave,
        vcpus=(vcpu,),
        vcpu_seconds=12e-6,
        io_seconds=11e-6,
        jitter_ratio=0.15,
        unit_bytes=packet_bytes,
        forward_ratio=tx_ratio,
    )


def block(
    bytes_per_second: float,
    *,
    wave: Wave = Wave(),
    request_bytes: float = 65536.0,
    read_ratio: float = 0.7,
    vcpu: int = 0,
) -> Load:
    """A database or a copy; requests cost what they cost in the laboratory."""
    return Load(
        kind=LoadKind.BLOCK,
        peak=bytes_per_second,
        wave=wave,
        vcpus=(vcpu,),
        vcpu_seconds=50e-6 / request_bytes + 0.25e-9,
        io_seconds=40e-6 / request_bytes + 0.3e-9,
        jitter_ratio=0.15,
        unit_bytes=request_bytes,
        forward_ratio=read_ratio,
    )


def compute(vcpus: int, *, busy_ratio: float = 1.0, wave: Wave = Wave()) -> Load:
    """A guest that only computes, on its first ``vcpus``."""
    return Load(kind=LoadKind.CPU, peak=busy_ratio, wave=wave, vcpus=tuple(range(vcpus)))
