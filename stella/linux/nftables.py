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
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stella.linux import netlink

TABLE = "stella"
BURST_SECONDS = 0.02
SMALLEST_BURST_PACKETS = 16
"""A limit lets so much through at once after a pause: threads that send for a guest wake late."""

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_TABLE, _GET_TABLE, _DELETE_TABLE, _NEW_CHAIN, _DELETE_CHAIN = 0, 1, 2, 3, 5
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
    """What the chain of a device and direction holds: its limit in packets/s, what that dropped, and the device that gets the rest.

    ``number`` is the kernel's for the rule that limits: what it dropped is counted anew in another one.
    """

    number: int = 0
    packets: float | None = None
    dropped_packets: int = 0
    dropped_bytes: int = 0
    forward: int | None = None


def rules_request(sequence: int, chain: str = "") -> bytes:
    """The request for all rules of the table, or of one ``chain``; the answer is empty where there is none."""
    which = [netlink.text(1, TABLE), *([netlink.text(2, chain)] if chain else [])]
    return _request(_GET_RULE, netlink.DUMP, sequence, *which)


def table_request(sequence: int) -> bytes:
    """The request for what is known of the table. ENOENT where there is none."""
    return _request(_GET_TABLE, 0, sequence, netlink.text(1, TABLE))


def is_empty_table(message: netlink.Message) -> bool:
    """Whether this answer tells that the table has no chains. Raises `netlink.InvalidMessage`."""
    if message.kind != (_SUBSYSTEM << 8 | _NEW_TABLE):
        return False
    return not int.from_bytes(netlink.attributes(message.body, _FAMILY.size).get(3, b"\1"), "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """One rule. ``counted_at``: where in its message what a limit dropped stands, bytes and packets."""

    chain: str
    number: int = 0
    packets: float | None = None
    forward: int | None = None
    counted_at: tuple[int, int] | None = None


class RuleReader:
    """Reads dumps of rules. Only counters change in a rule that keeps its number, so each is taken apart once: 2 us a rule, not 60."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Rule | None] = {}

    def read(self, dump: Iterable[netlink.Message]) -> dict[str, Chain]:
        """The chains by their names. Raises `netlink.InvalidMessage`."""
        found: dict[str, Chain] = {}
        seen: dict[bytes, _Rule | None] = {}
        for message in dump:
            if message.kind != (_SUBSYSTEM << 8 | _NEW_RULE):
                continue
            key = _key(message.body)
            rule = self._known.get(key) if key in self._known else _parse_rule(message.body)
            seen[key] = rule
            if rule is not None:
                found[rule.chain] = _with_rule(found.get(rule.chain), rule, message.body)
        self._known = seen
        return found


def _with_rule(known: Chain | None, rule: _Rule, body: bytes) -> Chain:
    chain = known or _EMPTY
    if rule.counted_at is not None:
        octets, packets = (_COUNT.unpack_from(body, at)[0] for at in rule.counted_at)
        chain = replace(chain, number=rule.number, packets=rule.packets, dropped_packets=packets, dropped_bytes=octets)
    return chain if rule.forward is None else replace(chain, forward=rule.forward)


def _key(body: bytes) -> bytes:
    """The table, chain and number of a rule, which come first, and its length."""
    at = _FAMILY.size
    for _ in range(3):
        if at + 2 > len(body):
            break
        at += (int.from_bytes(body[at : at + 2], sys.byteorder) + 3) & ~3
    return body[:at] + len(body).to_bytes(4, "big")


def _parse_rule(body: bytes) -> _Rule | None:
    """One rule of our table; None for any other."""
    found = {kind: (begin, end) for kind, begin, end in netlink.spans(body, _FAMILY.size, len(body))}

    def text(kind: int) -> str:
        begin, end = found.get(kind, (0, 0))
        return netlink.string(body[begin:end])

    if text(1) != TABLE:
        return None
    number = int.from_bytes(body[slice(*found.get(3, (0, 0)))], "big")
    rule, loaded = _Rule(chain=text(2), number=number), None
    for _, begin, end in netlink.spans(body, *found.get(4, (0, 0))):
        parts = {kind: at for kind, *at in netlink.spans(body, begin, end)}
        name, inner = parts.get(1, [0, 0]), parts.get(2, [0, 0])
        data = {kind: (first, last) for kind, first, last in netlink.spans(body, *inner)}
        match netlink.string(body[slice(*name)]):
            case "limit" if {1, 2} <= data.keys():
                rate, unit = (int.from_bytes(body[slice(*data[kind])], "big") for kind in (1, 2))
                rule = replace(rule, packets=rate / max(unit, 1))
            case "counter" if rule.packets is not None and {1, 2} <= data.keys():
                rule = replace(rule, counted_at=(data[1][0], data[2][0]))
            case "immediate" if 2 in data:
                value = netlink.attributes(body[slice(*data[2])]).get(1, b"")
                loaded = int.from_bytes(value, sys.byteorder) if len(value) == 4 else None
            case "fwd":
                rule = replace(rule, forward=loaded)
    return rule


_EMPTY = Chain()
_COUNT = struct.Struct("!Q")
