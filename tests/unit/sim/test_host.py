"""A simulated host as a whole: the real agent keeps floors on the model that are broken without it."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from stella.model import wire
from stella.model.attainment import TOLERANCE_RATIO
from stella.model.intent import IntentState, Mode
from stella.sim.host import SimulatedHost
from stella.sim.instance import InstanceSpec
from stella.sim.loads import Load, Wave, block, compute, network
from stella.xgos.intents.source import wanted
from stella.xgos.link.board import Board
from stella.xgos.link.fetcher import Fetcher
from stella.xgos.link.reporter import Reporter
from stella.xgos.link.transport import Answer

FLOORS: Mapping[str, Mapping[str, object]] = {
    "web": {"network_packets": {"floor": 30_000}},
    "db": {"block_bytes": {"floor": 250e6}},
}


def spec(name: str, *loads: Load, vcpus: int = 2) -> InstanceSpec:
    return InstanceSpec(uuid=f"00000000-0000-4000-8000-{name:0>12}", name=name, vcpus=vcpus, loads=loads)


PAUSES = Wave(period_seconds=40.0, awake_ratio=0.7, low=0.1)
HOGS = tuple(spec(f"b{n}", compute(4), vcpus=4) for n in range(7))
CROWD = (spec("web", network(45_000, wave=PAUSES)), spec("db", block(350e6, wave=PAUSES)), *HOGS)


@contextmanager
def simulated(
    directory: Path, *, mode: Mode = Mode.ENFORCE, instances: tuple[InstanceSpec, ...] = CROWD, **more: float
) -> Iterator[SimulatedHost]:
    host = SimulatedHost("sim1", directory, instances=instances, mode=mode, tick_seconds=0.25, seed=5, **more)
    with closing(host):
        yield host


def uuid_of(host: SimulatedHost, name: str) -> str:
    return next(uuid for uuid, one in host.machine.instances.items() if one.spec.name == name)


def ask(host: SimulatedHost, slos: Mapping[str, Mapping[str, object]], *, revision: int = 1) -> None:
    host.cloud.publish(revision, {uuid_of(host, name): wanted(slo, revision) for name, slo in slos.items()})


def moved(host: SimulatedHost, name: str) -> float:
    """Packets or bytes, as the model counts them: not the agent's word."""
    c = host.machine.instances[uuid_of(host, name)].counters
    return c.tx_packets + c.rx_packets + c.read_bytes + c.write_bytes


def asked(host: SimulatedHost, name: str) -> float:
    """What the load asks for now."""
    (flow,) = host.machine.instances[uuid_of(host, name)].flows
    return flow.load.demand(flow.seed, host.machine.unix_seconds)


def kept(host: SimulatedHost, seconds: int) -> dict[str, float]:
    """Of the seconds in which a load asked for its floor throughout, the part in which it got it, by the model's counters."""
    floors = {"web": 30_000.0, "db": 250e6}
    met = dict.fromkeys(floors, 0)
    wanting = dict.fromkeys(floors, 0)
    for _ in range(seconds):
        before = {name: moved(host, name) for name in floors}
        least = {name: asked(host, name) for name in floors}
        for _ in range(4):
            host.step(0.25)
            least = {name: min(least[name], asked(host, name)) for name in floors}
        for name, floor in floors.items():
            if least[name] >= floor:
                wanting[name] += 1
                met[name] += moved(host, name) - before[name] >= floor * TOLERANCE_RATIO
    assert min(wanting.values()) >= seconds // 4, "the loads ask often enough for the figure to mean something"
    return {name: met[name] / wanting[name] for name in floors}


def test_floors_are_held_where_the_agent_enforces_and_broken_where_it_only_observes(tmp_path: Path) -> None:
    found = {}
    for mode in (Mode.OBSERVE, Mode.ENFORCE):
        with simulated(tmp_path / mode.value, mode=mode) as host:
            host.step(5.0)
            ask(host, FLOORS)
            host.step(5.0)
            found[mode] = kept(host, 80)
    assert max(found[Mode.OBSERVE].values()) < 0.3, found
    assert min(found[Mode.ENFORCE].values()) >= 0.98, found


def test_what_the_floors_leave_is_shared_by_the_neighbours(tmp_path: Path) -> None:
    with simulated(tmp_path) as host:
        ask(host, FLOORS)
        host.step(20.0)
        before, busy = [_ran(host, one.name) for one in HOGS], host.machine.busy_seconds
        host.step(60.0)
        each = [_ran(host, one.name) - was for one, was in zip(HOGS, before, strict=True)]
        assert host.machine.busy_seconds - busy >= 0.97 * 4 * 60.0, "no CPU idles while a neighbour wants it"
    assert min(each) > 0.6 * sum(each) / len(each)


def _ran(host: SimulatedHost, name: str) -> float:
    return sum(t.run_seconds for t in host.machine.instances[uuid_of(host, name)].threads)


def test_the_agent_says_what_the_model_shows(tmp_path: Path) -> None:
    with simulated(tmp_path, mode=Mode.OBSERVE) as host:
        host.step(5.0)
        ask(host, {"web": FLOORS["web"]})
        host.step(70.0)
        rows = [row for row in host.outbox.batch(500).minutes if row.counts.met + row.counts.violated]
        assert sum(row.counts.violated for row in rows) > 3 * sum(row.counts.met for row in rows)
        assert all(cause.value == "cpu" for row in rows for cause in row.causes)


def test_a_ceiling_bounds_an_instance_on_an_idle_host(tmp_path: Path) -> None:
    with simulated(tmp_path, instances=HOGS[:1]) as host:
        host.step(3.0)
        ask(host, {"b0": {"cpu": {"ceiling": 1.0}}})
        host.step(5.0)
        before = _ran(host, "b0")
        host.step(20.0)
        assert (_ran(host, "b0") - before) / 20.0 == pytest.approx(1.0, rel=0.06)


def test_the_same_seed_gives_the_same_run_to_the_last_write(tmp_path: Path) -> None:
    def run(directory: Path) -> object:
        with simulated(directory) as host:
            ask(host, FLOORS)
            host.step(30.0)
            tick = host.published()
            assert tick is not None
            knobs = [(g.weight, g.quota, g.cpus) for i in host.machine.instances.values() for g in i.groups]
            return wire.encode(tick.decision), knobs

    assert run(tmp_path / "one") == run(tmp_path / "two")


def test_observing_writes_nothing(tmp_path: Path) -> None:
    with simulated(tmp_path, mode=Mode.OBSERVE) as host:
        ask(host, FLOORS)
        host.step(20.0)
        groups = [g for i in host.machine.instances.values() for g in i.groups]
        assert {(g.weight, g.quota.quota_us) for g in groups} == {(100, None)}


def test_a_host_made_again_is_the_same_agent_and_keeps_what_was_asked_for(tmp_path: Path) -> None:
    with simulated(tmp_path / "lived") as host:
        ask(host, FLOORS, revision=7)
        host.step(70.0)
        identity = (host.outbox.agent, host.outbox.epoch)
        stored, later = host.outbox.stored, host.wall() + 5.0
        shutil.copytree(tmp_path / "lived", tmp_path / "killed")  # what a process that is killed here leaves behind
    with simulated(tmp_path / "killed", unix_seconds=later) as host:
        assert (host.outbox.agent, host.outbox.epoch) == identity
        assert host.outbox.stored >= stored > 0
        assert host.cloud.revision == 7
        host.step(3.0)
        tick = host.published()
        assert tick is not None
        assert {uuid: s.state for uuid, s in tick.standings.items()} == {
            uuid_of(host, name): IntentState.ENFORCED for name in FLOORS
        }


class _Api:
    """Answers as stella-api does, and keeps what it was sent."""

    def __init__(self, slos: Mapping[str, Mapping[str, object]]) -> None:
        self.slos = slos
        self.reports: list[dict[str, object]] = []

    def get_intent(self, etag: str) -> Answer:
        slos = {uuid: {"revision": 3, "objectives": slo} for uuid, slo in self.slos.items()}
        body = {"revision": 3, "poll_seconds": 1.0, "mode": "enforce", "slos": slos}
        return Answer(status=304) if etag else Answer(status=200, body=json.dumps(body).encode(), etag='"3"')

    def post_report(self, body: bytes) -> Answer:
        self.reports.append(json.loads(body))
        return Answer(status=200, body=json.dumps({"accepted_sequence": self.reports[-1]["sequence"]}).encode())


def test_it_is_linked_by_the_real_fetcher_and_reporter(tmp_path: Path) -> None:
    with simulated(tmp_path) as host:
        uuid = uuid_of(host, "web")
        api, board = _Api({uuid: FLOORS["web"]}), Board("", host.name)
        fetcher = Fetcher(api, host.cloud, board, host_name=host.name, wall=host.wall)
        reporter = Reporter(api, host.outbox, board, host.published, wall=host.wall)
        for _ in range(65):
            fetcher.step()
            host.step(1.0)
            reporter.step()
        states = [report["states"] for report in api.reports]
        assert any(s.get(uuid, {}).get("state") == "enforced" for s in states)
        assert any(report["minutes"] for report in api.reports)
        last = api.reports[-1]["instances"]
        assert {one["name"] for one in last} == {"web", "db", *(one.name for one in HOGS)}
        assert host.outbox.depth == 0


def test_an_instance_that_is_shut_off_keeps_its_slo_and_has_it_again_as_another_process(tmp_path: Path) -> None:
    with simulated(tmp_path) as host:
        ask(host, FLOORS)
        host.step(3.0)
        web = host.machine.instances[uuid_of(host, "web")]
        host.machine.stop(web.spec.uuid)
        host.step(3.0)
        tick = host.published()
        assert tick is not None
        assert web.spec.uuid in tick.intents
        again = host.machine.start(web.spec)
        assert again.own.weight == 100
        host.step(3.0)
        tick = host.published()
        assert tick is not None
        assert tick.standings[web.spec.uuid].state is IntentState.ENFORCED
        assert again.own.weight != 100
        assert len(again.threads[0].group.cpus or ()) < 4, "the host is full: it is placed like its predecessor"
