"""The agent killed by SIGKILL under reports, or cut off from the API: no SLO is lost, floors are kept, every minute counts once."""

import random
import signal
import time

import pytest

from tests.faults.linked import Linked, minutes_of
from tests.functional.long import choose
from tests.functional.process import wait

_KILLS = choose(short=2, long=10)
_CUT_OFF_SECONDS = choose(short=5.0, long=300.0)
_MINUTE = 60


@pytest.mark.timeout(1200)
def test_the_agent_is_killed_under_reports(linked: Linked) -> None:
    started, cloud, agent = time.time(), linked.cloud, linked.agent
    for kill in range(_KILLS):
        time.sleep(random.uniform(0.0, 2.0))
        agent.stop(signal.SIGKILL)
        agent.start()
        assert wait(lambda: agent.link().get("connected"), 90), agent.log.read_text()[-3000:]
        linked.require_slo()
        print(f"kill {kill + 1}: {len(minutes_of(cloud))} minutes")
    assert wait(lambda: len(minutes_of(cloud)) >= 2, 200), "minutes that began after the first kill"
    assert wait(linked.is_kept, 30), "the floor is kept again"
    agent.stop()
    linked.check_minutes(started)


@pytest.mark.timeout(1200)
def test_the_host_is_cut_off(linked: Linked) -> None:
    started, cloud, agent = time.time(), linked.cloud, linked.agent
    linked.server.stop(signal.SIGKILL)
    end, weight = time.monotonic() + _CUT_OFF_SECONDS, linked.weight()
    while time.monotonic() < end:
        assert linked.weight() == weight, "it keeps the floor"
        time.sleep(0.2)
    assert not agent.link().get("connected")
    stored = len(minutes_of(cloud))
    linked.server.start()
    assert wait(lambda: agent.link().get("connected"), 120), agent.log.read_text()[-3000:]
    linked.require_slo()
    assert wait(lambda: len(minutes_of(cloud)) >= max(2, stored + int(_CUT_OFF_SECONDS) // _MINUTE), 200)
    agent.stop()
    linked.check_minutes(started)
