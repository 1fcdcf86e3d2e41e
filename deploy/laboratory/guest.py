"""The guest image: the bench's kernel and load tools with a first process that takes an address and serves the bench's agent by TCP.

An initramfs may be several archives, one after the other; a later file replaces an earlier one. So the bench's image is used as it is,
and only its `/init` is replaced.
"""

import hashlib
import stat
import subprocess
from pathlib import Path

from laboratory.settings import LaboratoryError, Settings
from stella.bench.lab import image as bench

_INIT = """#!/bin/sh
export PATH=/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
# Whole checksums: the virtual switch's userspace datapath hands frames on as they are.
for m in $(cat /modules/order); do
  case $m in virtio_net) options="csum=0 gso=0" ;; *) options= ;; esac
  insmod /modules/$m.ko $options
done
ip link set lo up
ip link set eth0 up
ulimit -n 4096
busybox udhcpc -q -i eth0 -s /udhcpc.sh -t 20 -T 2 -A 2
echo "stella-bench: ready" >/dev/console
while :; do busybox nc -ll -p PORT -e /session; sleep 1; done
"""
_UDHCPC = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
busybox ifconfig $interface $ip netmask $subnet
[ -n "$router" ] && busybox route add default gw $router
echo "stella-bench: address $ip" >/dev/console
"""
# The bench's agent speaks over a device; here over the connection that busybox hands on as standard input, until it is closed.
_SESSION = """#!/bin/sh
exec python3 -I -S -c 'import marshal, os
space = {"__name__": "guest_agent"}
exec(marshal.loads(open("/agent.pyc", "rb").read()[16:]), space)
read = os.read
def read_or_end(descriptor, size):
    data = read(descriptor, size)
    if descriptor == 0 and not data: os._exit(0)
    return data
os.read = read_or_end
space["Agent"](0).serve()'
"""


class GuestImage:
    """Made once for the machine's packages."""

    port = 7777
    """Where a guest's agent listens. It runs what it is told: security groups let in the laboratory's own address alone."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.data / "image"

    def files(self) -> tuple[Path, Path, Path]:
        """(kernel, initramfs, disk)."""
        return self._directory / "kernel", self._directory / "initramfs", self._directory / "disk"

    def _built(self) -> bench.Image:
        try:
            return bench.build(self._directory / "bench")
        except Exception as error:
            raise LaboratoryError(f"guest image: {error}") from None

    def digest(self) -> str:
        """Changes with what the image is made of."""
        digest = hashlib.sha256(Path(__file__).read_bytes())
        digest.update(self._built().initramfs.name.encode())
        return digest.hexdigest()[:16]

    def arguments(self) -> str:
        """The guests' kernel command line."""
        return bench.kernel_arguments(Path("/proc/cpuinfo").read_text())  # Nova emulates them: virt_type = qemu

    def done(self) -> bool:
        """Whether it was made from what is there now."""
        mark = self._directory / "digest"
        return mark.exists() and mark.read_text() == self.digest()

    def make(self) -> None:
        """Make kernel, initramfs and an empty disk."""
        self._directory.mkdir(parents=True, exist_ok=True)
        built = self._built()
        kernel, initramfs, disk = self.files()
        kernel.write_bytes(built.kernel.read_bytes())
        extra = self._directory / "extra"
        archive = bench.Archive(extra)
        for name, text in (
            ("init", _INIT.replace("PORT", str(self.port))),
            ("udhcpc.sh", _UDHCPC),
            ("session", _SESSION),
        ):
            archive.add(name, stat.S_IFREG | 0o755, text.encode())
        archive.close()
        with initramfs.open("wb") as file:
            for part in (built.initramfs, extra):
                data = part.read_bytes()
                file.write(data + b"\0" * (-len(data) % 512))
        disk.unlink(missing_ok=True)
        subprocess.run(["/usr/bin/qemu-img", "create", "-q", "-f", "raw", str(disk), "16M"], check=True)
        (self._directory / "digest").write_text(self.digest())
