"""Which device is a port of which, from the kernel's list of links (linux/if_link.h), and which uplinks a tap reaches.

Opens nothing.
"""

import struct
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from stella.linux import netlink

_NEW_LINK, _GET_LINK = 16, 18
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, changed flags
_NAME, _LOWER, _MASTER, _EXTRAS, _OTHER_NAMESPACE = 3, 5, 10, 29, 37
_SKIP_STATISTICS = 1 << 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A link by its name. ``master``: the index of what it is a port of; ``beside``: of the device below a VLAN, or of a veth's
    other end.

    Both are 0 for none here.
    """

    name: str
    master: int = 0
    beside: int = 0


def links_request(sequence: int) -> bytes:
    """The request for all links of the namespace, without their counters."""
    extras = netlink.attribute(_EXTRAS, struct.pack("=I", _SKIP_STATISTICS))
    return netlink.message(_GET_LINK, netlink.REQUEST | netlink.DUMP, sequence, _LINK.pack(0, 0, 0, 0, 0) + extras)


def parse_link(message: netlink.Message, into: dict[int, Device]) -> None:
    """Read one link of the answer into ``into`` (by index). Raises `netlink.InvalidMessage`."""
    if message.kind != _NEW_LINK or len(message.body) < _LINK.size:
        return
    index, found = _LINK.unpack_from(message.body)[2], dict[int, bytes]()
    for kind, begin, end in netlink.spans(message.body, _LINK.size, len(message.body)):
        if kind in (_NAME, _LOWER, _MASTER, _OTHER_NAMESPACE):
            found[kind] = message.body[begin:end]
    master, beside = (int.from_bytes(found.get(kind, b""), sys.byteorder) for kind in (_MASTER, _LOWER))
    here = _OTHER_NAMESPACE not in found
    into[index] = Device(name=netlink.string(found.get(_NAME)), master=master, beside=beside if here else 0)


def neighbours(devices: Mapping[int, Device]) -> Mapping[int, frozenset[int]]:
    """By index, the devices that traffic passes to from each: its master or ports, and what is beside it."""
    found: dict[int, set[int]] = {index: set() for index in devices}
    for index, device in devices.items():
        for other in (device.master, device.beside):
            if other in found and other != index:
                found[index].add(other)
                found[other].add(index)
    return {index: frozenset(others) for index, others in found.items()}


def reached(
    start: int, devices: Mapping[int, Device], beside: Mapping[int, frozenset[int]], ends: Mapping[str, str]
) -> frozenset[str]:
    """The uplinks that traffic of a tap can reach. ``ends``: the uplink by the name of itself, or of a bridge that
    is said to lead to it.

    Nothing is followed through these. ``beside``: `neighbours`.
    """
    found, seen, waiting = set(), {start}, deque([start])
    while waiting:
        at = waiting.popleft()
        end = ends.get(devices[at].name) if at in devices else None
        if end is not None and at != start:
            found.add(end)
            continue
        fresh = beside.get(at, frozenset()) - seen
        seen |= fresh
        waiting.extend(fresh)
    return frozenset(found)
