"""The host's end of the lines to the guest agents: one thread reads them all. Also how a guest's clock is moved onto the host's."""

import contextlib
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stella.bench.recording import Series

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """One question to a guest's clock: asked at ``host_seconds`` (middle of the round trip), which read ``offset_seconds`` more."""

    host_seconds: float
    round_trip_seconds: float
    offset_seconds: float


BUCKET_SECONDS = 4.0


class Clock(Series):
    """A guest's clock: at moments of it (Unix seconds), how far it is ahead of the host's; in between that changes evenly."""

    def to_host(self, guest_seconds: float) -> float:
        """A moment of the guest's clock on the host's (both Unix seconds)."""
        return guest_seconds - self.at(guest_seconds)


def fit_clock(pings: Sequence[Ping]) -> Clock:
    """The offset of the quickest ping of every 4 s: a slow answer says little of when it was given.

    Not one line through all: an emulated guest's clock may run off by a per cent until its kernel has measured it better.
    """
    best: dict[int, Ping] = {}
    for ping in sorted(pings, key=lambda p: -p.round_trip_seconds):
        best[int(ping.host_seconds // BUCKET_SECONDS)] = ping
    clock = Clock()
    for ping in sorted(best.values(), key=lambda p: p.host_seconds + p.offset_seconds):
        clock.add(ping.host_seconds + ping.offset_seconds, ping.offset_seconds)
    return clock


class Link:
    """The line to one guest agent. ``handle`` gets every message but pongs, on the reader's thread."""

    def __init__(self, name: str, connected: socket.socket, handle: Callable[[Message], None]) -> None:
        self.name, self.handle = name, handle
        self.pings: list[Ping] = []
        self.open = True
        self.answered = threading.Event()
        self.socket = connected
        self._pending = b""
        self._asked: dict[int, float] = {}
        self._lock = threading.Lock()

    def send(self, op: str, **keys: object) -> None:
        """Send one command; a line that is gone is not an error here: whoever waits for its effect will tell."""
        with self._lock, contextlib.suppress(OSError):
            self.socket.sendall(json.dumps({"op": op, **keys}).encode() + b"\n")

    def ping(self) -> None:
        """Ask for the guest's clock; the answer is added to ``pings``."""
        number = len(self._asked)
        self._asked[number] = time.time()
        self.send("ping", n=number)

    def feed(self, data: bytes, now: float) -> None:
        """Take what arrived at host time ``now``."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # half a line from before we were connected
            if "pong" in message:
                asked = self._asked.get(message["pong"], now)
                middle = (asked + now) / 2
                self.pings.append(
                    Ping(host_seconds=middle, round_trip_seconds=now - asked, offset_seconds=message["t"] - middle)
                )
                self.answered.set()
            else:
                try:
                    self.handle(message)
                except Exception as error:  # one guest's nonsense must not silence the others
                    self.handle({"error": f"{line[:200]!r}: {error!r}"})


def connect_local(path: Path) -> socket.socket:
    """A connection to a Unix socket: the host's end of a guest's serial port."""
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(str(path))
    return connected


class Lines:
    """Reads all links, and other descriptors line by line, on one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_reading, self._wake_writing = os.pipe()
        self._selector.register(self._wake_reading, selectors.EVENT_READ, None)
        self._links: list[Link] = []
        self._thread = threading.Thread(target=self._read, name="guest-lines", daemon=True)
        self._thread.start()

    def add(self, link: Link) -> None:
        """Read this link from now on."""
        self._links.append(link)
        self._selector.register(link.socket, selectors.EVENT_READ, link)
        self._wake(b"+")

    def add_text(self, descriptor: int, handle: Callable[[str], None]) -> None:
        """Hand whole chunks of text from a descriptor to ``handle``."""
        self._selector.register(descriptor, selectors.EVENT_READ, handle)
        self._wake(b"+")

    def _wake(self, word: bytes) -> None:
        os.write(self._wake_writing, word)

    def _read(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    if b"x" in os.read(self._wake_reading, 100):
                        return
                elif isinstance(key.data, Link):
                    self._read_link(key.data)
                else:
                    data = os.read(key.fd, 65536)
                    if data:
                        key.data(data.decode(errors="replace"))
                    else:
                        self._selector.unregister(key.fd)

    def _read_link(self, link: Link) -> None:
        try:
            data = link.socket.recv(1 << 20)
        except OSError:
            data = b""
        if data:
            link.feed(data, time.time())
            return
        link.open = False
        self._selector.unregister(link.socket)
        link.handle({"gone": True})

    def close(self) -> None:
        """Stop reading and close the links."""
        self._wake(b"x")
        self._thread.join(5)
        for link in self._links:
            link.socket.close()
        self._selector.close()
        os.close(self._wake_reading)
        os.close(self._wake_writing)
