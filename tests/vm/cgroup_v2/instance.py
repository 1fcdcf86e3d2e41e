"""Runs in the guest as ``qemu-system-x86_64 instance.pyc -uuid UUID -name NAME VCPUS``: threads with QEMU's names, to be loaded.

A vCPU is busy while the file /run/busy/NAME exists; its work holds no lock of Python's, so that vCPUs run side by side.
"""

import os
import sys
import threading
import time
import zlib

_PIECE = bytes(1 << 20)


def _run(name: str, busy: str) -> None:
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(name)
    while True:
        if busy and os.path.exists(busy):  # noqa: PTH110 (pathlib takes a second to import in the guest)
            zlib.crc32(_PIECE)
        else:
            time.sleep(0.1)


def main() -> None:
    """Threads for the vCPUs and one I/O thread; the first thread is the main loop."""
    name, vcpus = sys.argv[-2], int(sys.argv[-1])
    for number in range(vcpus):
        threading.Thread(target=_run, args=(f"CPU {number}/TCG", f"/run/busy/{name}")).start()
    threading.Thread(target=_run, args=("IO iothread1", "")).start()
    _run("qemu-system-x86", "")


if __name__ == "__main__":
    main()
