"""What every knob held before Stella touched it: on disk before the first write, and put back at release.

One text file, replaced as a whole (new file, fsync, rename), with a checksum: a cut or foreign file is set aside, never
half believed. Knobs do not survive a reboot, so a journal of an earlier boot is empty. The guard reads it, so this module and
its imports stay light.

::

    stella-journal 1 CRC32 BOOT-ID
    knob <TAB> flags <TAB> identity <TAB> path <TAB> original
    group <TAB> - <TAB> identity <TAB> path <TAB>

``flags`` is ``t`` for a temporary restraint, else ``-``. ``identity`` is the inode number of the knob's group: another one
means another group of the same name, whose knobs are not ours to restore.
"""

import contextlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from stella.model.allocation import Write
from stella.xgos.host_files import Gone, HostFiles, InstanceGone, Unavailable, Unsupported, WriteFailed

_HEAD = "stella-journal 1 "


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One knob's original text, or (``original`` None) a group that Stella made."""

    path: str
    identity: int
    original: str | None
    temporary: bool = False


class InvalidJournal(ValueError):
    """A journal's text is cut, changed or of another version."""


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("\t", "%09").replace("\n", "%0A")


def _unquoted(text: str) -> str:
    return text.replace("%0A", "\n").replace("%09", "\t").replace("%25", "%")


def current_boot() -> str:
    """The kernel's boot id; empty where there is none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def show_journal(entries: Iterable[Entry], boot: str = "") -> str:
    """The journal's text. ``boot`` is the boot it belongs to."""
    lines = [
        "\t".join(
            (
                "group" if e.original is None else "knob",
                "t" if e.temporary else "-",
                str(e.identity),
                _quoted(e.path),
                _quoted(e.original or ""),
            )
        )
        for e in entries
    ]
    body = "".join(f"{line}\n" for line in lines)
    body = f"{boot}\n{body}"
    return f"{_HEAD}{zlib.crc32(body.encode()):08x} {body}"


def parse_journal(text: str, boot: str = "") -> tuple[Entry, ...]:
    """The entries in the order they were made; none when the journal is of another boot than ``boot``. Raises `InvalidJournal`."""
    head, body = text[: len(_HEAD) + 9], text[len(_HEAD) + 9 :]
    if head != f"{_HEAD}{zlib.crc32(body.encode()):08x} ":
        raise InvalidJournal("wrong checksum or version")
    written_in, _, body = body.partition("\n")
    if written_in != boot:
        return ()
    entries = []
    for line in body.split("\n")[:-1]:
        kind, flags, identity, path, original = line.split("\t")
        entries.append(
            Entry(
                path=_unquoted(path),
                identity=int(identity),
                original=_unquoted(original) if kind == "knob" else None,
                temporary=flags == "t",
            )
        )
    return tuple(entries)


@dataclass(slots=True)
class Journal:
    """The journal at ``path``. ``alarm`` is set while it cannot be stored: then restraints must not be made."""

    path: str
    alarm: str = ""
    set_aside: str = ""
    _entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str) -> "Journal":
        """The journal at ``path``; an empty one where there is none. An invalid one is renamed to ``*.broken`` (`set_aside`)."""
        journal = cls(path)
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                journal._entries = {entry.path: entry for entry in parse_journal(file.read(), current_boot())}
        except FileNotFoundError:
            pass
        except (ValueError, OSError) as error:
            journal.set_aside = f"{path}.broken: {error}"
            with contextlib.suppress(OSError):
                os.replace(path, path + ".broken")  # noqa: PTH105
        return journal

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries in the order they were made."""
        return tuple(self._entries.values())

    @property
    def originals(self) -> dict[str, str]:
        """Original texts by knob, as `stella.xgos.actuation.plan.plan` wants them."""
        return {e.path: e.original for e in self._entries.values() if e.original is not None}

    def record(self, files: HostFiles, writes: Iterable[Write]) -> None:
        """Keep what these knobs hold, for those not known yet, and store it durably before returning.

        The value is read here, not taken from the write: it must be the knob's own text. Knobs of groups that are gone are
        dropped, as are those whose group was made anew.
        """
        changed = False
        for write in writes:
            old = self._entries.get(write.path)
            try:
                now = files.identity(write.path)
                if old is not None and old.identity == now:
                    if write.temporary and not old.temporary:
                        self._entries[write.path] = replace(old, temporary=True)
                        changed = True
                    continue
                original = files.read(write.path).rstrip("\n")
            except Unavailable:
                continue  # the write itself will tell
            self._entries[write.path] = Entry(
                path=write.path, identity=now, original=original, temporary=write.temporary
            )
            changed = True
        if changed:
            self._prune(files)
        if changed or self.alarm:
            self.store()

    def record_group(self, path: str) -> None:
        """Remember a group that Stella is about to make, so that release removes it."""
        self._entries[path] = Entry(path=path, identity=0, original=None)
        self.store()

    def forget(self, paths: Iterable[str]) -> None:
        """Drop entries (restored, or gone) and store the rest; without a rest the file is removed."""
        for path in paths:
            self._entries.pop(path, None)
        self.store()

    def _prune(self, files: HostFiles) -> None:
        for path, entry in list(self._entries.items()):
            if entry.original is not None and not files.exists(path):
                del self._entries[path]

    def store(self) -> None:
        """Write the file durably; a failure sets ``alarm`` and leaves the old file as it was."""
        try:
            directory = os.path.dirname(self.path)  # noqa: PTH120
            os.makedirs(directory, mode=0o755, exist_ok=True)  # noqa: PTH103
            if not self._entries:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)  # noqa: PTH108
            else:
                temporary = f"{self.path}.tmp"
                with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
                    file.write(show_journal(self._entries.values(), current_boot()))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)  # noqa: PTH105
            descriptor = os.open(directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self.alarm = ""
        except OSError as error:
            self.alarm = f"{self.path}: {error.strerror or error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of one entry: ``error`` is empty when the knob holds its original again, or no longer exists."""

    path: str
    value: str
    error: str = ""
    gone: bool = False


def restore(files: HostFiles, entries: Iterable[Entry], *, temporary_only: bool = False) -> tuple[Restored, ...]:
    """Give knobs their original text back, the last written first. Knobs of other groups of the same name are left alone.

    Idempotent. What fails is tried once more at the end: under cgroup v1 a quota may depend on its period, or on a parent's.
    """
    todo = [e for e in reversed(tuple(entries)) if e.original is not None and (e.temporary or not temporary_only)]
    done = [_restore_one(files, entry) for entry in todo]
    for n, (entry, result) in enumerate(zip(todo, done, strict=True)):
        if result.error:
            done[n] = _restore_one(files, entry)
    return tuple(done)


def _restore_one(files: HostFiles, entry: Entry) -> Restored:
    value = entry.original or ""
    try:
        if files.identity(entry.path) != entry.identity:
            return Restored(path=entry.path, value=value, gone=True)
        if files.read(entry.path).rstrip("\n") != value:
            files.write_knob(entry.path, value)
    except (Gone, InstanceGone, Unsupported):
        return Restored(path=entry.path, value=value, gone=True)
    except (Unavailable, WriteFailed) as error:
        return Restored(path=entry.path, value=value, error=str(error))
    return Restored(path=entry.path, value=value)


def release(files: HostFiles, journal: Journal) -> tuple[Restored, ...]:
    """Restore every knob, then remove the groups that Stella made. What succeeded leaves the journal: it can be called again."""
    results = list(restore(files, journal.entries))
    for entry in reversed(journal.entries):
        if entry.original is None:
            results.append(_remove_group(files, entry.path))
    journal.forget(result.path for result in results if not result.error)
    return tuple(results)


def _remove_group(files: HostFiles, path: str) -> Restored:
    """Move what is left in a group to its parent, then remove it."""
    parent = path.rpartition("/")[0]
    try:
        with contextlib.suppress(Unavailable):
            for pid in files.read(f"{path}/cgroup.procs").split():
                with contextlib.suppress(WriteFailed, InstanceGone):
                    files.move_process(parent, int(pid))
        files.remove_group(path)
    except (WriteFailed, Unsupported, InstanceGone) as error:
        return Restored(path=path, value="", error=str(error))
    return Restored(path=path, value="")
