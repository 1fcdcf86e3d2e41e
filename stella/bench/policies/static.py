"""The best arrangement that an expert would set once, knowing what each load costs when it is alone on this very machine.

- What each instance needs is sized from its own solo run, with a margin for jitter; best-effort instances share the rest max-min.
- Every thread has a CPU: guaranteed instances are packed so that the fullest CPU carries as little as possible (all placements are
  tried while there are few, else the largest goes first to the emptiest CPU), neighbours fill what is left.
- Weights are what each was sized for; inside an instance in proportion to what its threads used alone, I/O threads doubled.
- Neighbours have a quota: what they were sized for is the most they get.

It knows what Stella does not: the solo runs. It does not lend an idle floor to a neighbour beyond its quota, and an SLO or a load
that changes later changes nothing.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stella.bench.fair import Solo, floor_cores, max_min
from stella.bench.lab.rig import Rig
from stella.bench.policies.base import PolicyError, SetOncePolicy, connect, cpu_map, guest_group
from stella.bench.results import Refusal
from stella.bench.scenario import Instance, Scenario
from stella.model.slo import Slo

MARGIN_RATIO = 1.15
IO_WEIGHT_FACTOR = 2.0
LEAST_CORES = 0.05
"""Nobody is sized for less."""
_WHOLE_UP_TO_CORES = 0.9
_MOST_PLACEMENTS = 20_000
_SHARES_PER_CORE = 1024
_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """One instance: the cores that it was sized for, the CPU of each of its vCPUs and of its I/O threads, and inner weights by role.

    ``quota_cores``: the most that it gets; None for one with an SLO.
    """

    cores: float
    quota_cores: float | None
    vcpu_cpus: tuple[int, ...]
    serving_cpu: int
    inner: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Threads that go to one CPU: vCPUs by number, and ``-1`` for all that serves I/O."""

    instance: str
    threads: tuple[int, ...]
    cores: float


def sized_cores(
    scenario: Scenario, slos: Mapping[str, Slo], solo: Mapping[str, Solo], *, capacity_cores: float
) -> dict[str, float]:
    """What each instance is sized for: its floors with a margin, or a max-min share of what those leave. Pure."""
    needs = {}
    for name, slo in slos.items():
        floors = [(o, o.floor) for o in slo.objectives if o.floor is not None]
        needs[name] = MARGIN_RATIO * sum(floor_cores(solo.get(name), floors))
    free = [i for i in scenario.instances if needs.get(i.name, 0.0) == 0.0]
    wants = {i.name: solo[i.name].cores if i.name in solo else 0.0 for i in free}
    shares = max_min(capacity_cores - sum(needs.values()), wants)
    return {i.name: max(LEAST_CORES, needs.get(i.name) or shares.get(i.name, 0.0)) for i in scenario.instances}


def _pieces(instance: Instance, cores: float, alone: Solo | None, *, guaranteed: bool) -> list[_Piece]:
    """A guaranteed instance stays whole where a CPU can carry it; others have a piece for each vCPU, I/O with the first."""
    vcpus = tuple(range(instance.vcpus))
    if instance.vcpus == 1 or (guaranteed and cores <= _WHOLE_UP_TO_CORES):
        return [_Piece(instance.name, (*vcpus, -1), cores)]
    serving = cores * alone.serving_cores / alone.cores if guaranteed and alone and alone.cores > 0 else 0.0
    each = (cores - serving) / instance.vcpus
    if guaranteed:
        return [*(_Piece(instance.name, (n,), each) for n in vcpus), _Piece(instance.name, (-1,), serving)]
    return [_Piece(instance.name, (n, -1) if n == 0 else (n,), each) for n in vcpus]


def place(cpus: Sequence[int], first: Sequence[_Piece], then: Sequence[_Piece]) -> list[tuple[_Piece, int]]:
    """A CPU for each piece: those ``first`` so that the fullest CPU carries least, the others each to the emptiest. Pure."""
    load = dict.fromkeys(cpus, 0.0)

    def fill(pieces: Sequence[_Piece]) -> Iterator[tuple[_Piece, int]]:
        for piece in sorted(pieces, key=lambda p: -p.cores):
            cpu = min(cpus, key=lambda c: (load[c], c))
            load[cpu] += piece.cores
            yield piece, cpu

    placed: list[tuple[_Piece, int]] = []
    if len(cpus) ** len(first) <= _MOST_PLACEMENTS:

        def fullest(chosen: Sequence[int]) -> list[float]:
            sums = dict.fromkeys(cpus, 0.0)
            for piece, cpu in zip(first, chosen, strict=True):
                sums[cpu] += piece.cores
            return sorted((round(cores, 6) for cores in sums.values()), reverse=True)

        best = min(itertools.product(cpus, repeat=len(first)), key=fullest)
        placed = list(zip(first, best, strict=True))
        for piece, cpu in placed:
            load[cpu] += piece.cores
    else:
        placed = list(fill(first))
    return [*placed, *fill(then)]


def arrange(
    scenario: Scenario, slos: Mapping[str, Slo], solo: Mapping[str, Solo], *, cpus: Sequence[int], overhead_cores: float
) -> dict[str, Arrangement]:
    """The arrangement of every instance. ``overhead_cores``: of what is not the guests', measured in the solo run. Pure."""
    sized = sized_cores(scenario, slos, solo, capacity_cores=len(cpus) - overhead_cores)
    pieces: dict[bool, list[_Piece]] = {True: [], False: []}
    for instance in scenario.instances:
        guaranteed = instance.name in slos
        pieces[guaranteed] += _pieces(instance, sized[instance.name], solo.get(instance.name), guaranteed=guaranteed)
    homes: dict[str, dict[int, int]] = {}
    for piece, cpu in place(cpus, pieces[True], pieces[False]):
        homes.setdefault(piece.instance, {}).update(dict.fromkeys(piece.threads, cpu))
    return {
        i.name: Arrangement(
            cores=sized[i.name],
            quota_cores=_quota(slos.get(i.name), sized[i.name]),
            vcpu_cpus=tuple(homes[i.name][n] for n in range(i.vcpus)),
            serving_cpu=homes[i.name][-1],
            inner=_inner(solo.get(i.name), i.vcpus),
        )
        for i in scenario.instances
    }


def _quota(slo: Slo | None, cores: float) -> float | None:
    if slo is None:
        return cores
    ceilings = [o.ceiling for o in slo.objectives if o.metric.resource == "cpu" and o.ceiling is not None]
    return min(ceilings, default=None)


def _inner(alone: Solo | None, vcpus: int) -> dict[str, float]:
    """Weights inside an instance, in cores: of one vCPU, of the emulator (the main loop) and of the iothread."""
    if alone is None:
        return {}
    return {
        "vcpu": max(LEAST_CORES, alone.vcpu_cores / vcpus),
        "emulator": max(LEAST_CORES, IO_WEIGHT_FACTOR * alone.main_cores),
        "iothread": max(LEAST_CORES, IO_WEIGHT_FACTOR * alone.iothread_cores),
    }


class StaticPolicy(SetOncePolicy):
    """Sets the arrangement once. ``solo`` and ``overhead_cores`` are given before it begins."""

    name = "static"
    why = ": the arrangement was set once"

    def __init__(self, cgroup_root: Path = Path("/sys/fs/cgroup")) -> None:
        super().__init__()
        self.solo: Mapping[str, Solo] = {}
        self.overhead_cores = 0.0
        self._root = cgroup_root

    def begin(self, lab: Rig, scenario: Scenario, slos: Mapping[str, Slo]) -> Sequence[Refusal]:
        """Set it. Raises `PolicyError` without solo runs, or when libvirt refuses: half an arrangement is not the best one."""
        import libvirt  # noqa: PLC0415 (only a bench that runs guests needs it)

        if not self.solo:
            raise PolicyError("static: there are no solo runs to size it from")
        found = arrange(scenario, slos, self.solo, cpus=lab.cpus, overhead_cores=self.overhead_cores)
        connection, live = connect(lab.uri), libvirt.VIR_DOMAIN_AFFECT_LIVE
        size = os.cpu_count() or 1
        try:
            for name, one in found.items():
                domain = connection.lookupByName(name)
                knobs = {"cpu_shares": max(2, round(one.cores * _SHARES_PER_CORE))}
                if one.quota_cores is not None:
                    knobs |= {"global_period": _PERIOD_US, "global_quota": round(one.quota_cores * _PERIOD_US)}
                domain.setSchedulerParametersFlags(knobs, live)
                for number, cpu in enumerate(one.vcpu_cpus):
                    domain.pinVcpuFlags(number, cpu_map((cpu,), size), live)
                domain.pinEmulator(cpu_map((one.serving_cpu,), size), live)
                domain.pinIOThread(1, cpu_map((one.serving_cpu,), size), live)
                self._weigh_inside(lab.partition, name, one)
                self._notes.append(show(name, one))
        except libvirt.libvirtError as error:
            raise PolicyError(f"static: {error}") from None
        finally:
            connection.close()
        return ()

    def _weigh_inside(self, partition: str, name: str, one: Arrangement) -> None:
        """libvirt has no knob for weights inside an instance: an expert writes them where they are."""
        group = guest_group(self._root, partition, name)
        for below in group.glob("**/") if group and one.inner else ():
            cores = one.inner.get(below.name.rstrip("0123456789"))
            for knob, least, most in (("cpu.shares", 2, 262_144), ("cpu.weight", 1, 10_000)):
                if cores is not None and (below / knob).exists():
                    scale = _SHARES_PER_CORE if knob == "cpu.shares" else 100
                    with contextlib.suppress(OSError):
                        (below / knob).write_text(str(max(least, min(most, round(cores * scale)))))


def show(name: str, one: Arrangement) -> str:
    """An arrangement in a line."""
    quota = "" if one.quota_cores is None else f", at most {one.quota_cores:.2f} core"
    cpus = ",".join(map(str, one.vcpu_cpus))
    return f"{name}: sized for {one.cores:.2f} core{quota}, vCPUs on CPU {cpus}, I/O threads on CPU {one.serving_cpu}"
