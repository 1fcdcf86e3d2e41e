"""One case in words: who lives there, what happens and when, which floors are missed, and what became of each property."""

from collections.abc import Callable

from stella.sim.cases import Case, case
from stella.sim.check import PROPERTIES, Result, result_of
from stella.sim.closed_loop import ClosedLoop
from stella.sim.instance import InstanceSpec
from stella.sim.loads import Load, LoadKind
from stella.sim.measure import Measured, Miss

Say = Callable[[str], object]
_ASKS = {LoadKind.NETWORK: "packets/s", LoadKind.BLOCK: "bytes/s", LoadKind.CPU: "core of each vCPU"}


def tell(seed: int, cores: int, say: Say, *, overruns: bool = False) -> Result:
    """Run the case of a seed and ``say`` a line for all that happens."""
    found = case(seed, cores)
    _tell_hosts(found, say)
    told = 0

    def look(loop: ClosedLoop, measured: Measured) -> None:
        nonlocal told
        for what in loop.happened:
            say(f"{loop.seconds:7.2f} s  {what}")
        for miss in measured.misses[told:]:
            say(_missed(miss))
        told = len(measured.misses)

    result = result_of(seed, cores, overruns=overruns, look=look)
    if result.pair:
        pair = result.pair
        say(f"{pair.uuid} did {pair.ratio:.3f} times the work that it does without its SLO")
    for each in PROPERTIES:
        say(
            f"{each.name}: {each.figure(result):.3f}, {each.bound}: {'holds' if each.holds(result) else 'DOES NOT HOLD'}"
        )
    return result


def _tell_hosts(found: Case, say: Say) -> None:
    say(
        f"seed {found.seed}: a host of {found.cores} CPUs for {found.seconds:g} s, a tick every {found.tick_seconds:g} s"
    )
    for spec in found.instances:
        say(f"  {_who(spec)}")


def _who(spec: InstanceSpec) -> str:
    vcpus = "1 vCPU" if spec.vcpus == 1 else f"{spec.vcpus} vCPUs"
    return f"{spec.name}, {vcpus}: {'; '.join(_load(load) for load in spec.loads)}"


def _load(load: Load) -> str:
    wave = load.wave
    when = f", awake {wave.awake_ratio:.0%} of every {wave.period_seconds:.0f} s" if wave.period_seconds > 0 else ""
    return f"{load.peak:.4g} {_ASKS[load.kind]}{when}"


def _missed(miss: Miss) -> str:
    return f"{miss.at_seconds:7.2f} s  {miss.uuid} had {miss.got:.4g} of {miss.floor:.4g} {miss.metric.unit} in this window"
