"""What every knob held before Stella touched it: stored before the first write, and put back at release.

One text file (`stella.xgos.actuation.journal_text`), replaced as a whole. A cut or foreign file is set aside, never half
believed. It is kept three times: here (on tmpfs, so that storing it does not wait for a disk), in the memory of the guard, which is
told of each entry before the write is made and mends the file when the agent dies, and as a copy in the state directory, written
by a thread. Knobs do not survive a reboot, so a journal of an earlier boot is empty.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from stella.model.target import Target, TargetKind
from stella.xgos.actuation.actuators import Actuators, original_of
from stella.xgos.actuation.journal_storage import JournalCopy
from stella.xgos.actuation.journal_text import Entry, current_boot, parse_journal, show_entry, show_journal
from stella.xgos.actuation.private_files import read_private, remove_private, replace_private
from stella.xgos.host_files import Gone, Unavailable, WriteFailed

if TYPE_CHECKING:
    from stella.model.allocation import Write


class Journal:
    """The journal at ``path``, and its copy at ``copy_path`` (empty: none).

    ``alarm`` is set while it cannot be stored: then restraints must not be made. ``set_aside`` and ``recovered`` tell, for the log,
    what was wrong with the file at the start and what was used instead. ``told`` hears each entry's line (``+`` before it) and each
    forgotten one's (``-``): the guard's memory.
    """

    def __init__(self, path: str, copy_path: str = "") -> None:
        self.path = path
        self.alarm = ""
        self.set_aside = ""
        self.recovered = ""
        self.told: Callable[[Iterable[str]], None] = lambda _: None
        self._copy = JournalCopy(copy_path)
        self._entries: dict[Target, Entry] = {}
        self._written: dict[Target, str] = {}
        self._lifted: set[Target] = set()
        self._originals: dict[Target, str] | None = None
        self._revision = 0
        self._revisions: dict[str, int] = {}

    @classmethod
    def load(cls, path: str, copy_path: str = "", *, keep: bool = False) -> "Journal":
        """The journal at ``path``, else its copy, else an empty one. An invalid file is renamed to ``*.broken``, unless ``keep``."""
        journal = cls(path, copy_path)
        try:
            entries = parse_journal(read_private(path), current_boot())
        except (ValueError, OSError) as error:
            entries = ()
            missing = isinstance(error, FileNotFoundError)
            why = "missing" if missing else str(error) if isinstance(error, ValueError) else error.strerror
            if not missing:
                journal.set_aside = f"{path}.broken: {why}"
                if not keep:
                    with contextlib.suppress(OSError):
                        os.replace(path, path + ".broken")  # noqa: PTH105
            if copy_path:
                with contextlib.suppress(ValueError, OSError):
                    entries = parse_journal(read_private(copy_path), current_boot())
                if entries:
                    journal.recovered = f"{path}: {why}; {len(entries)} entries taken from {copy_path}"
        journal._entries = {entry.target: entry for entry in entries}
        return journal

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries in the order they were made."""
        return tuple(self._entries.values())

    @property
    def originals(self) -> Mapping[Target, str]:
        """Original texts by target, as `stella.xgos.actuation.plan.plan` wants them."""
        if self._originals is None:
            self._originals = {e.target: e.original for e in self._entries.values() if e.original is not None}
        return self._originals

    def entry(self, target: Target) -> Entry | None:
        """What is known of a target."""
        return self._entries.get(target)

    def lines(self) -> list[str]:
        """Every entry as the guard hears it."""
        return [f"+{show_entry(entry)}" for entry in self._entries.values()]

    def written(self, target: Target) -> str | None:
        """What Stella last set; None when it is not known (or nothing was set) in this process."""
        return self._written.get(target)

    def restrains(self, entry: Entry) -> bool:
        """Whether Stella restrains this target now, or may restrain it."""
        return entry.temporary and entry.target not in self._lifted and self.written(entry.target) != entry.leaves

    def note_written(self, target: Target, value: str, *, lifts: bool = False) -> None:
        """Remember what was set, for targets in the journal. ``lifts``: nothing is restrained by it."""
        if target in self._entries:
            self._written[target] = value
            (self._lifted.add if lifts else self._lifted.discard)(target)
            self._touch(target)

    def doubt_restraints(self) -> None:
        """The guard may have lifted any restraint meanwhile: what they hold is not known until they are set again."""
        for target in [t for t in self._written if (entry := self._entries.get(t)) and entry.temporary]:
            self._forget_written(target)
            self._touch(target)

    def _forget_written(self, target: Target) -> None:
        self._written.pop(target, None)
        self._lifted.discard(target)

    def revision(self, instance: str) -> int:
        """Another number whenever something that is known of this instance's targets changed."""
        return self._revisions.get(instance, 0)

    def _touch(self, target: Target) -> None:
        self._revision += 1
        self._revisions[target.instance] = self._revision

    def record(self, actuators: Actuators, writes: "Iterable[Write]") -> frozenset[Target]:
        """Keep what these targets hold, for those not known yet, and store it before returning. Returns what must not be written.

        The value is read here, not taken from the write: it must be the knob's own text. A target whose object is another one than
        the one journalled (or than it was when read) is dropped, and returned: what was planned was meant for the earlier one.
        """
        others: set[Target] = set()
        changed: list[Entry] = []
        for write in writes:
            actuator, old = actuators[write.target.kind], self._entries.get(write.target)
            try:
                now = actuator.identity(write.target)
                if old is not None and old.identity != now:
                    others.add(write.target)
                    continue
                if old is not None:
                    if (write.temporary and not old.temporary) or old.lifted:
                        temporary = old.temporary or write.temporary
                        changed.append(replace(old, temporary=temporary, lifted=False))
                    continue
                original = original_of(write.target.kind, actuator.read(write.target))
                if actuator.identity(write.target) != now:
                    others.add(write.target)
                    continue
            except Unavailable:
                continue  # the write itself will tell
            changed.append(Entry(target=write.target, identity=now, original=original, temporary=write.temporary))
        self._drop(others)
        known = self._entries.keys()
        new = [entry for entry in changed if entry.temporary and entry.target not in known]
        self._keep(changed)
        for entry in new:
            self._written[entry.target] = entry.original or ""  # nothing restrains it until it is written
        if others or changed or self.alarm:
            self.store()
        return frozenset(others)

    def record_fallbacks(self, writes: "Iterable[Write]") -> None:
        """From now on a restraint that is lifted leaves what was asked for, not what was there before. Stored and told first."""
        changed = []
        for write in writes:
            old = self._entries.get(write.target)
            if old is not None and old.temporary and write.fallback not in (None, old.leaves):
                changed.append(replace(old, fallback=write.fallback))
        self._keep(changed)
        if changed:
            self.store()

    def adopt(self, target: Target, value: str) -> None:
        """Another program or an administrator set ``value``: from now on it is the original. Call `store` after the last one."""
        old = self._entries[target]
        self._forget_written(target)
        self._keep([replace(old, original=value, lifted=False)])

    def record_made(self, target: Target) -> None:
        """Remember an object that Stella is about to make, so that release removes it."""
        self._keep([Entry(target=target, identity="", original=None)])
        self.store()

    def forget(self, targets: Iterable[Target]) -> None:
        """Drop entries (restored, or gone) and store the rest; without a rest the file is removed."""
        self._drop(targets)
        self.store()
        self._copy.flush()

    def prune(self, actuators: Actuators, instances: frozenset[str], threads: frozenset[str]) -> None:
        """Drop entries of objects that are no longer there. Those of ``instances`` (uuids) and ``threads`` (places) were just seen."""
        gone = []
        for entry in self._entries.values():
            target = entry.target
            seen = target.place in threads if target.kind is TargetKind.THREAD else target.instance in instances
            if seen or entry.original is None:
                continue
            try:
                if actuators[target.kind].identity(target) == entry.identity:
                    continue
            except Gone:
                pass
            except Unavailable:
                continue
            gone.append(target)
        if gone:
            self._drop(gone)
            self.store()
        for target in gone:
            if target.kind is TargetKind.LINK:  # it outlives its tap, and would limit the next one of that name
                with contextlib.suppress(WriteFailed):
                    actuators[target.kind].remove(target)
        self._revisions = {uuid: number for uuid, number in self._revisions.items() if uuid in instances}

    def _keep(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        if entries:
            self._originals = None
            for entry in entries:
                self._entries[entry.target] = entry
                self._touch(entry.target)
            self.told(f"+{show_entry(entry)}" for entry in entries)

    def _drop(self, targets: Iterable[Target]) -> None:
        lines = []
        for target in targets:
            self._forget_written(target)
            self._touch(target)
            entry = self._entries.pop(target, None)
            if entry is not None:
                lines.append(f"-{show_entry(entry)}")
        if lines:
            self._originals = None
            self.told(lines)

    def store(self) -> None:
        """Write the file; a failure sets ``alarm`` and leaves the old file as it was."""
        text = show_journal(self._entries.values(), current_boot()) if self._entries else ""
        try:
            if text:
                replace_private(self.path, text, durable=True)
            else:
                remove_private(self.path)
            self.alarm = ""
        except OSError as error:
            self.alarm = f"{self.path}: {error.strerror or error}"
        self._copy.put(text)
