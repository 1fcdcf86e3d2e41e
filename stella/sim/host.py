"""A simulated host at virtual time: the real agent, stepped by the caller, one thread, no socket.

For emulated fleets and closed-loop tests. The link is the caller's: `outbox`, `cloud` and `published` are what the real `Fetcher`
and `Reporter` take, with whatever transport.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from stella.model.intent import Mode
from stella.sim import chance
from stella.sim.agent import UnkeptLines, agent
from stella.sim.instance import InstanceSpec
from stella.sim.machine import Machine
from stella.sim.population import specs
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.line_log import Lines
from stella.xgos.local_api.agent_api import Published
from stella.xgos.process.assembly import Clock
from stella.xgos.process.config import Config
from stella.xgos.process.loop import Loop

CORES = 4
INSTANCES = 8


def boot(
    name: str,
    *,
    cores: int,
    instances: Sequence[InstanceSpec],
    seed: int,
    unix_seconds: float,
    step_seconds: float = 0.25,
) -> Machine:
    """A machine that was booted just now and runs ``instances``."""
    machine = Machine(
        cores=cores, seed=chance.derived(seed, name), boot_unix_seconds=unix_seconds, step_seconds=step_seconds
    )
    for spec in instances:
        machine.start(spec)
    return machine


class SimulatedHost:
    """One host. `step` is for one thread at a time; what the link uses may be asked from another one.

    Its state lies in ``state_directory``: a host made on the directory of an earlier one is the same agent again, after a reboot.
    """

    def __init__(
        self,
        name: str,
        state_directory: Path,
        *,
        number: int = 1,
        cores: int = CORES,
        instances: int | Sequence[InstanceSpec] = INSTANCES,
        seed: int = 0,
        unix_seconds: float = 1_800_000_000.0,
        tick_seconds: float = 1.0,
        mode: Mode = Mode.ENFORCE,
        lines: Lines | None = None,
    ) -> None:
        """``instances``: how many of `stella.sim.population`, or which. ``unix_seconds``: the time at which it begins.

        ``lines``: who keeps history, violations and audit (nobody by default; the outbox is always on disk).
        """
        self.name = name
        self.tick_seconds = tick_seconds
        self.unix_seconds = unix_seconds
        population = specs(name, number, instances, seed=seed) if isinstance(instances, int) else instances
        self.machine = boot(
            name, cores=cores, instances=population, seed=seed, unix_seconds=unix_seconds, step_seconds=tick_seconds
        )
        config = Config(
            mode=mode,
            tick_milliseconds=round(tick_seconds * 1000),
            state_directory=state_directory,
            run_directory=state_directory / "run",
            socket=state_directory / "run" / "xgos.sock",
            metrics_listen="",
        )
        self._stack = contextlib.ExitStack()
        # virtual time counts from 1970 on both clocks, so that it goes on after a restart
        clock = Clock(wall=self.wall, monotonic=self.wall)
        opened = agent(config, self.machine, clock, lines=lines or UnkeptLines(), background=False)
        self.loop: Loop = self._stack.enter_context(opened)
        self._costs = state_directory / "costs.json"

    def wall(self) -> float:
        """Virtual Unix time, for the link's clocks."""
        return self.unix_seconds

    @property
    def outbox(self) -> Outbox:
        """What waits to be reported. Raises OSError where its directory could not be written."""
        if self.loop.outbox is None:
            raise OSError(f"{self.name}: has no outbox; its state directory cannot be written")
        return self.loop.outbox

    @property
    def cloud(self) -> CloudSource:
        """The source that the fetcher publishes the API's intents to."""
        return next(source for source in self.loop.sources if isinstance(source, CloudSource))

    def published(self) -> Published | None:
        """The last tick; None before the first one."""
        return self.loop.published()

    def step(self, seconds: float) -> None:
        """Let ``seconds`` pass, at least a tick: the model runs, the agent ticks, and the outbox is written."""
        for _ in range(max(1, round(seconds / self.tick_seconds))):
            self.unix_seconds += self.tick_seconds
            self.loop.tick()
        if self.loop.outbox is not None:
            self.loop.outbox.flush()

    def save(self) -> None:
        """Keep what was learned and what is in force, as an agent does now and then."""
        self.loop.save(self._costs)

    def close(self) -> None:
        """Let go of its files; what waits is written."""
        self.save()
        self._stack.close()
