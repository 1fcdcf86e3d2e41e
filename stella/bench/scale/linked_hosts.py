"""A process with simulated hosts: the real agent and the real link, ticking in real time. It tells when an SLO is in force.

One line on standard output for each: host, instance, the revision, and the monotonic clock when the tick had ended that decided and
wrote with it. The clock is the machine's, so that another process can compare.
"""

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from stella.sim.agent import agent
from stella.sim.host import boot
from stella.sim.population import specs
from stella.sim.run import Fleet, config_of
from stella.xgos import supervision
from stella.xgos.intents.source import CLOUD
from stella.xgos.process import garbage_collection
from stella.xgos.process.assembly import MACHINE_CLOCK, connect
from stella.xgos.process.loop import Loop

READY = "ready"


def _teller(name: str, loop: Loop, out: TextIO) -> Callable[[float], None]:
    """Called after each tick of a host; tells of the cloud's SLOs that this tick enforced first."""
    told: dict[str, int] = {}

    def tell(monotonic_seconds: float) -> None:
        published = loop.published()
        for uuid, intent in published.intents.items() if published else ():
            if intent.source == CLOUD and told.get(uuid) != intent.revision:
                told[uuid] = intent.revision
                out.write(f"{name} {uuid} {intent.revision} {monotonic_seconds}\n")
                out.flush()

    return tell


def run(fleet: Fleet, stop: threading.Event, out: TextIO) -> None:
    """Run the hosts until ``stop``."""
    with contextlib.ExitStack() as stack:
        stack.callback(stop.set)
        threads = []
        for number, name in enumerate(fleet.names, start=1):
            config = config_of(fleet, name)
            machine = boot(
                name,
                cores=fleet.cores,
                instances=specs(name, number, fleet.instances, seed=fleet.seed),
                seed=fleet.seed,
                unix_seconds=MACHINE_CLOCK.wall(),
            )
            loop = stack.enter_context(agent(config, machine, MACHINE_CLOCK))
            connect(config, loop, stack)
            tell = _teller(name, loop, out)
            threads.append(supervision.start(partial(loop.run, stop, tell), name=f"{name} loop", stop=stop))
        garbage_collection.settle()
        out.write(f"{READY}\n")
        out.flush()
        stop.wait()
        for thread in threads:
            thread.join(timeout=1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Simulated hosts that tell when an SLO is in force.")
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--instances", type=int, required=True, help="on each host")
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    fleet = Fleet(
        hosts=given.hosts,
        instances=given.instances,
        api_url=given.api_url,
        credentials=given.credentials,
        state=given.state,
    )
    run(fleet, stop, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
