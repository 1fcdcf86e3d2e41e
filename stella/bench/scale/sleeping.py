"""Processes that look like QEMU's to an agent, and sleep: run by path under the system's Python.

``argv``: how many, and vCPUs of each. Prints a line of JSON for each: ``pid``, ``start_ticks``, ``threads`` by number and name. They
end with the standard input.
"""

import ctypes
import json
import os
import sys
import threading
import time

_PR_SET_NAME = 15
_LIBC = ctypes.CDLL(None)


def _named(name: str) -> None:
    _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def _sleep(name: str, names: dict[int, str]) -> None:
    _named(name)
    names[threading.get_native_id()] = name
    threading.Event().wait()


def _instance(vcpus: int, told: int, ends: int) -> None:
    names: dict[int, str] = {}
    for name in (*(f"CPU {n}/KVM" for n in range(vcpus)), "IO iothread1"):
        threading.Thread(target=_sleep, args=(name, names), daemon=True).start()
    while len(names) < vcpus + 1:
        time.sleep(0.001)
    _named("qemu-system-x86")
    pid = os.getpid()
    names[pid] = "qemu-system-x86"
    with open("/proc/self/stat", encoding="ascii") as stat:  # noqa: PTH123 - nothing more is imported than must be
        start_ticks = int(stat.read().rpartition(")")[2].split()[19])
    os.write(told, json.dumps({"pid": pid, "start_ticks": start_ticks, "threads": names}).encode() + b"\n")
    os.close(told)
    os.read(ends, 1)  # until the first process has ended
    os._exit(0)


def main() -> None:
    """Start them one after the other, and wait for the end of the input."""
    count, vcpus = int(sys.argv[1]), int(sys.argv[2])
    ends, held = os.pipe()
    for _ in range(count):
        tell, told = os.pipe()
        if os.fork() == 0:
            os.close(held)
            _instance(vcpus, told, ends)
        os.close(told)
        with os.fdopen(tell) as line:
            print(line.readline(), end="", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
