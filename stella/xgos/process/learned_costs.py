"""What was learned of CPU costs, kept over restarts: one JSON file, written whole or not at all."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stella.control.cost import Prior, UnitCost
from stella.control.memory import InstanceMemory, Memory, fresh_costs
from stella.model import wire
from stella.model.slo import Metric
from stella.model.wire import Json
from stella.xgos.durable_files import set_aside, write_atomically

_LOG = logging.getLogger(__name__)
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The host's priors (None: never calibrated) and each instance's costs."""

    version: int = VERSION
    prior: Prior | None = None
    instances: dict[str, list[UnitCost]] = field(default_factory=dict)


def load(path: Path) -> Learned:
    """What the file holds; nothing when it is missing, cut or of another version (then it is set aside)."""
    try:
        learned = wire.decode(Learned, wire.parse(path.read_bytes()))
        if learned.version != VERSION:
            raise ValueError(f"has version {learned.version}, not {VERSION}")
    except FileNotFoundError:
        return Learned()
    except OSError as error:
        _LOG.error("%s: %s; starting without learned costs", path, error.strerror)
        return Learned()
    except ValueError as error:
        set_aside(path, str(error))
        return Learned()
    return learned


def save(path: Path, memory: Memory, prior: Prior | None) -> bool:
    """Write what is known now; False when the disk refused (the agent goes on in memory)."""
    learned = Learned(prior=prior, instances={u: list(m.costs.values()) for u, m in memory.instances.items()})
    try:
        write_atomically(path, wire.dumps(learned) + "\n")
    except OSError as error:
        _LOG.error("%s: %s; learned costs go on in memory", path, error.strerror)
        return False
    return True


def recall(learned: Learned) -> Memory:
    """A memory that begins with what was learned before."""
    return Memory(
        instances={
            uuid: InstanceMemory(costs=fresh_costs(learned.prior or Prior()) | {c.metric: c for c in costs})
            for uuid, costs in learned.instances.items()
        }
    )


def calibrated(memory: Memory, known: Prior) -> Prior | None:
    """The priors that the instances' own histories show, the dearest instance for each cost; None when there is no history.

    Disks show one request size at a time, so their cost per operation and per byte are scaled together: each by its own request size.
    """
    histories = [c for m in memory.instances.values() for c in m.costs.values() if not c.estimated]
    packets = [c for c in histories if c.metric is Metric.NETWORK_PACKETS]
    disks = [c for c in histories if c.metric is Metric.BLOCK_BYTES]
    found = known
    if packets:
        found = replace(found, vcpu_per_packet=max(c.vcpu for c in packets), io_per_packet=max(c.io for c in packets))
    if disks:
        guest = max(_times(c.vcpu, known.unit_costs(c.metric, c.unit_bytes)[0]) for c in disks)
        host = max(_times(c.io, known.unit_costs(c.metric, c.unit_bytes)[1]) for c in disks)
        found = replace(
            found,
            vcpu_per_operation=known.vcpu_per_operation * guest,
            vcpu_per_byte=known.vcpu_per_byte * guest,
            io_per_operation=known.io_per_operation * host,
            io_per_byte=known.io_per_byte * host,
        )
    return found if packets or disks else None


def _times(learned: float, prior: float) -> float:
    """How many times the prior a learned cost is; once, where the prior is nothing to scale."""
    return learned / prior if prior > 0 else 1.0


def show_prior(prior: Prior) -> Mapping[str, Json]:
    """The priors as the control socket tells them."""
    return {
        "vcpu_seconds_per_packet": prior.vcpu_per_packet,
        "io_seconds_per_packet": prior.io_per_packet,
        "vcpu_seconds_per_operation": prior.vcpu_per_operation,
        "io_seconds_per_operation": prior.io_per_operation,
        "vcpu_seconds_per_byte": prior.vcpu_per_byte,
        "io_seconds_per_byte": prior.io_per_byte,
    }


class CostsView(Mapping[str, Json]):
    """What the cost model tells of each instance, printed only for those who look."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def __getitem__(self, uuid: str) -> Json:
        return {
            cost.metric.value: {
                "vcpu_seconds_per_unit": cost.vcpu,
                "io_seconds_per_unit": cost.io,
                "unit_bytes": cost.unit_bytes,
                "history_seconds": cost.seconds,
                "estimated": cost.estimated,
            }
            for cost in self._memory.instances[uuid].costs.values()
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._memory.instances)

    def __len__(self) -> int:
        return len(self._memory.instances)
