"""Which running instance a key of the SLO file means: a uuid, or else a name that exactly one of them has."""

import re
from collections.abc import Collection, Mapping

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_uuid(text: str) -> bool:
    """Whether a text has the form of a uuid: then it never stands for a name, whatever an instance calls itself."""
    return _UUID.fullmatch(text) is not None


def canonical(text: str) -> str:
    """A uuid as libvirt writes it, in lower case; any other text as it is."""
    return text.lower() if is_uuid(text) else text


def assign(keys: Collection[str], running: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """By uuid the one of ``keys`` that means each instance in ``running`` (uuid to name), and the names that fit several of them.

    A uuid goes before a name. A name that fits several instances is given to none.
    """
    bearers: dict[str, int] = {}
    for name in running.values():
        bearers[name] = bearers.get(name, 0) + 1
    names = {name for name in bearers if name and name in keys and name not in running and not is_uuid(name)}
    several = frozenset(name for name in names if bearers[name] > 1)
    found = {}
    for uuid, name in running.items():
        if uuid in keys:
            found[uuid] = uuid
        elif name in names - several:
            found[uuid] = name
    return found, several
