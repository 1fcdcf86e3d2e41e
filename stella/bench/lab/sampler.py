"""Measuring from outside the agent: every 100 ms, what peers received, what threads of the kernel's account used, who stalled.

``windows["cpu"]`` is the CPU time of the guest's vCPU threads in the kernel's account (schedstat), read here and not by the
agent: a floor of a fifth of a core is a promise of CPU time. sysbench's own events are kept beside it (``cpu_events``): they
count as work, but what a second of CPU is worth in events changes by a fifth with what the neighbours do to caches and clock,
so they measure the machine as well.
"""

import contextlib
import os
import threading
import time
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import Self

from stella.bench.lab.channel import fit_clock
from stella.bench.lab.groups import read_cpu_seconds
from stella.bench.lab.loads import BIN_SECONDS, GuestLoads
from stella.bench.lab.model import LabError
from stella.bench.lab.process import cpu_seconds
from stella.bench.recording import InstanceRecording, Recording, Series
from stella.linux.process import parse_cpu_ticks, parse_schedstat, parse_thread_name

STALL_SECONDS = 0.2
PING_EVERY_SAMPLES = 10
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 1 << 16  # the lines of 512 CPUs
MARGIN_SECONDS = 3.0


def process_cpu_seconds(pid: int) -> float | None:
    """CPU time of a process, all its threads, from its CPU clock (exact, one call); None when it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of that process: see clock_getcpuclockid(3)
    except OSError:
        return None


def role_of(comm: str, *, tid: int, pid: int) -> str:
    """What a thread of QEMU does, by the name that libvirt has it give; empty for one that comes and goes."""
    named = parse_thread_name(comm.strip())
    return named[0].value if named else "main" if tid == pid else ""


def threads_by_role(pid: int) -> dict[str, list[int]]:
    """The lasting threads of a QEMU process."""
    found: dict[str, list[int]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            role = role_of((task / "comm").read_text(), tid=int(task.name), pid=pid)
            if role:
                found.setdefault(role, []).append(int(task.name))
    return found


def sum_series(parts: list[Series]) -> Series:
    """The sum of cumulative series, at every moment of any."""
    if len(parts) == 1:
        return parts[0]
    total = Series()
    for moment in sorted({moment for part in parts for moment in part.times}):
        total.add(moment, sum(part.at(moment) for part in parts))
    return total


LONGEST_GAP_SECONDS = 1.6
_IO_SIGNALS = {"read_bytes": "block_bytes.read", "write_bytes": "block_bytes.write"}


def parse_io(text: str) -> dict[str, float]:
    """Bytes that a process read from and wrote to storage, by signal, from /proc/PID/io: direct I/O counts when it is asked for."""
    pairs = (line.split(": ") for line in text.splitlines())
    return {_IO_SIGNALS[name]: float(value) for name, value in pairs if name in _IO_SIGNALS}


def fill_gaps(reports: Series, shape: Series, longest_gap_seconds: float = LONGEST_GAP_SECONDS) -> Series:
    """A tool's reports with what it did between two of them spread as ``shape`` grew, where they are further apart than the gap.

    ``shape`` is a finer count of the same work, whose scale does not matter. The reports' own values are not touched. A tool that
    was stopped never reports its last moments: they are told by the shape alone, at the reports' own ratio to it.
    """
    filled = Series()
    for moment, value in zip(reports.times, reports.values, strict=True):
        if filled.times and moment - filled.times[-1] > longest_gap_seconds:
            start, before = filled.times[-1], filled.values[-1]
            low, high = shape.at(start), shape.at(moment)
            if high > low:
                inner = shape.times[bisect_right(shape.times, start) : bisect_left(shape.times, moment)]
                for between in inner:
                    filled.add(between, before + (value - before) * (shape.at(between) - low) / (high - low))
        filled.add(moment, value)
    if len(reports.times) > 1:
        last, value = reports.times[-1], reports.values[-1]
        grown = shape.at(last) - shape.at(reports.times[0])
        ratio = (value - reports.values[0]) / grown if grown > 0 else 0.0
        for after in shape.times[bisect_right(shape.times, last) :]:
            filled.add(after, value + ratio * (shape.at(after) - shape.at(last)))
    return filled


class Account:
    """CPU time and memory of a process that may be replaced by another, added up: the agent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._before = self._last = 0.0
        self.peak_rss_bytes = 0

    def follow(self, pid: int) -> None:
        """Count this process, with its children, from now on; what it has used already counts too."""
        with self._lock:
            self._before, self._last, self._pid = self._before + self._last, 0.0, pid

    def read(self) -> float:
        """Core-seconds of all that was followed."""
        with self._lock:
            if self._pid is not None:
                used = cpu_seconds(self._pid, children=True)
                if used is None:
                    self._before, self._last, self._pid = self._before + self._last, 0.0, None
                else:
                    self._last = max(self._last, used)
            return self._before + self._last

    def read_memory(self) -> None:
        """Note the peak of the resident set."""
        pid = self._pid
        if pid is None:
            return
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.peak_rss_bytes = max(self.peak_rss_bytes, int(line.split()[1]) * 1024)


class Recorder:
    """Samples from its making until `finish` or `close`; ``recording`` can be read meanwhile (guests' reports come with `finish`).

    As a context manager it closes itself.

    ``load_groups``: the load's group on the accounted hierarchies; ``stalls``: where the heartbeat adds its own; ``cpus``: those of
    the laboratory, which the machine's busy time and steal are of.
    """

    def __init__(
        self,
        *,
        loads: dict[str, GuestLoads],
        qemu_pids: dict[str, int],
        libvirtd_pid: int,
        load_groups: tuple[Path, ...],
        stalls: list[tuple[float, float]],
        libvirtd_idle_cores: float,
        cpus: tuple[int, ...],
    ) -> None:
        self.recording = Recording(libvirtd_idle_cores=libvirtd_idle_cores)
        self.agent = Account()
        self._loads, self._qemu_pids, self._libvirtd_pid = loads, qemu_pids, libvirtd_pid
        self._load_groups, self._stalls, self._cpus = load_groups, stalls, cpus
        self._first_stall = len(stalls)
        self._ending = threading.Event()
        self._error: Exception | None = None
        self._packets: dict[str, tuple[int, float]] = {}
        self._threads = {name: self._open_threads(pid) for name, pid in qemu_pids.items()}
        self._qemu_last = dict.fromkeys(qemu_pids, 0.0)
        self._stat = os.open("/proc/stat", os.O_RDONLY)
        for name in loads:
            self.recording.instances[name] = InstanceRecording()
        self._thread = threading.Thread(target=self._sample_all, name="sampler", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @staticmethod
    def _open_threads(pid: int) -> dict[str, list[int]]:
        return {
            role: [os.open(f"/proc/{pid}/task/{tid}/schedstat", os.O_RDONLY) for tid in tids]
            for role, tids in threads_by_role(pid).items()
        }

    def watch_agent(self, pid: int) -> None:
        """Account CPU and memory of this process (and its children) as the agent's; call again when it was restarted."""
        self.agent.follow(pid)

    def _sample_all(self) -> None:
        due, count = time.monotonic(), 0
        try:
            while not self._ending.wait(max(0.0, due - time.monotonic())):
                late = time.monotonic() - due
                if late > STALL_SECONDS:
                    self._stalls.append((time.time(), late))
                self._sample()
                if count % PING_EVERY_SAMPLES == 0:
                    self._sample_slowly()
                count += 1
                due = max(due + BIN_SECONDS, time.monotonic() - BIN_SECONDS)
        except Exception as error:  # told by finish: a sampler that ended early must not look like silence
            self._error = error

    def _sample(self) -> None:
        recording = self.recording
        for name, loads in self._loads.items():
            instance = recording.instances[name]
            with contextlib.suppress(OSError):
                self._sample_packets(name, instance, loads)
            with contextlib.suppress(OSError, ValueError):
                for role, descriptors in self._threads[name].items():
                    now = time.time()
                    spent = [parse_schedstat(os.pread(fd, 100, 0)) for fd in descriptors]
                    instance.run.setdefault(role, Series()).add(now, sum(run for run, _ in spent))
                    instance.wait.setdefault(role, Series()).add(now, sum(wait for _, wait in spent))
        now = time.time()
        ticks = parse_cpu_ticks(os.pread(self._stat, _STAT_BYTES, 0).decode())
        here = [ticks[cpu] for cpu in self._cpus if cpu in ticks]
        recording.host_cpu.add(now, sum(one.busy for one in here) / _TICKS_PER_SECOND)
        recording.steal.add(now, sum(one.steal for one in here) / _TICKS_PER_SECOND)
        for name, pid in self._qemu_pids.items():
            used = process_cpu_seconds(pid)
            self._qemu_last[name] = self._qemu_last[name] if used is None else used
            if name not in recording.instances:
                continue
            instance = recording.instances[name]
            instance.cpu.add(now, self._qemu_last[name])
            if self._loads[name].guest.disk is None:
                continue
            with contextlib.suppress(OSError, ValueError):
                for signal, value in parse_io(Path(f"/proc/{pid}/io").read_text()).items():
                    instance.host_io.setdefault(signal, Series()).add(now, value)
        recording.instances_cpu.add(now, sum(self._qemu_last.values()))
        recording.receiver_cpu.add(now, read_cpu_seconds(self._load_groups))
        recording.agent_cpu.add(now, self.agent.read())
        libvirtd = process_cpu_seconds(self._libvirtd_pid)
        if libvirtd is not None:
            recording.libvirtd_cpu.add(now, libvirtd)

    def _sample_packets(self, name: str, instance: InstanceRecording, loads: GuestLoads) -> None:
        received = loads.received()
        if received is None:
            return
        now = time.time()
        last, total = self._packets.get(name, (received, 0.0))
        total += (received - last) * loads.frame_bytes("tx")
        self._packets[name] = received, total
        instance.windows.setdefault("network_packets.tx", Series()).add(now, float(received))
        instance.windows.setdefault("network_bytes.tx", Series()).add(now, total)

    def _sample_slowly(self) -> None:
        self.agent.read_memory()
        self.recording.agent_peak_rss_bytes = self.agent.peak_rss_bytes
        for loads in self._loads.values():
            loads.helper_died()
            if loads.link is not None:
                loads.link.ping()

    def died(self) -> dict[str, str]:
        """Guests and generators that ended by themselves, and how; worth a look now and then while a run goes on."""
        return {name: loads.died for name, loads in self._loads.items() if loads.died}

    def finish(self, start: float, end: float) -> Recording:
        """Stop sampling and hand over all that was counted. ``start`` and ``end``: the measured time, whole Unix seconds.

        Waits for the guests' last reports, up to a second and a half beyond ``end``. Raises `LabError` when the sampler failed.
        """
        time.sleep(max(0.0, end + 1.5 - time.time()))
        self.close()
        if self._error is not None:
            raise LabError(f"the sampler failed: {self._error!r}")
        recording = self.recording
        recording.start, recording.end = start, end
        recording.stalls = [
            stall for stall in self._stalls[self._first_stall :] if start <= stall[0] <= end + STALL_SECONDS
        ]
        for name, loads in self._loads.items():
            self._collect(recording.instances[name], loads, start, end)
        return recording

    def close(self) -> None:
        """Stop sampling and let go of what is open; doing it again is harmless."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._thread.join(5)
        for roles in self._threads.values():
            for descriptor in (one for descriptors in roles.values() for one in descriptors):
                os.close(descriptor)
        os.close(self._stat)

    @staticmethod
    def _collect(instance: InstanceRecording, loads: GuestLoads, start: float, end: float) -> None:
        """Move a guest's own reports onto the host's clock and into its recording."""
        pings = [p for p in (loads.link.pings if loads.link else []) if p.host_seconds > start - 30]
        clock = fit_clock(pings)
        instance.clock_offset_seconds = clock.at((start + end) / 2)
        instance.died, instance.asked = loads.died, list(loads.asked)

        def moved(series: Series) -> Series:
            points = [(clock.to_host(t), v) for t, v in zip(list(series.times), list(series.values), strict=False)]
            kept = points[max(0, bisect_right([t for t, _ in points], start - MARGIN_SECONDS) - 1) :]
            return Series([t for t, _ in kept], [v for _, v in kept])

        for name, series in loads.bins.items():
            instance.bins[name] = moved(series)
        kernel = instance.bins["cpu"] = instance.run.get("vcpu", Series())
        for name in sorted({name for slot in loads.slots for name in slot.raw}):
            reports = moved(sum_series([slot.raw[name] for slot in loads.slots if name in slot.raw]))
            host = instance.host_io.get(name.replace("operations", "bytes").replace("seconds", "bytes"))
            if host and host.values[-1] > host.values[0]:
                instance.windows[name] = fill_gaps(reports, host, 0.0)
                continue
            shape = kernel if name == "cpu_events" else instance.bins.get(name)
            instance.windows[name] = fill_gaps(reports, shape) if shape else reports
        for name in ("network_packets.tx", "network_bytes.tx"):
            if name in instance.windows:
                instance.bins[name] = instance.windows[name]
        if "network_packets.rx" in instance.bins:
            packets = instance.bins["network_packets.rx"]
            frame = loads.frame_bytes("rx")
            instance.windows["network_packets.rx"] = packets
            instance.windows["network_bytes.rx"] = Series(list(packets.times), [v * frame for v in packets.values])
        instance.windows["cpu"] = kernel
