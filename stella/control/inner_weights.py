"""The weights of an instance's groups beside each other: of its I/O threads, and of the vCPUs on other CPUs than theirs."""

from collections.abc import Mapping, Sequence

from stella.control.placement import Stage
from stella.model.snapshot import Role

IO_WEIGHT_FACTOR = 32.0
LARGEST_IO_RATIO = 0.9
"""The largest part of an instance's CPU that its I/O threads are given before its vCPUs."""
LARGEST_VCPU_FACTOR = 64.0
_BUSY_RATIO = 0.5
_LEAST_LOAD = 0.05


def io_has_priority(vcpu_busy_ratios: Sequence[float], *, computes: bool) -> bool:
    """Whether an instance's I/O threads must run at once.

    ``vcpu_busy_ratios``: the share of time in which each vCPU had something to do; ``computes``: it is guaranteed CPU as well.
    Against the vCPU that feeds it, an I/O thread must not have priority: one that runs at once for every packet or request does not
    batch (`docs/decisions/0011`). Against further vCPUs that always compute it must be: they never sleep, and would keep it
    waiting for whole slices.
    """
    busy = sum(1 for busy in vcpu_busy_ratios if busy >= _BUSY_RATIO)
    return busy > (1 if computes else 2)


def io_weight_factor(vcpu_busy_ratios: Sequence[float], *, io_priority: bool) -> float:
    """The weight of an instance's I/O threads in units of what their part of its CPU needs beside all its vCPUs; busy ones count."""
    if not vcpu_busy_ratios:
        return 1.0
    beside = max(1.0, sum(min(1.0, busy) for busy in vcpu_busy_ratios)) / len(vcpu_busy_ratios)
    return beside * (IO_WEIGHT_FACTOR if io_priority else 1.0)


def io_weight(io_ratio: float, factor: float, *, vcpus: int) -> float:
    """The weight of the emulator and of each iothread in units of one vCPU's, 1 or more.

    Beside busy vCPUs (each of weight 1): io_ratio = w / (w + vcpus), so w = vcpus * io_ratio / (1 - io_ratio), times ``factor``.
    """
    ratio = min(max(io_ratio, 0.0), LARGEST_IO_RATIO)
    return max(1.0, vcpus * ratio / (1.0 - ratio) * factor)


def vcpu_weight_factors(
    homes: Mapping[Stage, int],
    busy_ratios: Mapping[Stage, float],
    entitled_cores: Mapping[int, float],
    serving_weight: float,
) -> Mapping[int, float]:
    """The weight of each vCPU (by index) on another CPU than the I/O threads, in units of its own: 1 to `LARGEST_VCPU_FACTOR`.

    The kernel spreads an instance's weight over the CPUs by the load that its groups have on each (``calc_group_shares`` in
    kernel/sched/fair.c). Heavy I/O threads would draw it all to their CPU, and its vCPUs elsewhere would get nothing beside a
    neighbour. So the load on each CPU is made proportional to ``entitled_cores``, what the instance is entitled to there.
    ``busy_ratios``: the share of time in which each stage had something to do; ``serving_weight``: of each I/O thread
    (`io_weight`).
    """
    serving = {cpu for stage, cpu in homes.items() if stage[0] is not Role.VCPU}
    if len(serving) != 1 or serving_weight <= 1.0:
        return {}
    (io_cpu,) = serving
    loads: dict[int, float] = {}
    for stage, cpu in homes.items():
        own = min(1.0, busy_ratios.get(stage, 0.0))
        loads[cpu] = loads.get(cpu, 0.0) + own * (1.0 if stage[0] is Role.VCPU else serving_weight)
    if loads[io_cpu] <= _LEAST_LOAD or entitled_cores.get(io_cpu, 0.0) <= 0:
        return {}
    load_per_core = loads[io_cpu] / entitled_cores[io_cpu]
    return {
        index: min(LARGEST_VCPU_FACTOR, max(1.0, load_per_core * entitled_cores.get(cpu, 0.0) / loads[cpu]))
        for (role, index), cpu in homes.items()
        if role is Role.VCPU and cpu != io_cpu and loads[cpu] > _LEAST_LOAD
    }
