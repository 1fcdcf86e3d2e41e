# pathlib takes a second to import in an emulated guest; starting programs is what this is for.
# ruff: noqa: PTH103, PTH119, PTH120, PTH123, PTH208, S606
"""Runs inside a guest as its first process: starts what the host names, forwards what the tools say, samples counters.

It knows no tool and parses nothing, because every cycle here is an emulated one: the host sends command lines and reads raw
text. Newline-separated JSON over a virtio serial port; each line is stamped with the guest's real-time clock. Standard library only.

To the guest: ``{"op": "ping", "n": 1}``; ``run`` (``id``, ``argv``, ``group``: a cgroup for it or ""); ``signal`` (``id``,
``signal``); ``do`` (``argv``, waits for its end); ``write`` (``path``, ``text``; makes the directories); ``watch`` (``files``:
name to path, read every ``period`` seconds, sent ``together`` many at a time).
From the guest: ``{"t": .., "hello": pid}``, ``pong``, ``out`` (text, with ``id``), ``exit`` (code, with ``id``), ``files`` (list
of moments with name to text), ``error``.
"""

import contextlib
import json
import os
import select
import signal
import time

PORT = "/dev/virtio-ports/stella.bench"
LARGEST_READ = 65536


class Agent:
    """One connection to the host and the processes started on its behalf."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pending = b""
        self.pids: dict[int, int] = {}  # id -> pid
        self.pipes: dict[int, int] = {}  # descriptor -> id
        self.files: dict[str, int] = {}  # name -> descriptor
        self.period = 0.1
        self.due = 0.0
        self.together = 1
        self.samples: list[tuple[float, dict[str, str]]] = []
        self.poll = select.poll()
        self.poll.register(port, select.POLLIN)

    def say(self, **message: object) -> None:
        """Send one line, stamped now."""
        message["t"] = time.time()
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.port, data) :]

    def run(self, identity: int, argv: list[str], group: str) -> None:
        """Start a program whose output is forwarded."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            if group:
                os.makedirs(group, exist_ok=True)
                with open(f"{group}/cgroup.procs", "w") as procs:
                    procs.write("0")
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            try:
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)
        with contextlib.suppress(PermissionError):  # it runs its program already, and has set its group itself
            os.setpgid(pid, pid)  # here too: a signal for the group may be the next command
        os.close(writing)
        self.pids[identity] = pid
        self.pipes[reading] = identity
        self.poll.register(reading, select.POLLIN)

    def handle(self, message: dict[str, object]) -> None:
        """Do what the host asked."""
        operation = message["op"]
        if operation == "ping":
            self.say(pong=message["n"])
        elif operation == "run":
            self.run(message["id"], message["argv"], message.get("group", ""))  # type: ignore[arg-type]
        elif operation == "signal":
            pid = self.pids.get(message["id"])  # type: ignore[call-overload]
            if pid:
                os.killpg(pid, message["signal"])  # type: ignore[arg-type]
        elif operation == "do":
            code = os.spawnvp(os.P_WAIT, message["argv"][0], message["argv"])  # type: ignore[index,arg-type]
            if code:
                self.say(error=f"{message['argv']} ended with {code}")
        elif operation == "write":
            path, text = str(message["path"]), str(message["text"])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
        elif operation == "watch":
            for descriptor in self.files.values():
                os.close(descriptor)
            names: dict[str, str] = message["files"]  # type: ignore[assignment]
            self.files = {name: os.open(path, os.O_RDONLY) for name, path in names.items()}
            self.together = int(message["together"])  # type: ignore[call-overload]
            self.period = float(message["period"])  # type: ignore[arg-type]
            self.due = time.monotonic()

    def receive(self) -> None:
        """Read what the host sent; a command that fails is told, not fatal."""
        data = os.read(self.port, LARGEST_READ)
        if not data:
            time.sleep(0.2)  # nobody is connected on the other side
            return
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            try:
                self.handle(json.loads(line))
            except Exception as error:
                self.say(error=f"{line[:200]!r}: {error!r}")

    def forward(self, descriptor: int) -> None:
        """Pass on what a tool printed, or that it ended."""
        identity = self.pipes[descriptor]
        data = os.read(descriptor, LARGEST_READ)
        if data:
            self.say(out=data.decode(errors="replace"), id=identity)
            return
        self.poll.unregister(descriptor)
        os.close(descriptor)
        del self.pipes[descriptor]
        _, status = os.waitpid(self.pids.pop(identity), 0)
        self.say(exit=os.waitstatus_to_exitcode(status), id=identity)

    def sample(self) -> None:
        """Send the watched files, on a grid of moments so that the period does not drift."""
        now = time.monotonic()
        if now < self.due:
            return
        texts = {name: os.pread(descriptor, LARGEST_READ, 0).decode() for name, descriptor in self.files.items()}
        self.samples.append((time.time(), texts))
        if len(self.samples) >= self.together:
            self.say(files=self.samples)
            self.samples = []
        self.due = max(self.due + self.period, now)

    def serve(self) -> None:
        """The loop; never returns."""
        self.say(hello=os.getpid())
        while True:
            timeout_ms = max(0.0, (self.due - time.monotonic()) * 1000) if self.files else None
            for descriptor, _ in self.poll.poll(timeout_ms):
                if descriptor == self.port:
                    self.receive()
                else:
                    self.forward(descriptor)
            if self.files:
                self.sample()


def main() -> None:
    """Find the port (by its name in sysfs: there is no udev here) and serve."""
    for port in os.listdir("/sys/class/virtio-ports"):
        with open(f"/sys/class/virtio-ports/{port}/name") as name:
            if name.read().strip() == os.path.basename(PORT):
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)
                Agent(os.open(f"/dev/{port}", os.O_RDWR)).serve()
    raise SystemExit("no port to the host")


if __name__ == "__main__":
    main()
