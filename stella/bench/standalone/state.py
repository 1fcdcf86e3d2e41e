"""What a stand-alone Stella writes down about itself: enough to stop it after a crash, a half-finished start or a reboot."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from stella.bench.standalone.errors import StandaloneError, WrongRequest
from stella.bench.standalone.paths import Hosts, Paths, parse_hosts
from stella.bench.standalone.processes import recorded

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Differs after each boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``is_ready``: the start was finished. ``processes``: the names of those that were started by then."""

    boot: str
    hosts: Hosts
    endpoint: str = ""
    server: str = ""
    instances: int = 0
    is_ready: bool = False
    processes: tuple[str, ...] = ()


def parse_state(text: str) -> State:
    """Raises ValueError for what `show_state` did not write."""
    try:
        found = json.loads(text)
        hosts = parse_hosts(found["hosts"])
        return State(
            boot=str(found["boot"]),
            hosts=hosts,
            endpoint=str(found["endpoint"]),
            server=str(found["server"]),
            instances=int(found["instances"]),
            is_ready=bool(found["is_ready"]),
            processes=tuple(map(str, found["processes"])),
        )
    except (TypeError, KeyError, ValueError, WrongRequest) as error:
        raise ValueError(f"not the state of a stand-alone Stella: {error}") from None


def show_state(state: State) -> str:
    """As JSON."""
    return json.dumps({**asdict(state), "hosts": str(state.hosts)}, indent=1) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write a file in one step that only its owner can read."""
    part = path.with_name(f"{path.name}.new")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_state(paths: Paths) -> State | None:
    """What was started here, or None. A file that cannot be read counts as a start that did not get far."""
    try:
        return parse_state(paths.state.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return State(boot="", hosts=Hosts())


def is_running(paths: Paths, state: State) -> bool:
    """Whether all that was started runs."""
    if not state.is_ready or state.boot != boot_id():
        return False
    running = {record.name for record in recorded(paths.processes) if record.runs}
    return set(state.processes) <= running


@contextlib.contextmanager
def locked(paths: Paths) -> Iterator[None]:
    """Hold the directory, which is made if need be and removed if it is empty then.

    Raises `StandaloneError` while another holds it.
    """
    while True:
        try:
            paths.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(paths.directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise StandaloneError(f"--directory: {paths.directory}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), paths.directory.stat()):
                    break
        except BlockingIOError:
            os.close(descriptor)
            raise StandaloneError(f"another stella-bench up or down is at work in {paths.directory}") from None
        os.close(descriptor)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            paths.directory.rmdir()
        os.close(descriptor)
