"""The real agent on a simulated host: the same assembly as on a machine, with the model behind sensing and actuation."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from stella.model.intent import Mode
from stella.sim.knobs import simulated_actuators
from stella.sim.machine import Machine
from stella.sim.sensing import SimulatedSensors
from stella.xgos.actuation.host import HostActuation
from stella.xgos.line_log import Lines
from stella.xgos.process.assembly import Clock, assemble, open_apply
from stella.xgos.process.config import Config, Options
from stella.xgos.process.loop import Loop


class SimulatedGuard:
    """A guard that never dies. A simulated host has no life without its agent, so there is nothing to lift after it."""

    alive = True

    def ensure(self, monotonic_seconds: float) -> bool:
        """See `stella.xgos.actuation.host.Guard`."""
        return True

    def beat(self) -> bool:
        """See `stella.xgos.actuation.host.Guard`."""
        return True


class UnkeptLines:
    """Takes the lines of history, violations and audit, and keeps none: for fleets, whose accounts live in memory."""

    dropped_lines = 0

    def append(self, path: Path, line: str) -> None:
        """See `stella.xgos.line_log.Lines`."""

    def remove(self, path: Path) -> None:
        """See `stella.xgos.line_log.Lines`."""

    def rotate(self, path: Path, old: Path) -> None:
        """See `stella.xgos.line_log.Lines`."""

    def close(self) -> None:
        """See `stella.xgos.line_log.Lines`."""


@contextlib.contextmanager
def agent(
    config: Config,
    machine: Machine,
    clock: Clock,
    *,
    lines: Lines | None = None,
    background: bool = True,
    follow: Callable[[Machine], None] | None = None,
) -> Iterator[Loop]:
    """The agent's loop over the model. Raises `own_group.AlreadyRunning` when another one has the state directory.

    ``lines`` and ``background``: see `assemble`; ``follow``: see `SimulatedSensors`.
    """
    with contextlib.ExitStack() as stack:
        apply = open_apply(config, Options(), stack, reach=simulated_actuators(machine), lines=lines)
        # the model was booted with this process: no knob of an earlier one exists
        apply.journal.forget([entry.target for entry in apply.journal.entries])
        observe = config.mode is Mode.OBSERVE
        actuation = HostActuation(apply, None if observe else SimulatedGuard(), observe=observe)
        sensors = SimulatedSensors(machine, clock, follow=follow)
        yield assemble(config, sensors, actuation, stack, clock=clock, lines=lines, background=background)
