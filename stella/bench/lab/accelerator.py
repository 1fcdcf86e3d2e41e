"""Whether ordinary guests can use KVM here: found by booting one, because a device that opens says little."""

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path

from stella.bench.lab.image import Image, kernel_arguments

KVM = Path("/dev/kvm")
PROBE_SECONDS = 6.0  # a guest that really runs under KVM is up in one
_QEMU = (
    "/usr/bin/qemu-system-x86_64 -accel kvm -cpu host -machine pc -m 512 -nodefaults -display none -no-reboot "
    "-device virtio-serial-pci -chardev stdio,id=c,signal=off -device virtserialport,chardev=c,name=stella.bench"
)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boots(image: Image) -> bool:
    """Boot a guest under KVM until its agent says hello on standard output."""
    argv = [
        *_QEMU.split(),
        "-kernel",
        str(image.kernel),
        "-initrd",
        str(image.initramfs),
        "-append",
        kernel_arguments(),
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        limit, text = time.monotonic() + PROBE_SECONDS, b""
        try:
            while b"hello" not in text and (left := limit - time.monotonic()) > 0:
                if select.select([process.stdout], [], [], left)[0]:
                    piece = os.read(process.stdout.fileno(), 65536)
                    if not piece:
                        break
                    text += piece
        finally:
            process.send_signal(signal.SIGKILL)
        return b"hello" in text


def choose(image: Image, cache: Path) -> str:
    """``kvm`` or ``tcg``. The answer is kept until the machine boots again."""
    if not KVM.exists():
        return "tcg"
    path, boot = cache / "accelerator.json", _BOOT_ID.read_text().strip()
    try:
        kept = json.loads(path.read_text())
        if kept["boot"] == boot:
            return str(kept["accelerator"])
    except (OSError, ValueError, KeyError):
        pass
    found = "kvm" if _boots(image) else "tcg"
    path.write_text(json.dumps({"boot": boot, "accelerator": found}))
    return found
