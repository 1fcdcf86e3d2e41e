"""What a lab writes down about itself while it lives, and cleaning up after one whose bench was killed.

Only what the note names is touched: processes are known by number *and* start time, guests by being in the lab's own group.
"""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

from stella.bench.lab.groups import processes_below, remove_tree
from stella.bench.lab.network import delete_namespace
from stella.bench.lab.process import end, start_ticks

HOME = Path("/run/stella-bench")


class Note:
    """The note of one lab, rewritten whenever there is more to clean up."""

    def __init__(self, home: Path, *, name: str, groups: list[Path], directories: list[Path]) -> None:
        self.path = home / "note.json"
        self._processes: list[list[int | None]] = []
        self._content: dict[str, object] = {
            "name": name,
            "owner": [os.getpid(), start_ticks(os.getpid())],
            "groups": [str(group) for group in groups],
            "directories": [str(directory) for directory in directories],
            "processes": self._processes,
        }
        self._write()

    def add_process(self, pid: int) -> None:
        """A helper was started."""
        self._processes.append([pid, start_ticks(pid)])
        self._write()

    def _write(self) -> None:
        unfinished = self.path.with_suffix(".new")
        unfinished.write_text(json.dumps(self._content))
        unfinished.rename(self.path)


def kill_guests(groups: list[Path]) -> None:
    """End every process in the groups: they are the lab's own."""
    for group in groups:
        for pid in processes_below(group) if group.exists() else ():
            end(pid, start_ticks(pid), first=signal.SIGKILL)


def _clean(content: dict[str, object]) -> None:
    name = str(content["name"])
    for pid, ticks in content["processes"]:  # type: ignore[attr-defined]
        end(pid, ticks)
    groups = [Path(path) for path in content["groups"]]  # type: ignore[attr-defined]
    kill_guests([group for group in groups if group.name.startswith(name)])
    for space in Path("/run/netns").glob(f"{name}*"):
        if space.name == name or space.name.removeprefix(f"{name}-").isdigit():
            delete_namespace(space.name)
    for group in groups:
        if group.name.startswith(name):
            remove_tree(group)
    for directory in content["directories"]:  # type: ignore[attr-defined]
        if Path(directory).name == name:
            shutil.rmtree(directory, ignore_errors=True)


def sweep(home: Path = HOME) -> list[str]:
    """Clean up after every lab whose bench is gone; the names of those. A lab whose bench lives is not touched."""
    swept = []
    for note in sorted(home.glob("*/note.json")):
        try:
            content = json.loads(note.read_text())
            pid, ticks = content["owner"]
        except (OSError, ValueError, KeyError):
            continue
        if ticks is not None and start_ticks(pid) == ticks:
            continue
        _clean(content)
        swept.append(str(content["name"]))
    with contextlib.suppress(OSError):
        home.rmdir()
    return swept
