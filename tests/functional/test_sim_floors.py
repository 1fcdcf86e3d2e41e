"""On simulated hosts of several sizes, every floor that the agent admitted is held, by the model's own counters."""

from contextlib import closing
from pathlib import Path

import pytest

from stella.model.attainment import TOLERANCE_RATIO
from stella.model.intent import IntentState
from stella.sim.host import SimulatedHost
from stella.sim.instance import Instance
from stella.xgos.intents.source import wanted

FLOORS = {"web": ("network_packets", 20_000.0), "db": ("block_bytes", 150e6)}
SECONDS = 40


def moved(instance: Instance) -> float:
    c = instance.counters
    return c.tx_packets + c.rx_packets + c.read_bytes + c.write_bytes


def asked(instance: Instance, unix_seconds: float) -> float:
    (flow,) = instance.flows
    return flow.load.demand(flow.seed, unix_seconds)


@pytest.mark.parametrize(("cores", "instances", "seed"), [(2, 5, 0), (2, 5, 4), (4, 8, 1), (4, 8, 5), (8, 16, 2)])
def test_floors_that_were_admitted_are_held(tmp_path: Path, cores: int, instances: int, seed: int) -> None:
    host = SimulatedHost("sim1", tmp_path, cores=cores, instances=instances, seed=seed, tick_seconds=0.25)
    with closing(host):
        host.step(5.0)
        by_name = {one.spec.name: one for one in host.machine.instances.values()}
        floors = {name: FLOORS[name.partition("-")[0]] for name in by_name if name.partition("-")[0] in FLOORS}
        slos = {by_name[n].spec.uuid: wanted({metric: {"floor": floor}}, 1) for n, (metric, floor) in floors.items()}
        host.cloud.publish(1, slos)
        host.step(5.0)
        tick = host.published()
        assert tick is not None
        assert {standing.state for standing in tick.standings.values()} == {IntentState.ENFORCED}
        wanting = met = 0
        for _ in range(SECONDS):
            before = {name: moved(by_name[name]) for name in floors}
            least = {name: asked(by_name[name], host.machine.unix_seconds) for name in floors}
            for _ in range(4):
                host.step(0.25)
                least = {n: min(was, asked(by_name[n], host.machine.unix_seconds)) for n, was in least.items()}
            for name, (_, floor) in floors.items():
                if least[name] >= floor:
                    wanting += 1
                    met += moved(by_name[name]) - before[name] >= floor * TOLERANCE_RATIO
        assert wanting >= SECONDS * len(floors) / 4, "the loads ask often enough for the figure to mean something"
        assert met >= 0.98 * wanting, f"{met} of {wanting}"
