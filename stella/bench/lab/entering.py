"""Doing one thing inside a network namespace while this process stays where it is."""

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

_CLONE_NEWNET = 0x40000000


def inside(namespace: Path, make: Callable[[], socket.socket]) -> socket.socket:
    """The socket that ``make`` makes in the namespace at this path: it stays there. Raises OSError.

    A thread enters the namespace for it and ends there.
    """
    made: list[socket.socket] = []
    problems: list[OSError] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            if libc.setns(descriptor, _CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, f"setns: {os.strerror(number)}")
            made.append(make())
        except OSError as error:
            problems.append(error)

    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        thread = threading.Thread(target=enter, name="namespace")
        thread.start()
        thread.join()
    finally:
        os.close(descriptor)
    if problems:
        raise problems[0]
    return made[0]
