"""Starting helper processes that cannot outlive the bench, and knowing a process from a later one with the same number."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypedDict, Unpack

from stella.bench.lab.model import LabError

NAMESPACES = Path("/run/netns")

# Fixed text: what comes from outside is only ever an argument. Joins the groups named first, then becomes the program.
_ENTER = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 > "$1/cgroup.procs" || exit 126; shift; n=$((n-1)); done; exec "$@"'
)


def inside(argv: Sequence[str], *, namespace: str = "", groups: Iterable[Path] = ()) -> list[str]:
    """The command that runs ``argv`` in a network namespace (by name, or by path) and in groups, and dies with its parent.

    The parent is the *thread* that starts it: start from one that lives as long as the program shall. `nsenter`, not
    `ip netns exec`: that one would hide the cgroup mounts.
    """
    listed = [str(group) for group in groups]
    shell = ("/usr/bin/setpriv", "--pdeathsig", "KILL", "/bin/sh", "-c", _ENTER, "stella-bench")
    enter = ("/usr/bin/nsenter", f"--net={NAMESPACES / namespace}") if namespace else ()
    return [*shell, str(len(listed)), *listed, *enter, *argv]


class Streams(TypedDict, total=False):
    """Of a program that is started: where it writes, and its environment if that is not this process's own."""

    stdout: int | IO[bytes]
    stderr: int | IO[bytes]
    env: Mapping[str, str]


def launch(
    argv: Sequence[str], *, namespace: str = "", groups: Iterable[Path] = (), **streams: Unpack[Streams]
) -> "subprocess.Popen[bytes]":
    """Start a program as `inside` says; it keeps the pid it is started with. Ctrl-C at the terminal does not reach it."""
    given: Streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **streams}
    command = inside(argv, namespace=namespace, groups=groups)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **given)


def finish(process: "subprocess.Popen[bytes]", *, patience_seconds: float = 0.0) -> None:
    """End a program that was launched here: killed at once, or after SIGTERM and some patience."""
    if patience_seconds:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
    process.kill()
    process.wait()


def wait_until(is_done: Callable[[], object], seconds: float, *, every_seconds: float = 0.02) -> bool:
    """Look again and again; whether it came about in time."""
    limit = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > limit:
            return False
        time.sleep(every_seconds)
    return True


def run(*argv: str, check: bool = True) -> str:
    """Run a short command to its end; its output. Raises `LabError` with its last words when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise LabError(
            f"{' '.join(argv[:6])}: {(done.stderr or done.stdout).strip()[-300:] or f'ended with {done.returncode}'}"
        )
    return done.stdout


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5)); none of a process that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if (fields := stat(pid)) and int(fields[3]) == leader]


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it has ended."""
    fields = stat(pid)
    return int(fields[19]) if fields else None


def cpu_seconds(pid: int, *, children: bool = False) -> float | None:
    """CPU time of a process in core-seconds (10 ms steps); with the children it has waited for, and those alive. None when gone."""
    fields = stat(pid)
    if not fields:
        return None
    total = sum(int(field) for field in fields[11 : 15 if children else 13]) / os.sysconf("SC_CLK_TCK")
    if children:
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                total += cpu_seconds(int(child), children=True) or 0.0
    return total


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def end(pid: int, ticks: int | None, *, first: signal.Signals = signal.SIGTERM, patience_seconds: float = 5.0) -> bool:
    """End one process that is still the one that was started then, politely at first. True when it is gone."""
    for number, wait in ((first, patience_seconds), (signal.SIGKILL, 5.0)):
        if ticks is None or start_ticks(pid) != ticks:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)
        limit = time.monotonic() + wait
        while time.monotonic() < limit and start_ticks(pid) == ticks:
            time.sleep(0.02)
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
    return start_ticks(pid) != ticks
