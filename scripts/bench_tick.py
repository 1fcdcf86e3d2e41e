"""How long a tick takes on a host with many instances, and how long a refusal takes. Not a test: it prints figures.

Usage: bench_tick.py [--instances 200] [--cpus 128] [--ticks 60] [--profile]. The host is a made-up tree in a temporary directory, so
what is read are files and not the kernel's; between ticks its counters move as those of busy guests. A tick here is sense, bounds,
decide and plan; half of the instances have an SLO.
"""

import argparse
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from stella.control import admission
from stella.control.capacity import Held, HostCapacity
from stella.control.memory import Memory, Settings, fresh_costs
from stella.control.tick import decide
from stella.model.allocation import Intent
from stella.model.slo import parse_slo
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.host import HostActuation
from stella.xgos.actuation.journal import Journal
from stella.xgos.host_files import HostFiles
from stella.xgos.process import garbage_collection
from stella.xgos.sensing.sensors import open_sensors
from tests.fixtures.many_instances import ManyInstances, uuid_of

_WARM_UP_TICKS = 8
_STEPS = ("sense", "bounds", "decide", "plan")
_TICK_SECONDS = 0.25
_SLO = {"cpu": {"floor": 0.2}, "network_packets": {"floor": 1000}}


def show(name: str, seconds: list[float], limit_milliseconds: float | None = None) -> None:
    """One line: median and spread in milliseconds."""
    low, *_, high = statistics.quantiles(seconds, n=20)
    must = f"   must be below {limit_milliseconds:g}" if limit_milliseconds else ""
    middle, most = statistics.median(seconds), max(seconds)
    print(
        f"{name:24} median {middle * 1e3:7.2f} ms   5-95 % {low * 1e3:7.2f} to {high * 1e3:7.2f}"
        f"   largest {most * 1e3:7.2f}   n {len(seconds)}{must}"
    )


def ticks(host: ManyInstances, count: int, profile: cProfile.Profile | None) -> None:
    """Time ``count`` ticks and print what their steps took."""
    slo, settings, clock = parse_slo(_SLO), Settings(), [1000.0]
    intents = {
        uuid_of(n): Intent(uuid=uuid_of(n), slo=slo, generation=1, reserved_cpu_cores=0.3, estimated=True)
        for n in range(0, host.instances, 2)
    }
    apply = Apply(actuators(HostFiles(str(host.root))), Journal(""), Audit("/dev/null"), dry_run=True)
    actuation = HostActuation(apply, None, observe=True)
    sensors = open_sensors(str(host.root), monotonic=lambda: clock[0], wall=lambda: clock[0])
    garbage_collection.settle()
    memory, took = Memory(), {step: list[float]() for step in _STEPS}
    for number in range(_WARM_UP_TICKS + count):
        clock[0] += _TICK_SECONDS
        host.advance(60.0 + number * _TICK_SECONDS)
        warm = number >= _WARM_UP_TICKS
        if profile is not None and warm:
            profile.enable()
        marks = [time.perf_counter()]
        snapshot = sensors.sense()
        marks.append(time.perf_counter())
        snapshot = actuation.bounds(snapshot)
        marks.append(time.perf_counter())
        decision, _, memory = decide(snapshot, intents, memory, settings)
        marks.append(time.perf_counter())
        actuation.planned(snapshot, decision)
        marks.append(time.perf_counter())
        if profile is not None:
            profile.disable()
        failed = [sensor.error for sensor in snapshot.sensors if not sensor.ok]
        assert not failed and len(snapshot.instances) == host.instances, failed
        if warm:
            for step, begin, end in zip(_STEPS, marks, marks[1:], strict=False):
                took[step].append(end - begin)
    sensors.close()
    for step, seconds in took.items():
        show(step, seconds)
    show(f"tick of {host.instances} instances", [sum(each) for each in zip(*took.values(), strict=True)], 50.0)


def refusals(cpus: int, slos: int, count: int) -> None:
    """Time refusals on a host that is nearly sold, and print what they took."""
    ask = _refusal(cpus, slos)
    took = []
    for _ in range(count):
        begin = time.perf_counter()
        accepted = ask()
        took.append(time.perf_counter() - begin)
        assert not accepted
    show(f"refusal, {cpus} CPUs, {slos} SLOs", took, 5.0)


def _refusal(cpus: int, slos: int) -> Callable[[], bool]:
    """A question whose answer is no: with what is held, as the loop hands it over, made anew each time."""
    slo = parse_slo({"cpu": {"floor": 8.0}, "network_packets": {"floor": 5000}})
    held = tuple(Held(cores=0.96 * cpus * 0.97 / slos * (0.5 + (n % 11) / 10), vcpus=1 + n % 4) for n in range(slos))
    costs, shape = fresh_costs(Settings().prior, slo), admission.InstanceShape(vcpus=8, iothreads=1, links=1, disks=1)

    def ask() -> bool:
        capacity = HostCapacity(capacity_cores=cpus * 0.98, cpus=tuple(range(cpus)), one_cpu_cores=0.98, held=held)
        return admission.admit(slo, costs, shape=shape, margin=1.1, capacity=capacity).accepted

    return ask


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--cpus", type=int, default=128)
    parser.add_argument("--ticks", type=int, default=60)
    parser.add_argument("--slos", type=int, default=150)
    parser.add_argument("--profile", action="store_true", help="show where the time goes (ticks are slower then)")
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    with tempfile.TemporaryDirectory() as directory:
        host = ManyInstances(root=Path(directory), instances=options.instances, cpus=options.cpus)
        host.write()
        ticks(host, options.ticks, profile)
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    refusals(options.cpus, options.slos, options.ticks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
