"""A server that sends packets and one that takes the host's CPU, as a plain member makes them, and the packets counted at the tap."""

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from laboratory.enclosure import Enclosure

from stella.bench.lab import peer, tools
from stella.bench.lab.loads import GUEST_BURST_SECONDS
from stella.bench.lab.model import Workload
from stella.bench.lab.network import HEADER_BYTES, tbf_arguments
from tests.openstack.conftest import Failed, Person, eventually
from tests.openstack.outages.windows import Sample

AGENT_PORT, GATEWAY, PACKET_BYTES = "7777", "10.77.0.1", 64
SAMPLE_SECONDS = 0.1
_ANSWER_SECONDS = 120.0


class Guest:
    """One server and the line to its agent (deploy/laboratory/guest.py)."""

    def __init__(self, member: Person, enclosure: Enclosure, name: str) -> None:
        """Nothing is made yet."""
        self._member, self._enclosure, self.name = member, enclosure, name
        self.uuid = self.address = ""
        self._line: subprocess.Popen[bytes] | None = None

    def create(self, flavor: str) -> None:
        """Make the server. Raises `Failed`."""
        flags = ("--flavor", flavor, "--image", "stella-bench", "--network", "demo-net")
        try:
            self.uuid = str(self._member.openstack("server", "create", *flags, "--wait", self.name)["id"])
        except Failed as error:
            fault = self._member.openstack("server", "show", self.name).get("fault") or {}
            raise Failed(f"{self.name}: {fault.get('message', error)}") from None
        shown = self._member.openstack("server", "show", self.uuid)
        self.address = str(shown["addresses"]["demo-net"][0])

    def tap(self) -> str:
        """The host's side of its port."""
        ports = self._member.openstack("port", "list", "--server", self.uuid)
        return f"tap{ports[0]['ID'][:11]}"

    def _connect(self) -> subprocess.Popen[bytes]:
        """A line to the guest's agent that has greeted; the guest may still boot."""
        limit = time.monotonic() + _ANSWER_SECONDS
        argv = self._enclosure.inside(["/bin/busybox", "nc", self.address, AGENT_PORT])
        while True:
            line = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert line.stdout is not None
            if b'"hello"' in line.stdout.readline():
                return line
            line.kill()
            line.wait()
            if time.monotonic() > limit:
                raise Failed(f"{self.name}: its agent does not answer on {self.address}:{AGENT_PORT}")
            time.sleep(1)

    def tell(self, *commands: dict[str, Any]) -> None:
        """Send commands to its agent; the line stays open, for loads end with it."""
        if self._line is None:
            self._line = self._connect()
        assert self._line.stdin is not None
        for command in commands:
            self._line.stdin.write(json.dumps(command).encode() + b"\n")
        self._line.stdin.flush()

    def send_packets(self, per_second: float) -> None:
        """Send so many packets a second to the gateway, until the server is deleted."""
        words = tbf_arguments(per_second * (PACKET_BYTES + HEADER_BYTES), burst_seconds=GUEST_BURST_SECONDS)
        self.tell(
            {"op": "do", "argv": ["tc", "qdisc", "replace", "dev", "eth0", "root", *words]},
            {"op": "run", "id": 1, "argv": tools.sockperf_sender(GATEWAY, tools.FIRST_PORT, PACKET_BYTES)},
        )

    def burn(self, threads: int) -> None:
        """Keep so many vCPUs busy."""
        workload = Workload(kind="cpu", threads=threads)
        self.tell({"op": "run", "id": 1, "argv": tools.sysbench_command(workload)})

    def close(self) -> None:
        """Close the line."""
        if self._line is not None:
            self._line.kill()
            self._line.wait()
            self._line = None


def delete(member: Person, names: Sequence[str]) -> None:
    """Delete those servers that are there, in one command: each takes long on a busy machine."""
    there = {each["Name"] for each in member.openstack("server", "list")}
    if wanted := [name for name in names if name in there]:
        member.run("openstack", "server", "delete", "--wait", *wanted)


@contextlib.contextmanager
def sink(enclosure: Enclosure) -> Iterator[None]:
    """Somebody who takes the packets, at the gateway."""
    with tempfile.TemporaryDirectory() as directory:
        words = ("receive", f"{directory}/count", GATEWAY, str(tools.FIRST_PORT))
        argv = ["/usr/bin/python3", "-I", "-S", peer.__file__, *words]
        process = subprocess.Popen(enclosure.inside(argv), stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None and process.stdout.readline()
            yield
        finally:
            process.kill()
            process.wait()


class Counter:
    """Packets that a tap received, read from outside ten times a second, in a thread."""

    def __init__(self, holder: int, device: str) -> None:
        """``holder`` is a process in the network namespace of the tap."""
        self._path, self._device = Path(f"/proc/{holder}/net/dev"), device
        self._samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counter", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            for line in self._path.read_text().splitlines():
                name, _, counters = line.partition(":")
                if name.strip() == self._device:
                    self._samples.append((time.monotonic(), float(counters.split()[1])))

    def samples(self) -> Sequence[Sample]:
        """What was read so far."""
        return list(self._samples)

    def rate(self, seconds: float) -> float:
        """Packets a second over the last ``seconds``."""
        samples = self.samples()
        recent = [each for each in samples if each[0] >= samples[-1][0] - seconds] if samples else []
        if len(recent) < 2:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

    def await_rate(self, per_second: float) -> None:
        """Wait until so many packets a second pass."""
        eventually(lambda: self.rate(2.0), lambda rate: rate >= per_second, seconds=_ANSWER_SECONDS)

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(10)
