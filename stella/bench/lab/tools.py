"""The load generators: their command lines, what they print, and what a workload asks for. Values in, values out."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from stella.bench.keys import InvalidScenario
from stella.bench.lab.model import Workload, WorkloadError
from stella.bench.lab.network import HEADER_BYTES
from stella.bench.scenario import LOAD_FIELDS, check_load

# The mix of request sizes that Iometer ships as its file-server access pattern, with 80 % reads, all random.
IOMETER_SIZES = "512/10:1k/5:2k/5:4k/60:8k/2:16k/4:32k/4:64k/10"
IOMETER_READ_RATIO = 0.8
IOMETER_MEAN_BYTES = 11346.0
FIRST_PORT = 11111
FOR_EVER_SECONDS = "30000000"
SHORTEST_REPORT_SECONDS = 0.5
_FIO = (
    "--name=load --filename=/dev/vda --ioengine=libaio --direct=1 --thread --norandommap --randrepeat=0 --time_based "
    f"--runtime={FOR_EVER_SECONDS} --disable_clat=1 --disable_slat=1 --clat_percentiles=0 --lat_percentiles=0 "
    "--slat_percentiles=0 --disk_util=0 --eta=never --output-format=json"
)


def check(workload: Workload) -> Workload:
    """The same workload. Raises `WorkloadError` that names the key that cannot be."""
    try:
        return check_load(workload)
    except InvalidScenario as error:
        raise WorkloadError(str(error)) from None


def changed(workload: Workload, keys: Mapping[str, Any]) -> Workload:
    """The workload with some keys changed. Raises `WorkloadError` for a key that it does not take."""
    for key in keys:
        if key not in LOAD_FIELDS[workload.kind]:
            raise WorkloadError(f"{key}: a {workload.kind} workload takes none")
    return check(replace(workload, **keys))


def fio_command(workload: Workload, bin_seconds: float) -> list[str]:
    """fio, direct and asynchronous, that keeps no percentiles (they would cost the guest more).

    It reports as often as the guest's counters are read, but at most twice a second: a starved emulated guest pays for each
    report (`docs/decisions/0010`).
    """
    report_ms = int(max(SHORTEST_REPORT_SECONDS, bin_seconds) * 1000)
    if workload.pattern == "iometer":
        access = ["--rw=randrw", f"--rwmixread={IOMETER_READ_RATIO * 100:.0f}", f"--bssplit={IOMETER_SIZES}"]
    else:
        access = [f"--rw={workload.pattern}", f"--bs={workload.block_bytes}"]
    return ["fio", *_FIO.split(), *access, f"--iodepth={workload.depth}", f"--status-interval={report_ms}ms"]


def sysbench_command(workload: Workload) -> list[str]:
    """sysbench's prime search, for ever, that reports each second."""
    options = [f"--threads={workload.threads}", "--time=0", "--events=0", "--report-interval=1", "--percentile=0"]
    return ["sysbench", "cpu", *options, "run"]


def sockperf_sender(ip: str, port: int, packet_bytes: int) -> list[str]:
    """sockperf as a sender, as fast as its socket takes packets; a rate is kept by the queue below it, which blocks it.

    (sockperf's own rate spins between packets: a sender of few packets would look like a busy one.)
    """
    return f"sockperf throughput -i {ip} -p {port} -m {packet_bytes} -t {FOR_EVER_SECONDS} --mps=max".split()


def sockperf_receiver(ip: str, port: int) -> list[str]:
    """sockperf as a receiver that never answers."""
    return ["sockperf", "server", "-i", ip, "-p", str(port)]


def fio_values(document: Mapping[str, Any]) -> dict[str, float]:
    """Cumulative signals from one of fio's JSON reports."""
    job = document["jobs"][0]
    values: dict[str, float] = {}
    for direction in ("read", "write"):
        found = job[direction]
        values[f"block_bytes.{direction}"] = float(found["io_bytes"])
        values[f"block_operations.{direction}"] = float(found["total_ios"])
        latency = found["lat_ns"]
        values[f"block_seconds.{direction}"] = latency["mean"] * latency.get("N", found["total_ios"]) / 1e9
    return values


class FioReports:
    """Cuts what fio prints into reports."""

    def __init__(self) -> None:
        self._text = ""
        self._decoder = json.JSONDecoder()

    def feed(self, guest_seconds: float, text: str) -> Iterator[tuple[float, dict[str, float]]]:
        """Each whole report: when fio made it (guest's clock) and its cumulative signals."""
        self._text += text
        while (start := self._text.find("{\n")) >= 0:
            if "\n}\n" not in self._text[start:]:
                return
            try:
                document, after = self._decoder.raw_decode(self._text, start)
            except ValueError:
                self._text = self._text[start + 1 :]
                continue
            self._text = self._text[after:]
            stamp = float(document.get("timestamp_ms", guest_seconds * 1000)) / 1000
            yield stamp, fio_values(document)


class SysbenchReports:
    """Adds up sysbench's events per second over the time between its reports."""

    def __init__(self) -> None:
        self._pattern = re.compile(r"^\[ \d+s \] thds: \d+ eps: ([0-9.]+)", re.MULTILINE)
        self._last: float | None = None
        self._events = 0.0
        self._rest = ""

    def feed(self, guest_seconds: float, text: str) -> Iterator[tuple[float, dict[str, float]]]:
        """Each report: when it came (guest's clock) and all events so far."""
        whole, newline, self._rest = (self._rest + text).rpartition("\n")
        for found in self._pattern.finditer(whole + newline):
            elapsed = 1.0 if self._last is None else guest_seconds - self._last
            if elapsed <= 0:
                continue
            self._events += float(found[1]) * elapsed
            self._last = guest_seconds
            yield guest_seconds, {"cpu_events": self._events}


def asked_rates(workload: Workload, vcpus: int) -> dict[str, float]:
    """What a running workload asks for, per signal in its base unit; ``inf`` when unbounded."""
    rate = float("inf") if workload.rate is None else workload.rate
    if workload.kind == "udp":
        frame = workload.packet_bytes + HEADER_BYTES
        return {f"network_packets.{workload.direction}": rate, f"network_bytes.{workload.direction}": rate * frame}
    if workload.kind == "cpu":
        return {"cpu": float(min(workload.threads, vcpus)), "cpu_events": float("inf") if workload.threads else 0.0}
    if workload.kind == "disk":
        reads = {"read": 1.0, "randread": 1.0, "iometer": IOMETER_READ_RATIO}.get(workload.pattern, 0.0)
        rates: dict[str, float] = {}
        for direction, ratio in (("read", reads), ("write", 1.0 - reads)):
            if ratio:
                rates[f"block_bytes.{direction}"] = rate * ratio
                mean = IOMETER_MEAN_BYTES if workload.pattern == "iometer" else float(workload.block_bytes)
                rates[f"block_operations.{direction}"] = rate * ratio / mean
        return rates
    return {}


def disk_stat_values(text: str) -> dict[str, float]:
    """Cumulative signals from /sys/block/DISK/stat (kernel's Documentation/block/stat.rst): sectors of 512 bytes, milliseconds."""
    field = [int(word) for word in text.split()]
    return {
        "block_operations.read": float(field[0]),
        "block_bytes.read": field[2] * 512.0,
        "block_seconds.read": field[3] / 1e3,
        "block_operations.write": float(field[4]),
        "block_bytes.write": field[6] * 512.0,
        "block_seconds.write": field[7] / 1e3,
    }
