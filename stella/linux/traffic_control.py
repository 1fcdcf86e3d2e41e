"""Byte limits on a device, as token buckets of the kernel's traffic control (linux/pkt_sched.h): packed and read back. Opens nothing.

A bucket (TBF) is the root queue of a device, so it holds back what that device *transmits*. What a guest receives is transmitted by
its tap. What it sends is received by its tap, where no queue is: it is handed (`nftables`) to an intermediate device (IFB, one for
each limited tap), which transmits through a bucket and then gives it back. Shaping, not dropping: TCP comes close to its limit.

A root queue that another program has set is never replaced. Those of the kernel's own choice have handle 0, ours have `HANDLE`.
"""

import struct
import sys
from dataclasses import dataclass

from stella.linux import netlink

HANDLE = 0x5E110000
BURST_SECONDS = 0.02
SMALLEST_BURST_BYTES = 16_384
"""A jumbo frame passes. What segmentation offload made larger than a bucket, the kernel takes apart again."""
QUEUE_SECONDS = 0.05
SMALLEST_QUEUE_BYTES = 65_536
DEVICE_PREFIX = "stella"

_NEW_LINK, _DELETE_LINK, _GET_LINK, _NEW_QDISC, _DELETE_QDISC, _GET_QDISC = 16, 17, 18, 36, 37, 38
_EXCLUSIVE = 0x200
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, changed flags
_UP = 1
_TRAFFIC = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
_ROOT = 0xFFFFFFFF
_RATE = struct.Struct("=BBHhHI")  # cell log, link layer, overhead, cell align, mpu, rate
_BUCKET = struct.Struct("=12s12sIII")  # rate, peak rate, limit, buffer, mtu
_QUEUE = struct.Struct("=5I")  # length, backlog, drops, requeues, over limits
_ETHERNET = 1  # with a link layer named, the kernel needs no table of rates
_MOST = 0xFFFFFFFF
_TOO_MANY_QUEUES = 4097


def intermediate_name(index: int) -> str:
    """The intermediate device of the tap with this index."""
    return f"{DEVICE_PREFIX}{index}"


def is_intermediate(name: str) -> bool:
    """Whether a device bears the name of one of ours."""
    return name.startswith(DEVICE_PREFIX) and name[len(DEVICE_PREFIX) :].isdigit()


def _u32(value: int) -> bytes:
    return struct.pack("=I", value)


def _new_link(name: str, sequence: int, flags: int, *attributes: bytes) -> bytes:
    body = _LINK.pack(0, 0, 0, flags, flags) + netlink.text(3, name)
    kind = netlink.nested(18, netlink.text(1, "ifb"))
    request = netlink.REQUEST | netlink.CREATE | _EXCLUSIVE | netlink.ACK
    return netlink.message(_NEW_LINK, request, sequence, b"".join([body, kind, *attributes]))


def add_intermediate(name: str, sequence: int) -> bytes:
    """Makes an intermediate device, up. EEXIST where there is one of this name."""
    return _new_link(name, sequence, _UP)


def probe_intermediate(sequence: int) -> bytes:
    """Asks for one that cannot be: EINVAL where the kernel knows the kind, EOPNOTSUPP where it does not. Changes nothing."""
    return _new_link("stella-probe", sequence, 0, netlink.attribute(31, _u32(_TOO_MANY_QUEUES)))


def remove_link(index: int, sequence: int) -> bytes:
    """Removes a device."""
    return netlink.message(_DELETE_LINK, netlink.REQUEST | netlink.ACK, sequence, _LINK.pack(0, 0, index, 0, 0))


def link_request(index: int, sequence: int) -> bytes:
    """The request for what is known of a device."""
    return netlink.message(_GET_LINK, netlink.REQUEST, sequence, _LINK.pack(0, 0, index, 0, 0))


def parse_master(message: netlink.Message) -> int | None:
    """The index of what a device is a port of, 0 for nothing; None for another message. Raises `netlink.InvalidMessage`."""
    if message.kind != _NEW_LINK or len(message.body) < _LINK.size:
        return None
    return int.from_bytes(netlink.attributes(message.body, _LINK.size).get(10, b""), sys.byteorder)


def _new_root(index: int, sequence: int, *attributes: bytes) -> bytes:
    body = _TRAFFIC.pack(0, index, HANDLE, _ROOT, 0) + netlink.text(1, "tbf") + b"".join(attributes)
    flags = netlink.REQUEST | netlink.CREATE | netlink.REPLACE | netlink.ACK
    return netlink.message(_NEW_QDISC, flags, sequence, body)


def set_bucket(index: int, bytes_per_second: float, sequence: int) -> bytes:
    """Makes, or changes, the bucket of a device: its rate, a burst of 20 ms of it, and a queue of 50 ms."""
    rate = max(1, round(bytes_per_second))
    burst = min(max(SMALLEST_BURST_BYTES, round(rate * BURST_SECONDS)), _MOST)
    queue = min(max(SMALLEST_QUEUE_BYTES, round(rate * QUEUE_SECONDS)), _MOST)
    spec = _RATE.pack(0, _ETHERNET, 0, 0, 0, min(rate, _MOST))
    options = [netlink.attribute(1, _BUCKET.pack(spec, bytes(12), queue, 0, 0)), netlink.attribute(6, _u32(burst))]
    if rate > _MOST:
        options.append(netlink.attribute(4, struct.pack("=Q", rate)))
    return _new_root(index, sequence, netlink.nested(2, *options))


def probe_bucket(index: int, sequence: int) -> bytes:
    """Asks for a bucket without its rate: EINVAL where the kernel knows buckets, ENOENT where it does not. Changes nothing."""
    return _new_root(index, sequence)


def remove_bucket(index: int, sequence: int) -> bytes:
    """Removes the bucket of a device: the kernel puts its own queue there again."""
    body = _TRAFFIC.pack(0, index, HANDLE, _ROOT, 0)
    return netlink.message(_DELETE_QDISC, netlink.REQUEST | netlink.ACK, sequence, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The root queue of a device. ``bytes_per_second`` is None for one that is not our bucket; ``dropped_packets`` is ours alone.

    ``kind`` is its name where another program has set it, empty otherwise.
    """

    bytes_per_second: float | None = None
    dropped_packets: int = 0
    kind: str = ""


def roots_request(sequence: int) -> bytes:
    """The request for all queues of the namespace."""
    return netlink.message(_GET_QDISC, netlink.REQUEST | netlink.DUMP, sequence, _TRAFFIC.pack(0, 0, 0, 0, 0))


def root_request(index: int, sequence: int) -> bytes:
    """The request for the root queue of one device. The kernel answers it to those who listen, and to the sender if it is told so."""
    return netlink.message(_GET_QDISC, netlink.REQUEST | netlink.ECHO, sequence, _TRAFFIC.pack(0, index, 0, _ROOT, 0))


def parse_root(message: netlink.Message, into: dict[int, Root]) -> None:
    """Read one queue of the answer into ``into`` (by index of the device); only root queues count. Raises `netlink.InvalidMessage`."""
    if message.kind != _NEW_QDISC or len(message.body) < _TRAFFIC.size:
        return
    _, index, handle, parent, _ = _TRAFFIC.unpack_from(message.body)
    if parent != _ROOT:
        return
    found = netlink.attributes(message.body, _TRAFFIC.size)
    kind = netlink.string(found.get(1))
    if handle != HANDLE or kind != "tbf":
        into[index] = Root(kind=kind if handle else "")
        return
    options = netlink.attributes(found.get(2, b""))
    queue = netlink.attributes(found.get(7, b"")).get(3, b"")
    into[index] = Root(
        bytes_per_second=_rate(options.get(1, b""), options.get(4)),
        dropped_packets=_QUEUE.unpack_from(queue)[2] if len(queue) >= _QUEUE.size else 0,
    )


def _rate(parameters: bytes, large: bytes | None) -> float | None:
    if large is not None and len(large) == 8:
        return float(struct.unpack("=Q", large)[0])
    return float(_RATE.unpack_from(parameters)[5]) if len(parameters) >= _RATE.size else None
