"""Packet limits on a device, as nftables rules (linux/netfilter/nf_tables.h): packed and read back. Opens nothing.

One table, `TABLE` of the family netdev, holds a chain for each limited device and direction, named ``DEVICE.tx`` or ``DEVICE.rx``
from the guest's side: what a guest sends is received by its tap, so ``tx`` is hooked at ingress and ``rx`` at egress. ``nft list table
netdev stella`` shows::

    chain tap0.tx {
        type filter hook ingress device "tap0" priority filter; policy accept;
        limit rate over 20000/second burst 400 packets counter packets 17 bytes 1870 drop
        counter packets 0 bytes 0
        fwd to "stella7"
    }

The first rule is the limit of packets. The last one hands what is left to a device that limits bytes (`traffic_control`). The bare
counter is in every chain, so that a chain without a limit of packets is seen in a dump of rules too.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from stella.linux import netlink

TABLE = "stella"
BURST_SECONDS = 0.02
SMALLEST_BURST_PACKETS = 16
"""A limit lets so much through at once after a pause: threads that send for a guest wake late."""

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _DELETE_CHAIN = 0, 2, 3, 5
_NEW_RULE, _GET_RULE, _DELETE_RULE = 6, 7, 8
_NETDEV = 5
_FAMILY = struct.Struct("!BBH")  # family, version, resource: network byte order
_HOOKS = {"tx": 0, "rx": 1}  # ingress, egress
_VERDICT, _REGISTER = 0, 1
_LIMIT_OVER = 1
_MOST_BURST = 0xFFFFFFFF


def _u32(value: int) -> bytes:
    return struct.pack("!I", value)


def _u64(value: int) -> bytes:
    return struct.pack("!Q", value)


def chain_name(device: str, direction: str) -> str:
    """The chain of a device (a tap) and a direction, ``tx`` or ``rx`` as the guest sees it."""
    return f"{device}.{direction}"


def _request(kind: int, flags: int, sequence: int, *attributes: bytes) -> bytes:
    body = _FAMILY.pack(_NETDEV, 0, 0) + b"".join(attributes)
    return netlink.message(_SUBSYSTEM << 8 | kind, netlink.REQUEST | flags, sequence, body)


def _expression(name: str, *attributes: bytes) -> bytes:
    return netlink.nested(1, netlink.text(1, name), netlink.nested(2, *attributes))


def _over(packets: float) -> bytes:
    """Matches what is above so many packets a second."""
    rate = max(1, round(packets))
    burst = min(max(SMALLEST_BURST_PACKETS, round(packets * BURST_SECONDS)), _MOST_BURST)
    parts = ((1, _u64(rate)), (2, _u64(1)), (3, _u32(burst)), (4, _u32(0)), (5, _u32(_LIMIT_OVER)))
    return _expression("limit", *(netlink.attribute(kind, value) for kind, value in parts))


def _counter(packets: int = 0, octets: int = 0) -> bytes:
    return _expression("counter", netlink.attribute(1, _u64(octets)), netlink.attribute(2, _u64(packets)))


def _drop() -> bytes:
    verdict = netlink.nested(2, netlink.attribute(1, _u32(0)))
    return _expression("immediate", netlink.attribute(1, _u32(_VERDICT)), netlink.nested(2, verdict))


def _forward(index: int) -> bytes:
    value = netlink.attribute(1, struct.pack("=I", index))
    load = _expression("immediate", netlink.attribute(1, _u32(_REGISTER)), netlink.nested(2, value))
    return load + _expression("fwd", netlink.attribute(1, _u32(_REGISTER)))


def _rule(chain: str, sequence: int, *expressions: bytes) -> bytes:
    return _request(
        _NEW_RULE,
        netlink.CREATE | netlink.APPEND | netlink.ACK,
        sequence,
        netlink.text(1, TABLE),
        netlink.text(2, chain),
        netlink.nested(4, *expressions),
    )


def _batch(kind: int, sequence: int) -> bytes:
    return netlink.message(kind, netlink.REQUEST, sequence, _FAMILY.pack(0, 0, _SUBSYSTEM))


def _new_table(sequence: int) -> bytes:
    return _request(_NEW_TABLE, netlink.CREATE | netlink.ACK, sequence, netlink.text(1, TABLE))


def _new_chain(device: str, direction: str, sequence: int) -> bytes:
    hook = netlink.nested(
        4, netlink.attribute(1, _u32(_HOOKS[direction])), netlink.attribute(2, _u32(0)), netlink.text(3, device)
    )
    name = netlink.text(3, chain_name(device, direction))
    return _request(
        _NEW_CHAIN,
        netlink.CREATE | netlink.ACK,
        sequence,
        netlink.text(1, TABLE),
        name,
        hook,
        netlink.attribute(5, _u32(1)),
        netlink.text(7, "filter"),
    )


def _clear_chain(chain: str, sequence: int) -> bytes:
    return _request(_DELETE_RULE, netlink.ACK, sequence, netlink.text(1, TABLE), netlink.text(2, chain))


def set_limit(
    device: str, direction: str, sequence: int, *, exists: bool, packets: float | None, forward: int | None
) -> bytes:
    """One transaction after which the chain holds exactly this: a limit in packets/s, and the index of a device that gets the rest.

    ``exists``: there is a chain already.
    """
    chain = chain_name(device, direction)
    first = [_new_table(sequence + 1), _new_chain(device, direction, sequence + 2)]
    parts = [_batch(_BATCH_BEGIN, sequence), *([_clear_chain(chain, sequence + 1)] if exists else first)]
    if packets is not None:
        parts.append(_rule(chain, sequence + 3, _over(packets), _counter(), _drop()))
    parts.append(_rule(chain, sequence + 4, _counter()))
    if forward is not None:
        parts.append(_rule(chain, sequence + 5, _forward(forward)))
    return b"".join([*parts, _batch(_BATCH_END, sequence + 6)])


def remove_limit(device: str, direction: str, sequence: int) -> bytes:
    """One transaction that removes the chain. The kernel answers ENOENT where there is none."""
    chain = chain_name(device, direction)
    delete = _request(_DELETE_CHAIN, netlink.ACK, sequence + 2, netlink.text(1, TABLE), netlink.text(3, chain))
    ends = _batch(_BATCH_BEGIN, sequence), _batch(_BATCH_END, sequence + 3)
    return b"".join([ends[0], _clear_chain(chain, sequence + 1), delete, ends[1]])


def remove_table(sequence: int) -> bytes:
    """One transaction that removes the table with all that is in it. ENOENT where there is none."""
    delete = _request(_DELETE_TABLE, netlink.ACK, sequence + 1, netlink.text(1, TABLE))
    return b"".join([_batch(_BATCH_BEGIN, sequence), delete, _batch(_BATCH_END, sequence + 2)])


def probe(device: str, index: int, sequence: int) -> bytes:
    """A transaction with everything that a limit needs, without its end: the kernel answers to each part and changes nothing."""
    parts = [_batch(_BATCH_BEGIN, sequence), _new_table(sequence + 1)]
    for number, direction in enumerate(_HOOKS):
        at = sequence + 2 + 10 * number
        chain = chain_name(device, direction)
        parts.append(_new_chain(device, direction, at))
        parts.append(_rule(chain, at + 1, _over(1000.0), _counter(), _drop()))
        if direction == "tx":
            parts.append(_rule(chain, at + 2, _forward(index)))
    return b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What the chain of a device and direction holds: its limit in packets/s, what that dropped, and the device that gets the rest."""

    packets: float | None = None
    dropped_packets: int = 0
    dropped_bytes: int = 0
    forward: int | None = None


def rules_request(sequence: int) -> bytes:
    """The request for all rules of the table; the answer is empty where there is none."""
    return _request(_GET_RULE, netlink.DUMP, sequence, netlink.text(1, TABLE))


def parse_rule(message: netlink.Message, into: dict[str, Chain]) -> None:
    """Read one rule of the answer into ``into``, by the chain's name. Raises `netlink.InvalidMessage`."""
    if message.kind != (_SUBSYSTEM << 8 | _NEW_RULE):
        return
    found = netlink.attributes(message.body, _FAMILY.size)
    if netlink.string(found.get(1)) != TABLE:
        return
    name = netlink.string(found.get(2))
    known = into.get(name, Chain())
    packets, forward = known.packets, known.forward
    dropped = (known.dropped_packets, known.dropped_bytes)
    loaded: int | None = None
    is_limit = False
    for _, element in netlink.each_attribute(found.get(4, b"")):
        expression = netlink.attributes(element)
        kind, data = netlink.string(expression.get(1)), netlink.attributes(expression.get(2, b""))
        if kind == "limit":
            packets, is_limit = _rate(data), True
        elif kind == "counter" and is_limit:
            dropped = (int.from_bytes(data.get(2, b""), "big"), int.from_bytes(data.get(1, b""), "big"))
        elif kind == "immediate":
            value = netlink.attributes(data.get(2, b"")).get(1)
            loaded = int(struct.unpack("=I", value)[0]) if value is not None and len(value) == 4 else None
        elif kind == "fwd":
            forward = loaded
    into[name] = Chain(packets=packets, dropped_packets=dropped[0], dropped_bytes=dropped[1], forward=forward)


def _rate(data: Mapping[int, bytes]) -> float:
    unit = int.from_bytes(data.get(2, b""), "big")
    return int.from_bytes(data.get(1, b""), "big") / max(unit, 1)
