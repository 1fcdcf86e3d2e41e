"""Runs in the guest as ``qemu-system-x86_64 -m instance -uuid UUID -name NAME VCPUS``: threads with QEMU's names, which the test loads.

A vCPU is busy while the file /run/busy/NAME exists; its work holds no lock of Python's, so that vCPUs run side by side.
"""

import sys
import threading
import time
import zlib
from pathlib import Path

_PIECE = bytes(1 << 20)


def _run(name: str, busy: Path | None) -> None:
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)
    while True:
        if busy is not None and busy.exists():
            zlib.crc32(_PIECE)
        else:
            time.sleep(0.05)


def main() -> None:
    """Threads for vCPUs and one I/O thread; the first thread is the main loop."""
    name, vcpus = sys.argv[-2], int(sys.argv[-1])
    busy = Path("/run/busy") / name
    for number in range(vcpus):
        threading.Thread(target=_run, args=(f"CPU {number}/TCG", busy)).start()
    _run_io = threading.Thread(target=_run, args=("IO iothread1", None))
    _run_io.start()
    Path(f"/run/libvirt/qemu/{name}.ready").touch()
    while True:
        time.sleep(0.1)


if __name__ == "__main__":
    main()
