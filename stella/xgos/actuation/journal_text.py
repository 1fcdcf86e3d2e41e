"""The journal's text: a head with a checksum, then a line for each entry. The guard reads it, so this stays light.

::

    stella-journal 2 CRC32 BOOT-ID
    kind <TAB> flags <TAB> identity <TAB> place <TAB> knob <TAB> instance <TAB> original [<TAB> fallback]

``flags``: ``t`` a temporary restraint, ``m`` made by Stella (removed at release), ``l`` lifted by the guard of an agent that
died: whatever it holds now is not Stella's; ``-`` none. ``identity`` tells an object from a later one of the same name. ``fallback``
is what a lifted restraint leaves, where that is not the original: a limit that was asked for.

Version 1 is still read: ``knob|group <TAB> t|- <TAB> inode or start <TAB> path <TAB> original``.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from stella.model.target import Target, TargetKind

_HEADS = ("stella-journal 1 ", "stella-journal 2 ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One knob's original text, or (``original`` None) an object that Stella made."""

    target: Target
    identity: str
    original: str | None
    temporary: bool = False
    lifted: bool = False
    fallback: str | None = None

    @property
    def leaves(self) -> str | None:
        """What holds once a restraint is lifted."""
        return self.original if self.fallback is None else self.fallback


class InvalidJournal(ValueError):
    """A journal's text is cut, changed or of another version."""


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("\t", "%09").replace("\n", "%0A").replace("\r", "%0D")


def _unquoted(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%09", "\t").replace("%25", "%")


def current_boot() -> str:
    """The kernel's boot id; empty where there is none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def show_entry(entry: Entry) -> str:
    """An entry's line, without newline."""
    flags = "t" * entry.temporary + "m" * (entry.original is None) + "l" * entry.lifted
    target = entry.target
    words = [entry.identity, target.place, target.knob, target.instance, entry.original or ""]
    if entry.fallback is not None:
        words.append(entry.fallback)
    return "\t".join((target.kind.value, flags or "-", *map(_quoted, words)))


def parse_entry(line: str) -> Entry:
    """An entry of version 2 from its line. Raises `InvalidJournal`."""
    try:
        kind, flags, *words = line.split("\t")
        identity, place, knob, instance, original, *rest = map(_unquoted, words)
        (fallback,) = rest or (None,)
        target = Target(kind=TargetKind(kind), place=place, knob=knob, instance=instance)
    except ValueError:
        raise InvalidJournal(f"no entry: {line[:60]!r}") from None
    return Entry(
        target=target,
        identity=identity,
        original=None if "m" in flags else original,
        temporary="t" in flags,
        lifted="l" in flags,
        fallback=fallback,
    )


def _parse_entry_1(line: str) -> Entry:
    try:
        kind, flags, identity, path, original = map(_unquoted, line.split("\t"))
    except ValueError:
        raise InvalidJournal(f"no entry: {line[:60]!r}") from None
    if kind == "group":
        return Entry(
            target=Target(kind=TargetKind.CGROUP, place=path, knob=""),
            identity=identity,
            original=None,
            temporary=False,
        )
    place, _, knob = path.rpartition("/")
    of_thread = path.startswith("/proc/") and knob == "policy"
    target = Target(kind=TargetKind.THREAD if of_thread else TargetKind.CGROUP, place=place, knob=knob)
    # Version 1 did not yet count policies and the weight above all instances among the restraints.
    return Entry(target=target, identity=identity, original=original, temporary=flags == "t" or of_thread)


def show_journal(entries: Iterable[Entry], boot: str = "") -> str:
    """The journal's text. ``boot`` is the boot it belongs to."""
    body = "".join(f"{line}\n" for line in (boot, *map(show_entry, entries)))
    return f"{_HEADS[1]}{zlib.crc32(body.encode()):08x} {body}"


def parse_journal(text: str, boot: str = "") -> tuple[Entry, ...]:
    """The entries in the order they were made; none when the journal is of another boot than ``boot``. Raises `InvalidJournal`."""
    length = len(_HEADS[0])
    version, head, body = text[:length], text[length : length + 9], text[length + 9 :]
    if version not in _HEADS or head != f"{zlib.crc32(body.encode(errors='surrogatepass')):08x} ":
        raise InvalidJournal("wrong checksum or version")
    written_in, _, body = body.partition("\n")
    if written_in != boot:
        return ()
    parse = _parse_entry_1 if version == _HEADS[0] else parse_entry
    return tuple(parse(line) for line in body.split("\n")[:-1])
