"""A guest's peer, run by path under the system's Python; UDP packets by the thousand, asleep between batches.

``peer.py receive COUNT_FILE ADDRESS PORT...`` takes packets off sockets and forgets them. A receiver that wakes for each packet costs
8 us of host CPU for it, which no real host pays for a peer that is elsewhere; this one costs a twentieth. It counts what it took, all
ports together, in a file of eight bytes that it maps: a reader needs one call, and other receivers in the same network namespace do
not matter. The buffer holds far more than arrives while it sleeps.

``peer.py send ADDRESS PORT PACKET_BYTES PACKETS_PER_SECOND`` sends (sockperf would spin a host core for it). It asks for its rate and
makes up for at most 20 ms it could not send in.
"""

import ctypes
import mmap
import os
import socket
import struct
import sys
import time

RECEIVER_SLEEP_SECONDS, SENDER_SLEEP_SECONDS = 0.004, 0.002
LARGEST_BACKLOG_SECONDS = 0.02
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


def _messages(size: int) -> "ctypes.Array[_Message]":
    """A batch of messages that all use the same bytes: nobody reads them. What of a packet does not fit is cut off."""
    room = ctypes.create_string_buffer(size)
    vector = _IoVec(ctypes.cast(room, ctypes.c_void_p), size)
    messages = (_Message * BATCH)()
    for message in messages:
        message.header.vectors, message.header.vector_count = ctypes.pointer(vector), 1
    return messages


def receive(count_file: str, address: str, *ports: str) -> None:
    """Receive until killed."""
    messages, call = _messages(64), ctypes.CDLL(None).recvmmsg
    sockets = []
    for port in ports:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
        one.bind((address, int(port)))
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
            while (taken := call(descriptor, messages, BATCH, socket.MSG_DONTWAIT, None)) > 0:
                total += taken
                if taken < BATCH:
                    break
        struct.pack_into("Q", count, 0, total)
        time.sleep(RECEIVER_SLEEP_SECONDS)


def send(address: str, port: str, packet_bytes: str, packets_per_second: str) -> None:
    """Send until killed. A refused packet (nobody listens yet) is an ordinary one: it was asked for."""
    messages, call, rate = _messages(int(packet_bytes)), ctypes.CDLL(None).sendmmsg, float(packets_per_second)
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect((address, int(port)))
    last, due = time.monotonic(), 0.0
    while True:
        time.sleep(SENDER_SLEEP_SECONDS)
        now = time.monotonic()
        due = min(due + (now - last) * rate, rate * LARGEST_BACKLOG_SECONDS)
        last = now
        while due >= 1:
            count = min(int(due), BATCH)
            call(one.fileno(), messages, count, socket.MSG_DONTWAIT)
            due -= count


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(*sys.argv[2:])
    else:
        send(*sys.argv[2:])
