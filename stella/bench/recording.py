"""What the laboratory counted during one run, as cumulative series: the only thing the judge sees.

Times are Unix seconds of the host's clock; what was stamped inside a guest has already been moved onto it.
"""

from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(slots=True)
class Series:
    """A cumulative count at moments in order, stepping linearly in between. Before the first moment it is the first value."""

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, time_seconds: float, value: float) -> None:
        """Append one reading; one that is not later than the last is dropped."""
        if not self.times or time_seconds > self.times[-1]:
            self.times.append(time_seconds)
            self.values.append(value)

    def at(self, time_seconds: float) -> float:
        """The count at a moment, interpolated; beyond the ends the nearest reading."""
        if not self.times:
            return 0.0
        right = bisect_right(self.times, time_seconds)
        if right == 0:
            return self.values[0]
        if right == len(self.times):
            return self.values[-1]
        t0, t1, v0, v1 = self.times[right - 1], self.times[right], self.values[right - 1], self.values[right]
        return v0 + (v1 - v0) * (time_seconds - t0) / (t1 - t0)

    def rate(self, start_seconds: float, end_seconds: float) -> float:
        """Mean rate per second between two moments."""
        return (self.at(end_seconds) - self.at(start_seconds)) / (end_seconds - start_seconds)


@dataclass(slots=True)
class Asked:
    """What the load generators asked for, from ``start`` on.

    ``rate`` is in the base unit of ``signal``: ``inf`` when unbounded, 0 when stopped.
    """

    start: float
    signal: str
    rate: float


@dataclass(slots=True)
class InstanceRecording:
    """One instance. ``windows`` are for judging 1 s windows: the tools' own reports.

    ``bins`` are finer (100 ms) counters for timing recoveries. ``run`` and ``wait``: core-seconds that its QEMU threads ran and
    waited for a CPU, by role (``vcpu``, ``main``, ``iothread``), in the kernel's account. ``host_io``: bytes that QEMU read and wrote
    on the host's storage, by the kernel's account: they say *when* the bytes that fio reports were moved.

    Signals: ``network_packets.tx|rx``, ``network_bytes.tx|rx``, ``block_bytes.read|write``, ``block_operations.read|write``,
    ``block_seconds.read|write`` (sum of latencies), ``cpu`` (core-seconds of the guest's own CPU), ``cpu_events`` (sysbench).
    """

    windows: dict[str, Series] = field(default_factory=dict)
    cpu: Series = field(default_factory=Series)  # core-seconds of its QEMU process, all threads
    run: dict[str, Series] = field(default_factory=dict)
    wait: dict[str, Series] = field(default_factory=dict)
    host_io: dict[str, Series] = field(default_factory=dict)
    bins: dict[str, Series] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    clock_offset_seconds: float = 0.0
    died: str = ""


@dataclass(slots=True)
class Recording:
    """One run of a scenario under one policy. ``start`` and ``end`` bound the measured time (whole Unix seconds)."""

    start: float = 0.0
    end: float = 0.0
    instances: dict[str, InstanceRecording] = field(default_factory=dict)
    host_cpu: Series = field(default_factory=Series)  # core-seconds, all of the machine
    instances_cpu: Series = field(default_factory=Series)  # core-seconds, all QEMU processes
    receiver_cpu: Series = field(default_factory=Series)  # core-seconds, the load's helpers
    agent_cpu: Series = field(default_factory=Series)
    libvirtd_cpu: Series = field(default_factory=Series)
    steal: Series = field(default_factory=Series)
    stalls: list[tuple[float, float]] = field(default_factory=list)  # heartbeat: (moment, seconds it came late)
    agent_peak_rss_bytes: int = 0
    libvirtd_idle_cores: float = 0.0
