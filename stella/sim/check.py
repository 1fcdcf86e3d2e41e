"""What must hold of the control law, over many cases, as a table of properties."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace

from stella.sim import chance
from stella.sim.cases import Case, case
from stella.sim.closed_loop import ClosedLoop
from stella.sim.measure import Measured, Recorder, work_of

PAIRED_PART = 0.5
"""So much of a case is run again without one SLO: past the hog's arrival and the first raised floors."""


Look = Callable[[ClosedLoop, Measured], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The work of one instance with its SLO and, in the same case, without one."""

    uuid: str
    having: float
    without: float

    @property
    def ratio(self) -> float:
        """1 or more: it is not slower for having an SLO."""
        return self.having / self.without if self.without > 0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one case: `Measured` in figures. ``pair`` is None where no SLO was admitted."""

    seed: int
    cores: int
    held_ratio: float
    changes_per_minute: float
    wasted_ratio: float
    best_effort_ratio: float
    pair: Pair | None


@dataclass(frozen=True, slots=True)
class Property:
    """One figure of each case and its limit: the least that it must be, or the most where ``at_most``."""

    name: str
    limit: float
    _: KW_ONLY
    at_most: bool
    figure: Callable[[Result], float]

    @property
    def bound(self) -> str:
        """The limit in words."""
        return f"{'<=' if self.at_most else '>='} {self.limit:.2f}"

    def holds(self, result: Result) -> bool:
        """Whether a case is within the limit."""
        found = self.figure(result)
        return found <= self.limit if self.at_most else found >= self.limit

    def worst(self, results: Sequence[Result]) -> Result:
        """The case that is furthest from what is wanted; the first of several."""
        return (max if self.at_most else min)(results, key=self.figure)


PROPERTIES = (
    Property("floors held when they fit, of windows", 0.97, at_most=False, figure=lambda r: r.held_ratio),
    Property(
        "set-points changed, per instance and calm minute", 6.0, at_most=True, figure=lambda r: r.changes_per_minute
    ),
    Property("CPU idle beside who wants it", 0.05, at_most=True, figure=lambda r: r.wasted_ratio),
    Property("best effort, of its fair share", 0.9, at_most=False, figure=lambda r: r.best_effort_ratio),
    Property(
        "work with an SLO, of that without", 0.97, at_most=False, figure=lambda r: r.pair.ratio if r.pair else 1.0
    ),
)


def result_of(seed: int, cores: int, *, overruns: bool = False, look: Look | None = None) -> Result:
    """Run the case of a seed, and once more without the SLO of one instance that had one. ``look`` is called after each tick."""
    found = replace(case(seed, cores), overruns=overruns)
    loop = ClosedLoop(found)
    recorder = Recorder(loop)
    work: dict[str, float] = {}
    for _ in range(round(found.seconds / found.tick_seconds)):
        loop.tick()
        recorder.look()
        if look is not None:
            look(loop, recorder.measured)
        if not work and loop.seconds >= found.seconds * PAIRED_PART:
            work.update((u, work_of(loop.machine.instances[u])) for u in sorted(loop.intents))
    return Result(
        seed=seed,
        cores=cores,
        held_ratio=recorder.measured.held_ratio,
        changes_per_minute=recorder.measured.changes_per_minute,
        wasted_ratio=recorder.measured.wasted_ratio,
        best_effort_ratio=recorder.measured.best_effort_ratio,
        pair=_pair(found, work),
    )


def _pair(found: Case, work: Mapping[str, float]) -> Pair | None:
    """``work``: that of each instance with an SLO until `PAIRED_PART` of the case."""
    if not work:
        return None
    uuid = list(work)[int(chance.unit(chance.derived(found.seed, "pair"), found.cores) * len(work))]
    other = ClosedLoop(found.without_slo(uuid))
    while other.seconds < found.seconds * PAIRED_PART:
        other.tick()
    return Pair(uuid=uuid, having=work[uuid], without=work_of(other.machine.instances[uuid]))


def results(seeds: Sequence[int], cpus: Sequence[int], *, overruns: bool = False) -> Iterator[Result]:
    """The result of each seed on each number of CPUs. Nothing of a case is left in cycles, so no time is spent on looking for them."""
    gc_was_on = gc.isenabled()
    gc.disable()
    try:
        for cores in cpus:
            for seed in seeds:
                yield result_of(seed, cores, overruns=overruns)
    finally:
        if gc_was_on:
            gc.enable()


def table(found: Sequence[Result]) -> Iterator[str]:
    """Lines: each property on each number of CPUs, the worst seed, and whether all hold."""
    width = max(len(each.name) for each in PROPERTIES)
    yield f"{'property':{width}}  {'limit':>8}  CPUs  seeds  {'mean':>7}  {'worst':>7}  of seed  holds"
    for each in PROPERTIES:
        for cores in dict.fromkeys(r.cores for r in found):
            here = [r for r in found if r.cores == cores]
            worst = each.worst(here)
            failed = sum(not each.holds(r) for r in here)
            mean = sum(each.figure(r) for r in here) / len(here)
            yield (
                f"{each.name:{width}}  {each.bound:>8}  {cores:>4}  {len(here):>5}  {mean:>7.3f}  {each.figure(worst):>7.3f}"
                f"  {worst.seed:>7}  {'yes' if not failed else f'no: {failed} do not'}"
            )


def broken(result: Result) -> tuple[Property, ...]:
    """The properties that do not hold in a case."""
    return tuple(each for each in PROPERTIES if not each.holds(result))
