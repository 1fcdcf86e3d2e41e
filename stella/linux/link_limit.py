"""The limit of one direction of a link as text, for plans, journal and audit: ``packets 20000 bytes 12500000``, or ``none``."""

from stella.linux.cgroup import InvalidText
from stella.model.snapshot import NO_LIMIT, LinkLimit

NONE = "none"


def show_limit(limit: LinkLimit) -> str:
    """The text of a limit, in whole packets/s and bytes/s."""
    parts = []
    if limit.packets is not None:
        parts.append(f"packets {limit.packets:.0f}")
    if limit.bytes is not None:
        parts.append(f"bytes {limit.bytes:.0f}")
    return " ".join(parts) or NONE


def parse_limit(text: str) -> LinkLimit:
    """The limit with this text. Raises `InvalidText`."""
    if text == NONE:
        return NO_LIMIT
    words = text.split(" ")
    found = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or len(found) != len(words) // 2 or not found.keys() <= {"packets", "bytes"}:
        raise InvalidText(f"no limit of a link: {text!r}")
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in found.values()):
        raise InvalidText(f"no limit of a link: {text!r}")
    return LinkLimit(**{key: float(word) for key, word in found.items()})
