"""stella-api killed by SIGKILL under writes and reports: no accepted SLO is lost or half applied, every minute is there once."""

import random
import signal
import time
from functools import partial

import pytest

from tests.faults.traffic import Ledger, Traffic, check
from tests.functional.conftest import BOTH_DATABASES, Cloud
from tests.functional.long import choose
from tests.functional.process import Server, wait

_KILLS = choose(short=3, long=20)
_INSTANCES = 6


@pytest.mark.timeout(900)
@BOTH_DATABASES
def test_nothing_accepted_is_lost_or_half_applied(cloud: Cloud) -> None:
    server = Server(cloud.config_path, response_validation="none")
    server.start()
    seed = int(time.time())
    print(f"seed {seed}")
    chance = random.Random(seed)
    traffic = Traffic(cloud, server, instances=_INSTANCES, seed=seed)
    with traffic.flowing() as ledger:
        for kill in range(_KILLS):
            before, minutes = ledger.changes, len(ledger.minutes)
            assert wait(partial(_goes_on, ledger, before, minutes), 60), "under writes"
            time.sleep(chance.uniform(0.0, 0.3))
            server.stop(signal.SIGKILL)
            server.start()
            print(f"kill {kill + 1}: {ledger.changes} changes answered, {len(ledger.minutes)} minutes")
        before = ledger.changes
        assert wait(lambda: ledger.changes > before, 60), "it serves again"
    server.stop(signal.SIGTERM)
    print(check(cloud, ledger))
    assert ledger.lost > 0


def _goes_on(ledger: Ledger, changes: int, minutes: int) -> bool:
    return ledger.changes >= changes + 3 and len(ledger.minutes) > minutes
