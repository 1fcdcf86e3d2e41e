"""Sensing of a simulated host: a pass over the model gives the same `Snapshot` as a pass over a machine."""

import time
from collections.abc import Callable

from stella.model.snapshot import SensorReading, Snapshot
from stella.sim.machine import Machine
from stella.xgos.process.assembly import Clock

_SENSORS = ("hypervisor", "threads", "groups", "network", "block", "host")


class SimulatedSensors:
    """Implements `stella.xgos.process.ports.Sensors`: lets the model's time catch up with the clock, and reads it.

    ``follow`` may start and remove instances of the machine at the beginning of each pass.
    """

    def __init__(self, machine: Machine, clock: Clock, *, follow: Callable[[Machine], None] | None = None) -> None:
        self._machine = machine
        self._follow = follow
        self._clock = clock
        self._read_at = clock.monotonic()

    def sense(self) -> Snapshot:
        """One pass."""
        begun = time.perf_counter()
        now, wall, machine = self._clock.monotonic(), self._clock.wall(), self._machine
        if self._follow is not None:
            self._follow(machine)
        machine.advance(now - self._read_at)
        self._read_at = now
        host, instances = machine.host_reading(), machine.instance_readings(now)
        each = (time.perf_counter() - begun) / len(_SENSORS)
        return Snapshot(
            monotonic_seconds=now,
            wall_seconds=wall,
            host=host,
            instances=instances,
            shut_off=tuple(machine.shut_off),
            sensors=tuple(SensorReading(name=name, ok=True, duration_seconds=each) for name in _SENSORS),
        )
