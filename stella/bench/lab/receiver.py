"""A guest's peer: takes UDP packets off sockets and forgets them, thousands at a time, every few milliseconds.

A receiver that wakes for each packet costs 8 us of host CPU for it, which no real host pays for a peer that is elsewhere;
this one costs a twentieth. It counts what it took, all ports together, in a file of eight bytes that it maps: a reader needs one
call, and other receivers in the same network namespace do not matter. The buffer holds far more than arrives while it sleeps.
Run by path under the system's Python: ``receiver.py COUNT_FILE ADDRESS PORT...``
"""

import ctypes
import mmap
import os
import socket
import struct
import sys
import time

SLEEP_SECONDS = 0.004
BATCH = 1024
BUFFER_BYTES = 64 << 20
_SO_RCVBUFFORCE = 33


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _MessageHeader(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_IoVec)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    _fields_ = [("header", _MessageHeader), ("length", ctypes.c_uint)]


def main() -> None:
    """Receive until killed."""
    count_file, address, ports = sys.argv[1], sys.argv[2], [int(port) for port in sys.argv[3:]]
    room = ctypes.create_string_buffer(64)
    vector = _IoVec(ctypes.cast(room, ctypes.c_void_p), 64)  # the rest of a packet is cut off: nobody reads it
    messages = (_Message * BATCH)()
    for message in messages:
        message.header.vectors, message.header.vector_count = ctypes.pointer(vector), 1
    receive = ctypes.CDLL(None).recvmmsg
    sockets = []
    for port in ports:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
        one.bind((address, port))
        sockets.append(one)
    descriptors = [one.fileno() for one in sockets]
    with open(count_file, "w+b") as file:  # noqa: PTH123 - pathlib takes longer to import than this takes to start
        file.write(bytes(8))
        file.flush()
        count = mmap.mmap(file.fileno(), 8)
    total = 0
    os.write(1, b"ready\n")
    while True:
        for descriptor in descriptors:
            while (taken := receive(descriptor, messages, BATCH, socket.MSG_DONTWAIT, None)) > 0:
                total += taken
                if taken < BATCH:
                    break
        struct.pack_into("Q", count, 0, total)
        time.sleep(SLEEP_SECONDS)


if __name__ == "__main__":
    main()
