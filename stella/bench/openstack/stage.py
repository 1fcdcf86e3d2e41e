"""Nova servers as a stage of the bench: the same loads, receivers and recorder as in the bench's own laboratory.

The servers run in the namespaces of `make openstack`. Their peers are processes in its network namespace, on the network's gateway
address, in a control group of their own, as everything that plays or measures load.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stella.bench.lab.channel import Link
from stella.bench.lab.entering import inside
from stella.bench.lab.leftovers import sweep
from stella.bench.lab.loads import GuestLoads
from stella.bench.lab.model import Guest, LabError, Place
from stella.bench.lab.process import start_ticks
from stella.bench.lab.rig import Rig
from stella.bench.openstack.servers import Member, Server
from stella.bench.openstack.surroundings import Surroundings, listener, qemu_of
from stella.bench.stage import Opener

AGENT_PORT = 7777
"""Where the agent of the image listens (deploy/laboratory/guest.py)."""

BOOT_SECONDS = 180.0
FILL_SECONDS = 180.0
_CONNECT_SECONDS = 2.0
_FILL = (
    *("fio", "--name=fill", "--filename=/dev/vda", "--rw=write", "--bs=1M", "--ioengine=libaio", "--iodepth=4"),
    *("--direct=1", "--thread", "--output=/dev/null"),
)


def opener(surroundings: Surroundings) -> Opener:
    """Makes stages on this cloud, for `stella.bench.run.Options`."""
    return lambda scenario, cache, progress: CloudStage(surroundings, progress)


class CloudStage(Rig):
    """Servers of a plain member. Entering it deletes what a killed bench left; leaving it deletes the servers."""

    def __init__(self, surroundings: Surroundings, progress: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(progress)
        self.surroundings = surroundings
        self.member = Member(surroundings.member)
        self._servers: dict[str, Server] = {}

    def _open(self) -> None:
        if os.geteuid() != 0:
            raise LabError("the laboratory needs root")
        for name in sweep():
            self.progress(f"cleaned up after {name}, whose bench was killed")
        self._libvirtd_pid = listener(self.surroundings.libvirt_socket)
        left = self.member.sweep()
        if left:
            self.progress(f"deleted {left} servers of a bench that was killed")
        self._open_helpers()
        self._undo.callback(self._end_guests)

    def _end_guests(self) -> None:
        for loads in self.loads.values():
            loads.closing = True
        self.progress("deleting the servers")
        self.member.delete()

    def boot(self, guests: Sequence[Guest], *, prepare: bool = True) -> None:
        """Make the servers. Raises `LabError` that names the guest."""
        for guest in guests:
            if any(w.kind == "udp" and w.direction == "rx" for w in guest.workloads):
                raise LabError(f"{guest.name}: rx: the demonstration's security group lets no load in")
        self.progress(f"creating {len(guests)} servers")
        self._servers = self.member.create(guests)
        for index, guest in enumerate(guests, start=1):
            server = self._servers[guest.name]
            self.guests[guest.name] = guest
            seat = Place(index=index, guest_ip=server.address, peer_ip=server.gateway, namespace=self.network_namespace)
            self.loads[guest.name] = GuestLoads(guest, seat, self._load_groups, self.home)
            self.qemu_pids[guest.name], self.accelerator = qemu_of(server.uuid)
        self.progress("waiting for the guests")
        limit = time.monotonic() + BOOT_SECONDS
        for name, loads in self.loads.items():
            loads.link = Link(name, self._connect(name, limit), loads.handle)
            self.lines.add(loads.link)
        self._wait_until_all_answer(list(self.loads.values()), limit)
        if prepare:
            self.prepare(guests)

    def prepare(self, guests: Sequence[Guest]) -> None:
        """Write their disks once, then as everywhere."""
        self._fill_disks()
        super().prepare(guests)

    def _connect(self, name: str, limit: float) -> socket.socket:
        address = (self._servers[name].address, AGENT_PORT)
        while True:
            try:
                line = inside(
                    Path(self.network_namespace), lambda: socket.create_connection(address, timeout=_CONNECT_SECONDS)
                )
            except OSError as error:
                ended = start_ticks(self.qemu_pids[name]) is None
                if ended or time.monotonic() > limit:
                    why = "its QEMU ended" if ended else str(error)
                    raise LabError(f"guest {name} does not answer on {address[0]}:{AGENT_PORT}: {why}") from None
                time.sleep(0.3)
                continue
            line.settimeout(None)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return line

    def _fill_disks(self) -> None:
        """Write each disk that will be read, once: a cluster that was never written costs its reader nothing."""
        filling = [loads for name, loads in self.loads.items() if self.guests[name].disk]
        if filling:
            self.progress("writing the disks")
        for loads in filling:
            assert loads.link is not None
            loads.link.answered.clear()
            loads.link.send("do", argv=_FILL)
            loads.link.ping()
        limit = time.monotonic() + FILL_SECONDS
        for loads in filling:
            assert loads.link is not None
            while not loads.link.answered.wait(0.3):
                if loads.died or time.monotonic() > limit:
                    raise LabError(f"guest {loads.guest.name}: its disk is not written: {loads.died or 'no answer'}")

    @property
    def libvirtd_pid(self) -> int:
        """Nova's libvirtd."""
        return self._libvirtd_pid

    @property
    def network_namespace(self) -> str:
        """That of libvirtd, by its path."""
        return f"/proc/{self._libvirtd_pid}/ns/net"

    @property
    def uri(self) -> str:
        """Nova's libvirtd."""
        return self.surroundings.libvirt_uri

    def uuid(self, name: str) -> str:
        """A server's uuid."""
        return self._servers[name].uuid
