"""What a host has left to guarantee: in all, and on any of its CPUs.

*In all*: what instances can have without the part that `cpu.divide` always leaves to weights. *On its CPUs*: while the host is full
every instance is placed (`placement`), so a reservation must also fit the CPUs. An instance with one vCPU is one piece; one with
several has a piece for each vCPU, its even part of the guest's reservation, and one for its I/O threads (more where no one thread
could do it). Pieces are packed worst-fit decreasing: the largest first, each to the emptiest CPU it may use.

A CPU is filled by reservations *without* their margin, which is for when costs rise: then instances on that CPU share by weight.
"""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stella.control.cpu import SMALLEST_REST_RATIO
from stella.control.reservation import SERIAL_STAGE_CORES, Reservation

EPSILON_CORES = 5e-10

CpuSet = tuple[int, ...] | None
"""Numbers of the CPUs that an instance may use; None: all of the host's."""

Piece = tuple[float, CpuSet]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is guaranteed to one other instance already, margin included, whether it runs just now or not.

    ``io_ratio`` (0 to 1) is the part of ``cores`` for its I/O threads.
    """

    cores: float
    vcpus: int = 1
    io_ratio: float = 0.0
    allowed_cpus: CpuSet = None

    def pieces(self) -> list[Piece]:
        """What has to find a CPU each."""
        io = self.cores * self.io_ratio
        return pieces(Reservation(vcpu_cores=self.cores - io, io_cores=io), self.vcpus, self.allowed_cpus)


def pieces(reservation: Reservation, vcpus: int, allowed_cpus: CpuSet = None) -> list[Piece]:
    """A reservation in the pieces that have to find a CPU each; those that need nothing are left out."""
    if vcpus <= 1:
        return [(reservation.cores, allowed_cpus)] if reservation.cores > EPSILON_CORES else []
    threads = math.ceil(reservation.io_cores / SERIAL_STAGE_CORES) or 1
    parts = [reservation.vcpu_cores / vcpus] * vcpus + [reservation.io_cores / threads] * threads
    return [(part, allowed_cpus) for part in parts if part > EPSILON_CORES]


def pack(cpus: Sequence[int], found: Iterable[Piece]) -> dict[int, float]:
    """The load of each CPU after worst-fit decreasing; a piece that may use none of ``cpus`` is left out.

    Each set of allowed CPUs has a heap of its own. A load there may be out of date, and then only too small, so that one at the top is
    corrected before it is used: O(log CPUs) for each piece.
    """
    loads = dict.fromkeys(cpus, 0.0)
    heaps: dict[CpuSet, list[tuple[float, int]]] = {}
    for cores, allowed in sorted(found, key=lambda piece: -piece[0]):
        heap = heaps.get(allowed)
        if heap is None:
            heap = [(loads[cpu], cpu) for cpu in (cpus if allowed is None else allowed) if cpu in loads]
            heapq.heapify(heap)
            heaps[allowed] = heap
        if not heap:
            continue
        load, cpu = heap[0]
        while load != loads[cpu]:
            heapq.heapreplace(heap, (loads[cpu], cpu))
            load, cpu = heap[0]
        loads[cpu] = load + cores
        heapq.heapreplace(heap, (load + cores, cpu))
    return loads


def fits_emptiest(loads: Sequence[float], parts: Sequence[Piece], limit_cores: float) -> bool:
    """Whether ``parts`` fit beside ``loads``, those of the emptiest CPUs in rising order, as many as there are parts or all."""
    heap = list(loads)  # in rising order it is a heap
    for cores, _ in sorted(parts, key=lambda piece: -piece[0]):
        if not heap or heap[0] + cores > limit_cores + EPSILON_CORES:
            return False
        heapq.heapreplace(heap, heap[0] + cores)
    return True


def sellable_cores(capacity_cores: float) -> float:
    """What may be guaranteed of what instances can have in all: `cpu.divide` keeps the rest for weights."""
    return max(0.0, capacity_cores) * (1.0 - SMALLEST_REST_RATIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    """What a host has to guarantee to one instance beside those that hold something already.

    ``capacity_cores`` is what instances can have in all, net of what the host itself takes; ``one_cpu_cores`` the same for any one of
    ``cpus`` (their numbers). The loads of the CPUs are computed once.
    """

    capacity_cores: float
    cpus: tuple[int, ...]
    one_cpu_cores: float
    held: tuple[Held, ...] = ()
    _loads: Mapping[int, float] = field(init=False, repr=False, compare=False)
    _pieces: tuple[Piece, ...] = field(init=False, repr=False, compare=False)
    _free_cores: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Pack what is held."""
        held = tuple(piece for one in self.held for piece in one.pieces())
        object.__setattr__(self, "_pieces", held)
        object.__setattr__(self, "_loads", pack(self.cpus, held))
        object.__setattr__(self, "_free_cores", self.sellable_cores - sum(one.cores for one in self.held))

    @property
    def sellable_cores(self) -> float:
        """What may be guaranteed in all, see `sellable_cores`."""
        return sellable_cores(self.capacity_cores)

    @property
    def free_cores(self) -> float:
        """What is not guaranteed yet; below 0 where the host's own work has grown into what was."""
        return self._free_cores

    @property
    def held_pieces(self) -> int:
        """How many pieces a full packing places."""
        return len(self._pieces)

    def limit_cores(self, margin: float) -> float:
        """What one CPU may carry of reservations that include ``margin``."""
        return self.one_cpu_cores * (1.0 - SMALLEST_REST_RATIO) * max(1.0, margin)

    def emptiest(self, count: int, allowed_cpus: CpuSet) -> list[float]:
        """The ``count`` smallest loads of the CPUs that an instance may use, in rising order."""
        mine = self.cpus if allowed_cpus is None else allowed_cpus
        return heapq.nsmallest(count, [self._loads[cpu] for cpu in mine if cpu in self._loads])

    def fits_packed(self, parts: Sequence[Piece], margin: float) -> bool:
        """Whether everything fits when all of it, ``parts`` with the rest, is packed anew."""
        mine = self.cpus if not parts or parts[0][1] is None else parts[0][1]
        if not any(cpu in self._loads for cpu in mine):
            return not parts
        loads = pack(self.cpus, [*self._pieces, *parts])
        return max(loads.values(), default=0.0) <= self.limit_cores(margin) + EPSILON_CORES
