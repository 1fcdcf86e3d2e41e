"""The loads of one guest: prepared once, then stopped and continued by signal, so that a start costs nothing and counts never reset.

Rates are kept by the kernel below a tool (a token bucket under the guest's NIC, io.max for its disk), so that changing one needs
no restart. Other keys restart the tool; its counts go on from where they were.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stella.bench.lab import peer, tools
from stella.bench.lab.channel import Link, Message
from stella.bench.lab.model import Guest, LabError, Place, Workload, WorkloadError
from stella.bench.lab.network import HEADER_BYTES, tbf_arguments, udp_received
from stella.bench.lab.process import finish, launch
from stella.bench.recording import Asked, Series
from stella.bench.scenario import LOAD_FIELDS

BIN_SECONDS = 0.1
SAMPLES_TOGETHER = 5  # sent in one message: each costs the guest an interrupt
UNBOUNDED_SENDER_PACKETS_PER_SECOND = 100_000.0
"""More than any emulated guest receives, less than what would take a host core."""
PROOF_PACKETS = 2000  # sockperf is then past its warm-up
GUEST_BURST_SECONDS = 0.02  # the guest's timers tick every 4 ms
PORTS_OF_A_GUEST = 16  # peers of several guests may share an address
_PEER = ("/usr/bin/python3", "-I", "-S", peer.__file__)
_COUNT_BYTES = 8
_GUEST_CGROUP = "/sys/fs/cgroup"


@dataclass(slots=True)
class Slot:
    """One workload of a guest and the tool that plays it. ``raw``: cumulative signals on the guest's clock, over all restarts."""

    index: int
    workload: Workload
    port: int  # UDP; this workload has it to itself
    running: bool = False
    identity: int = -1
    proved: bool = False
    reports: tools.FioReports | tools.SysbenchReports | None = None
    raw: dict[str, Series] = field(default_factory=dict)
    base: dict[str, float] = field(default_factory=dict)
    sender: "subprocess.Popen[bytes] | None" = None


class GuestLoads:
    """All that plays load in and for one guest. ``helpers``: their control groups; ``directory``: for the receiver's count."""

    def __init__(self, guest: Guest, seat: Place, helpers: tuple[Path, ...], directory: Path) -> None:
        self.guest, self.seat, self._helpers = guest, seat, helpers
        first_port = tools.FIRST_PORT + PORTS_OF_A_GUEST * seat.index
        self.slots = [
            Slot(index, tools.check(w), first_port + index)
            for index, w in enumerate(guest.workloads)
            if w.kind != "idle"
        ]
        self.link: Link | None = None
        self.died = ""
        self.bins: dict[str, Series] = {}  # on the guest's clock
        self.asked: list[Asked] = []
        self.closing = False
        self.receiver: subprocess.Popen[bytes] | None = None
        self._count_file = directory / f"received{seat.index}"
        self._count = -1
        self._tails: dict[int, str] = {}
        self._retired: set[int] = set()
        self._next_identity = 0
        self._device = threading.Event()
        self._device_number = ""
        self._signals: set[str] = set()
        self._check_together([slot.workload for slot in self.slots])

    def _check_together(self, workloads: list[Workload]) -> None:
        name = self.guest.name
        if any(w.kind == "disk" for w in workloads) and self.guest.disk is None:
            raise WorkloadError(f"{name}: a disk workload needs a disk")
        for direction in ("tx", "rx"):
            rates = {w.rate is None for w in workloads if w.kind == "udp" and w.direction == direction}
            if len(rates) > 1:
                raise WorkloadError(
                    f"{name}: rate: either all udp {direction} workloads of an instance have one, or none"
                )

    def _of(self, kind: str, direction: str | None = None) -> list[Slot]:
        return [s for s in self.slots if s.workload.kind == kind and direction in (None, s.workload.direction)]

    # What arrives from the guest, on the reader's thread

    def handle(self, message: Message) -> None:
        """Take one message of the guest agent."""
        if message.get("gone"):
            self._die("the guest ended")
        elif "out" in message:
            self._output(message)
        elif "exit" in message:
            identity = message["id"]
            if identity not in self._retired:
                tail = self._tails.get(identity, "").strip().splitlines()
                self._die(f"a load ended with {message['exit']}: {tail[-1] if tail else 'it said nothing'}")
        elif "files" in message:
            for moment, texts in message["files"]:
                self._files(moment, texts)
        elif "error" in message:
            self._die(f"the guest agent says: {message['error']}")

    def _die(self, why: str) -> None:
        if not self.died and not self.closing:
            self.died = why

    def _output(self, message: Message) -> None:
        identity, text = message["id"], message["out"]
        self._tails[identity] = (self._tails.get(identity, "") + text)[-400:]
        slot = next((s for s in self.slots if s.identity == identity), None)
        if slot is None or slot.reports is None:
            return
        for moment, values in slot.reports.feed(message["t"], text):
            for name, value in values.items():
                slot.raw.setdefault(name, Series()).add(moment, slot.base.get(name, 0.0) + value)
            slot.proved = True

    def _files(self, moment: float, texts: dict[str, str]) -> None:
        if "device" in texts:
            self._device_number = texts["device"].strip()
            self._device.set()
        values: dict[str, float] = {}
        if "disk" in texts:
            values = tools.disk_stat_values(texts["disk"])
        if "snmp" in texts:
            values["network_packets.rx"] = float(udp_received(texts["snmp"]))
        for name, value in values.items():
            self.bins.setdefault(name, Series()).add(moment, value)

    # What the bench asks for

    def _need_link(self) -> Link:
        if self.link is None:
            raise LabError(f"guest {self.guest.name} has not booted")
        return self.link

    def configure(self) -> None:
        """Give the guest its address and have it watch the counters its loads need; nothing is watched that nobody reads."""
        link = self._need_link()
        for argv in self.seat.set_up():
            link.send("do", argv=argv)
        watched: dict[str, str] = {}
        if self._of("disk"):
            link.send("watch", files={"device": "/sys/block/vda/dev"}, period=BIN_SECONDS, together=1)
            if not self._device.wait(60):
                raise LabError(f"guest {self.guest.name}: its disk does not appear")
            link.send("write", path=f"{_GUEST_CGROUP}/cgroup.subtree_control", text="+io")
            watched["disk"] = "/sys/block/vda/stat"
        if self._of("udp", "rx"):
            watched["snmp"] = "/proc/net/snmp"
        link.send("watch", files=watched, period=self.guest.bin_seconds, together=SAMPLES_TOGETHER)

    def prepare(self) -> None:
        """Start every tool, to be stopped again when it has shown that it works (see `hold_when_proved`)."""
        ports = [str(slot.port) for slot in self._of("udp", "tx")]
        if ports:
            self._start_receiver(ports)
        self._apply_rates()
        for slot in self.slots:
            self._play(slot)

    def _start_receiver(self, ports: list[str]) -> None:
        """Start the guest's peer and wait until it listens: before that it is not yet in its namespace either."""
        argv = [*_PEER, "receive", str(self._count_file), self.seat.peer_ip, *ports]
        self.receiver = launch(argv, namespace=self.seat.namespace, groups=self._helpers, stdout=subprocess.PIPE)
        assert self.receiver.stdout is not None
        with self.receiver.stdout as answer:
            if not answer.readline():
                raise LabError(f"{self.guest.name}: its receiver does not start")
        self._count = os.open(self._count_file, os.O_RDONLY)

    def _play(self, slot: Slot) -> None:
        """Start the tool of a slot in the guest, as a new run."""
        workload, link, group = slot.workload, self._need_link(), ""
        if slot.identity >= 0:
            self._retired.add(slot.identity)
            link.send("signal", id=slot.identity, signal=int(signal.SIGKILL))
            slot.base = {name: series.values[-1] for name, series in slot.raw.items()}
        slot.proved = False
        if workload.kind == "cpu" and not workload.threads:
            slot.identity, slot.proved = -1, True  # nothing to do until its threads are changed
            return
        if workload.kind == "disk":
            argv = tools.fio_command(workload, self.guest.bin_seconds)
            slot.reports, group = tools.FioReports(), f"{_GUEST_CGROUP}/load"
        elif workload.kind == "cpu":
            argv, slot.reports = tools.sysbench_command(workload), tools.SysbenchReports()
        elif workload.direction == "tx":
            argv = tools.sockperf_sender(self.seat.peer_ip, slot.port, workload.packet_bytes)
        else:
            argv = tools.sockperf_receiver(self.seat.guest_ip, slot.port)
        slot.identity = self._next_identity
        self._next_identity += 1
        link.send("run", id=slot.identity, argv=argv, group=group)

    def hold_when_proved(self) -> bool:
        """Stop each tool that has shown that it works; True when all have."""
        for slot in self.slots:
            if slot.workload.kind == "udp" and not slot.proved:
                received = self.received()
                slot.proved = slot.workload.direction == "rx" or (received is not None and received > PROOF_PACKETS)
                if slot.proved and slot.workload.direction == "tx":
                    self._signal(slot, signal.SIGSTOP)
            elif slot.proved and not slot.running and slot.workload.kind != "udp":
                self._signal(slot, signal.SIGSTOP)
        return all(slot.proved for slot in self.slots)

    def received(self) -> int | None:
        """Datagrams that the guest's peer got from it so far; None without one."""
        if self._count < 0:
            return None
        return int.from_bytes(os.pread(self._count, _COUNT_BYTES, 0), sys.byteorder)

    def frame_bytes(self, direction: str) -> float:
        """Mean bytes on the wire of the packets that the guest sends (``tx``) or is sent (``rx``)."""
        sizes = [slot.workload.packet_bytes for slot in self._of("udp", direction)] or [64]
        return sum(sizes) / len(sizes) + HEADER_BYTES

    def _signal(self, slot: Slot, number: signal.Signals) -> None:
        if slot.identity >= 0:
            self._need_link().send("signal", id=slot.identity, signal=int(number))

    def start(self, index: int | None = None) -> None:
        """Let all loads run, or the workload ``index``."""
        for slot in self.slots if index is None else [s for s in self.slots if s.index == index]:
            slot.running = True
            if slot.workload.kind == "udp" and slot.workload.direction == "rx":
                self._start_sender(slot)
            else:
                self._signal(slot, signal.SIGCONT)
        self._note_asked()

    def _start_sender(self, slot: Slot) -> None:
        if slot.sender is not None:
            slot.sender.send_signal(signal.SIGCONT)
        else:
            packets = slot.workload.rate or UNBOUNDED_SENDER_PACKETS_PER_SECOND
            words = ["send", self.seat.guest_ip, str(slot.port), str(slot.workload.packet_bytes), f"{packets:.3f}"]
            slot.sender = launch([*_PEER, *words], namespace=self.seat.namespace, groups=self._helpers)

    def stop(self) -> None:
        """Halt all loads."""
        for slot in self.slots:
            slot.running = False
            if slot.sender is not None:
                slot.sender.send_signal(signal.SIGSTOP)
            elif slot.workload.kind != "udp" or slot.workload.direction == "tx":
                self._signal(slot, signal.SIGSTOP)
        self._note_asked()

    def change(self, index: int | None, keys: dict[str, Any]) -> None:
        """Change keys of the workload ``index``, or of each that takes them all. Raises `WorkloadError`, having changed nothing."""
        chosen = [s for s in self.slots if index in (None, s.index)]
        if index is None and len(chosen) > 1:
            chosen = [s for s in chosen if set(keys) <= LOAD_FIELDS[s.workload.kind]]
        if not chosen:
            raise WorkloadError(f"{self.guest.name}: {', '.join(keys)}: no workload takes it")
        after = {s.index: tools.changed(s.workload, keys) for s in chosen}
        if any(after[s.index].direction != s.workload.direction for s in chosen):
            raise WorkloadError("direction: cannot be changed while the guest runs")
        self._check_together([after.get(s.index, s.workload) for s in self.slots])
        for slot in chosen:
            before, slot.workload = slot.workload, after[slot.index]
            received = slot.workload.kind == "udp" and slot.workload.direction == "rx"
            if received or replace(before, rate=None) != replace(slot.workload, rate=None):
                self._replay(slot)
        self._apply_rates()
        self._note_asked()

    def _replay(self, slot: Slot) -> None:
        if slot.workload.kind == "udp" and slot.workload.direction == "rx":
            if slot.sender is not None:
                finish(slot.sender)
                slot.sender = None
            if slot.running:
                self._start_sender(slot)
            return
        self._play(slot)
        if not slot.running:
            self._signal(slot, signal.SIGSTOP)

    def _apply_rates(self) -> None:
        link = self._need_link()
        sending = [s.workload for s in self._of("udp", "tx")]
        if sending and all(w.rate is not None for w in sending):
            rate = sum((w.rate or 0.0) * (w.packet_bytes + HEADER_BYTES) for w in sending)
            words = tbf_arguments(rate, burst_seconds=GUEST_BURST_SECONDS)
            link.send("do", argv=["tc", "qdisc", "replace", "dev", "eth0", "root", *words])
        elif sending:
            link.send("do", argv=["tc", "qdisc", "replace", "dev", "eth0", "root", "pfifo_fast"])
        disks = self._of("disk")
        if disks:
            self._limit_disk(disks)

    def _limit_disk(self, slots: list[Slot]) -> None:
        limits = {"rbps": 0.0, "wbps": 0.0}
        for slot in slots:
            for name, rate in tools.asked_rates(slot.workload, self.guest.vcpus).items():
                if name.startswith("block_bytes."):
                    limits[f"{name.removeprefix('block_bytes.')[0]}bps"] += rate
        words = [f"{knob}={'max' if rate in (0.0, float('inf')) else int(rate)}" for knob, rate in limits.items()]
        self._need_link().send(
            "write", path=f"{_GUEST_CGROUP}/load/io.max", text=f"{self._device_number} {' '.join(words)}"
        )

    def _note_asked(self) -> None:
        totals: dict[str, float] = {}
        for slot in self.slots:
            for name, rate in tools.asked_rates(slot.workload, self.guest.vcpus).items():
                totals[name] = totals.get(name, 0.0) + (rate if slot.running else 0.0)
        self._signals |= totals.keys()
        now = time.time()
        self.asked += [Asked(start=now, signal=name, rate=totals.get(name, 0.0)) for name in sorted(self._signals)]

    def helper_died(self) -> None:
        """Notice a receiver or sender on the host that is gone."""
        helpers = [("receiver", self.receiver), *(("sender", slot.sender) for slot in self.slots)]
        for what, process in helpers:
            if process is not None and process.poll() is not None:
                self._die(f"its {what} on the host ended with {process.returncode}")

    def close(self) -> None:
        """End the helpers on the host."""
        self.closing = True
        for process in (self.receiver, *(slot.sender for slot in self.slots)):
            if process is not None:
                finish(process)
        self.receiver = None
        count, self._count = self._count, -1
        if count >= 0:
            os.close(count)
