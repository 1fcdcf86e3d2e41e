"""A guest's peer that sends: UDP packets at a rate, in batches, asleep between them (sockperf would spin a host core for it).

It asks for its rate and makes up for at most 20 ms it could not send in. Run by path under the system's Python:
``sender.py ADDRESS PORT PACKET_BYTES PACKETS_PER_SECOND``
"""

import ctypes
import socket
import sys
import time

SLEEP_SECONDS = 0.002
LARGEST_BACKLOG_SECONDS = 0.02
BATCH = 1024


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
    """Send until killed. A refused packet (nobody listens yet) is an ordinary one: it was asked for."""
    address, port, size, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    payload = ctypes.create_string_buffer(size)
    vector = _IoVec(ctypes.cast(payload, ctypes.c_void_p), size)
    messages = (_Message * BATCH)()
    for message in messages:
        message.header.vectors, message.header.vector_count = ctypes.pointer(vector), 1
    send = ctypes.CDLL(None).sendmmsg
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect((address, port))
    last, due = time.monotonic(), 0.0
    while True:
        time.sleep(SLEEP_SECONDS)
        now = time.monotonic()
        due = min(due + (now - last) * rate, rate * LARGEST_BACKLOG_SECONDS)
        last = now
        while due >= 1:
            count = min(int(due), BATCH)
            send(one.fileno(), messages, count, socket.MSG_DONTWAIT)
            due -= count


if __name__ == "__main__":
    main()
