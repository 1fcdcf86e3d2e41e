"""The agent killed by SIGKILL under reports, or cut off from the API: no SLO is lost, floors are kept, every minute counts once."""

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from stella.db.models import Minute
from tests.functional.agents import RealAgent
from tests.functional.conftest import Cloud
from tests.functional.long import choose
from tests.functional.process import Server, wait

_KILLS = choose(short=2, long=10)
_CUT_OFF_SECONDS = choose(short=5.0, long=300.0)
_WEIGHT = "sys/fs/cgroup/cpu/machine/qemu-1-vm1.libvirt-qemu/cpu.shares"
_MINUTE = 60


@dataclass
class Linked:
    """A real API and a real agent on a recorded host, whose instance has an SLO that is enforced."""

    cloud: Cloud
    server: Server
    agent: RealAgent
    path: str
    generation: int
    without: str

    def weight(self) -> str:
        return (self.agent.root / _WEIGHT).read_text()

    def is_kept(self) -> bool:
        """Whether the floor is in force on the host."""
        return self.weight() not in ("", self.without)

    def require_slo(self) -> None:
        shown = self.cloud.admin.get(self.path).json
        assert (shown["state"], shown["generation"]) == ("enforced", self.generation)

    def check_minutes(self, started: float) -> None:
        """After the agent stopped: every minute is there once, and all but the first and last are whole."""
        ended, minutes = time.time(), _minutes(self.cloud)
        starts = [minute.start for minute in minutes]
        assert starts == list(range(starts[0], starts[-1] + 1, _MINUTE)), "each once, none missing"
        assert started - _MINUTE <= starts[0] and starts[-1] + _MINUTE <= ended + 1
        seconds = [minute.seconds for minute in minutes]
        print(f"{len(minutes)} minutes with {seconds} seconds")
        assert 0 < seconds[0] <= _MINUTE and seconds[1:] == [_MINUTE] * (len(seconds) - 1)


@pytest.fixture
def linked(cloud: Cloud) -> Iterator[Linked]:
    cloud.clock.now = time.time()
    server = Server(cloud.config_path)
    server.start()
    directory = cloud.config_path.parent / "agent"
    agent = RealAgent(directory, url=server.url, host="host1", credential=cloud.host("host1").credential)
    before = (agent.root / _WEIGHT).read_text()
    try:
        agent.start()
        assert wait(lambda: _instance(cloud), 60), agent.log.read_text()
        path = f"/v1/instances/{_instance(cloud)}/slo"
        status, slo = server.ask("PUT", path, cloud.admin.token, {"objectives": {"cpu": {"floor": "20%"}}})
        assert status == 201, slo
        assert wait(lambda: cloud.admin.get(path).json["state"] == "enforced", 60), agent.log.read_text()
        made = Linked(cloud, server, agent, path, slo["generation"], before)
        assert wait(made.is_kept, 30)
        yield made
    finally:
        agent.stop(signal.SIGKILL)
        server.stop(signal.SIGTERM)


@pytest.mark.timeout(1200)
def test_the_agent_is_killed_under_reports(linked: Linked) -> None:
    started, cloud, agent = time.time(), linked.cloud, linked.agent
    for kill in range(_KILLS):
        time.sleep(random.uniform(0.0, 2.0))
        agent.stop(signal.SIGKILL)
        agent.start()
        assert wait(lambda: agent.link().get("connected"), 90), agent.log.read_text()[-3000:]
        linked.require_slo()
        print(f"kill {kill + 1}: {len(_minutes(cloud))} minutes")
    assert wait(lambda: len(_minutes(cloud)) >= 2, 200), "minutes that began after the first kill"
    assert wait(linked.is_kept, 30), "the floor is kept again"
    agent.stop()
    linked.check_minutes(started)


@pytest.mark.timeout(1200)
def test_the_host_is_cut_off(linked: Linked) -> None:
    started, cloud, agent = time.time(), linked.cloud, linked.agent
    linked.server.stop(signal.SIGKILL)
    end, weight = time.monotonic() + _CUT_OFF_SECONDS, linked.weight()
    while time.monotonic() < end:
        assert linked.weight() in ("", weight), "it keeps the floor"
        time.sleep(0.2)
    assert not agent.link().get("connected")
    stored = len(_minutes(cloud))
    linked.server.start()
    assert wait(lambda: agent.link().get("connected"), 120), agent.log.read_text()[-3000:]
    linked.require_slo()
    assert wait(lambda: len(_minutes(cloud)) >= max(2, stored + int(_CUT_OFF_SECONDS) // _MINUTE), 200)
    agent.stop()
    linked.check_minutes(started)


def _instance(cloud: Cloud) -> str:
    found = cloud.admin.get("/v1/instances").json["instances"]
    return next((one["uuid"] for one in found if one["name"] == "vm1"), "")


def _minutes(cloud: Cloud) -> list[Minute]:
    """Those of the SLO, by time."""
    with cloud.database.reader() as session:
        query = select(Minute).where(Minute.metric == "cpu", Minute.is_stretch.is_(False)).order_by(Minute.start)
        return list(session.scalars(query))
