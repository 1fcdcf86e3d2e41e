"""QEMU's throttle of a disk as text, for plans, journal and audit, and as what libvirt takes.

The text: ``total_bytes_sec 1000000 size_iops_sec 16384 group NAME``, or ``none``.

A throttle that Stella sets has a group whose name tells so, and what held before: ``stella.UNIT.BEFORE``. So it is recognised without
a journal, on another host too: live migration takes an instance's throttles along.
"""

from stella.linux.cgroup import InvalidText
from stella.model.snapshot import NO_THROTTLE, Throttle

NONE = "none"
UNIT_BYTES = "size_iops_sec"
RATES = tuple(f"{way}_{kind}_sec" for kind in ("bytes", "iops") for way in ("total", "read", "write"))
_BURSTS = tuple(f"{name}_max" for name in RATES)
NAMES = (*RATES, *_BURSTS, *(f"{name}_length" for name in _BURSTS), UNIT_BYTES)
GROUP = "group_name"
_MARK = "stella"


def show_throttle(throttle: Throttle) -> str:
    """The text of a throttle."""
    words = [f"{name} {value}" for name, value in throttle.limits]
    if throttle.group:
        words.append(f"group {_quoted(throttle.group)}")
    return " ".join(words) or NONE


def parse_throttle(text: str) -> Throttle:
    """The throttle with this text. Raises `InvalidText`."""
    if text == NONE:
        return NO_THROTTLE
    words = text.split(" ")
    found = dict(zip(words[::2], words[1::2], strict=False))
    group = _unquoted(found.pop("group", ""))
    values = all(name in NAMES and word.isascii() and word.isdigit() and int(word) > 0 for name, word in found.items())
    if len(words) % 2 or not values:
        raise InvalidText(f"no throttle: {text!r}")
    return Throttle(limits=tuple(sorted((name, int(word)) for name, word in found.items())), group=group)


def parameters(throttle: Throttle, now: Throttle) -> dict[str, int | str]:
    """What libvirt's setBlockIoTune takes for a disk that holds ``now``: it keeps what it is not told."""
    told: dict[str, int | str] = {**{name: 0 for name, _ in now.limits}, **dict(throttle.limits)}
    return {**told, GROUP: throttle.group} if throttle.group else told


def group_of(unit: str, before: Throttle) -> str:
    """The name of Stella's group for one unit of an instance (its disks, or one of them) that held ``before``."""
    return f"{_MARK}.{unit}.{_quoted(show_throttle(before))}"


def before_stella(throttle: Throttle) -> Throttle | None:
    """What a disk held before Stella, from a throttle that Stella set; None for a throttle of others."""
    mark, _, rest = throttle.group.partition(".")
    unit, dot, before = rest.partition(".")
    if mark != _MARK or not unit or not dot:
        return None
    try:
        return parse_throttle(_unquoted(before))
    except InvalidText:
        return None


def _quoted(text: str) -> str:
    """Letters, digits and ``_`` stay, a space is ``--``, any other byte is ``-XX``."""
    return "".join(
        c
        if c == "_" or (c.isascii() and c.isalnum())
        else "--"
        if c == " "
        else "".join(f"-{b:02x}" for b in c.encode())
        for c in text
    )


def _unquoted(text: str) -> str:
    first, *rest = text.replace("--", "-20").split("-")
    try:
        return (first.encode() + b"".join(bytes.fromhex(part[:2]) + part[2:].encode() for part in rest)).decode()
    except ValueError:
        raise InvalidText(f"no name: {text!r}") from None
