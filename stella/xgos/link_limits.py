"""Limits of links in the kernel: nftables for packets, token buckets for bytes. Read by sensing, set by actuation.

Own netlink messages, not the programs `nft` and `tc`: a tick waits for no other process, a change takes 0.1 to 0.4 ms, and the guard
(a Python without site-packages) can lift a limit too. What is there shows in ``nft list table netdev stella`` and ``tc qdisc``.
Every method raises OSError where the kernel refuses.
"""

import errno
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from stella.linux import link_topology, nftables, traffic_control
from stella.model.snapshot import NO_LIMIT, LinkLimit
from stella.xgos.netlink_socket import NETFILTER, ROUTE, NetlinkSocket

_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
_PROBED = "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """What the kernel holds: chains by name, and root queues by the index of their device."""

    chains: Mapping[str, nftables.Chain] = field(default_factory=dict)
    roots: Mapping[int, traffic_control.Root] = field(default_factory=dict)

    def chain(self, device: str, direction: str) -> nftables.Chain | None:
        """The chain of one direction of a tap; None where nothing is limited."""
        return self.chains.get(nftables.chain_name(device, direction))

    def bucket(self, device: str, index: int, direction: str) -> traffic_control.Root:
        """The bucket that limits the bytes of one direction, empty where none does."""
        chain = self.chain(device, direction)
        if chain is None:
            return traffic_control.Root()
        at = chain.forward if direction == "tx" else index
        return self.roots.get(at, traffic_control.Root()) if at is not None else traffic_control.Root()

    def limit(self, device: str, index: int, direction: str) -> LinkLimit:
        """What one direction of a tap is limited to."""
        chain = self.chain(device, direction)
        if chain is None:
            return NO_LIMIT
        return LinkLimit(packets=chain.packets, bytes=self.bucket(device, index, direction).bytes_per_second)


class LinkLimits:
    """For one thread. Sockets are opened when they are first needed."""

    def __init__(self) -> None:
        self._netfilter = NetlinkSocket(NETFILTER)
        self._route = NetlinkSocket(ROUTE)
        self._rules = nftables.RuleReader()

    def lack(self) -> tuple[tuple[str, str], ...]:
        """Why this host cannot limit ``packets`` or ``bytes``; nothing for what it can. Asks the kernel and changes nothing."""
        packets = self._packets_lack()
        return tuple(
            (kind, why) for kind, why in (("packets", packets), ("bytes", packets or self._bytes_lack())) if why
        )

    def _packets_lack(self) -> str:
        try:
            index = socket.if_nametoindex(_PROBED)
            answers = self._netfilter.errors(partial(nftables.probe, _PROBED, index))
        except OSError as error:
            return f"nftables cannot be asked: {error.strerror or error}"
        finally:
            self._netfilter.close()
        refused = next((number for number in answers or [errno.EIO] if number), 0)
        if refused == errno.EPERM:
            return "xgos lacks CAP_NET_ADMIN"
        return f"the kernel refuses limits by nftables at ingress and egress: {os.strerror(refused)}" if refused else ""

    def _bytes_lack(self) -> str:
        try:
            index = socket.if_nametoindex(_PROBED)
            bucket = self._route.errors(partial(traffic_control.probe_bucket, index))
            device = self._route.errors(traffic_control.probe_intermediate)
        except OSError as error:
            return f"traffic control cannot be asked: {error.strerror or error}"
        if bucket != [errno.EINVAL]:
            return "the kernel has no token bucket (module sch_tbf)"
        return "" if device == [errno.EINVAL] else "the kernel has no intermediate device (module ifb)"

    def chains(self) -> dict[str, nftables.Chain]:
        """All chains of the table by name."""
        return self._rules.read(self._netfilter.dump(nftables.rules_request))

    def roots(self) -> dict[int, traffic_control.Root]:
        """The root queue of every device, by index."""
        found: dict[int, traffic_control.Root] = {}
        for message in self._route.dump(traffic_control.roots_request):
            traffic_control.parse_root(message, found)
        return found

    def is_port(self, index: int) -> bool:
        """Whether a device is a port of a bridge or of another device; False for one that is no more."""
        answers = self._route.ask(partial(traffic_control.link_request, index))
        return any(traffic_control.parse_master(message) for message in answers)

    def topology(self) -> dict[int, link_topology.Device]:
        """All links of the namespace, by index. Takes milliseconds with hundreds of them."""
        found: dict[int, link_topology.Device] = {}
        for message in self._route.dump(link_topology.links_request):
            link_topology.parse_link(message, found)
        return found

    def limit(self, device: str, index: int, direction: str) -> LinkLimit:
        """What one direction of a tap is limited to. Asks for this alone: with hundreds of links all of them take milliseconds."""
        chain = self._chain(device, direction)
        at = index if direction == "rx" else chain.forward if chain else None
        roots = {at: self._root(at)} if chain and at is not None else {}
        chains = {nftables.chain_name(device, direction): chain} if chain else {}
        return LimitState(chains=chains, roots=roots).limit(device, index, direction)

    def _chain(self, device: str, direction: str) -> nftables.Chain | None:
        name = nftables.chain_name(device, direction)
        dump = self._netfilter.dump(partial(nftables.rules_request, chain=name))
        return nftables.RuleReader().read(dump).get(name)

    def _root(self, index: int) -> traffic_control.Root:
        found: dict[int, traffic_control.Root] = {}
        for message in self._route.ask(partial(traffic_control.root_request, index)):
            traffic_control.parse_root(message, found)
        return found.get(index, traffic_control.Root())

    def set(self, device: str, direction: str, limit: LinkLimit) -> None:
        """Limit one direction of a tap to exactly this. A root queue of another program is left alone: `FileExistsError`."""
        index = socket.if_nametoindex(device)
        forward = self._set_bytes(index, direction, limit.bytes) if limit.bytes is not None else None
        old = self._chain(device, direction)
        if limit == NO_LIMIT:
            self._remove_chain(device, direction)
        elif old is None or (old.packets, old.forward) != (limit.packets, forward):
            self._netfilter.change(
                lambda first: nftables.set_limit(
                    device, direction, first, exists=old is not None, packets=limit.packets, forward=forward
                )
            )
        if limit.bytes is None:
            self._lift_bytes(index, direction)

    def _set_bytes(self, index: int, direction: str, bytes_per_second: float) -> int | None:
        """Make or change the bucket; returns the index of the intermediate device that traffic is to be handed to."""
        at = index
        if direction == "tx":
            name = traffic_control.intermediate_name(index)
            self._route.change(partial(traffic_control.add_intermediate, name), tolerated=(errno.EEXIST,))
            at = socket.if_nametoindex(name)
        elif foreign := self._root(index).kind:
            raise FileExistsError(errno.EEXIST, f"another program has set its queue ({foreign})")
        self._route.change(partial(traffic_control.set_bucket, at, bytes_per_second))
        return at if direction == "tx" else None

    def _lift_bytes(self, index: int, direction: str) -> None:
        """An intermediate device stays for the next limit, without traffic: to remove one takes the kernel some 30 ms."""
        if direction == "rx" and self._root(index).bytes_per_second is not None:
            self._route.change(partial(traffic_control.remove_bucket, index), tolerated=_GONE)

    def _remove_chain(self, device: str, direction: str) -> None:
        """And the table with the last one."""
        self._netfilter.change(partial(nftables.remove_limit, device, direction), tolerated=_GONE)
        if any(map(nftables.is_empty_table, self._netfilter.ask(nftables.table_request))):
            self._netfilter.change(nftables.remove_table, tolerated=_GONE)

    def forget(self, device: str, direction: str) -> None:
        """Remove what is left of a tap that is no more; its name may be given to another one."""
        self._remove_chain(device, direction)
        here = {index for index, _ in socket.if_nameindex()}
        self._remove_intermediates(lambda tap: tap not in here)

    def clear(self) -> None:
        """Remove everything of ours in this network namespace, known or not; nothing to do where there is nothing."""
        self._netfilter.change(nftables.remove_table, tolerated=_GONE)
        self._remove_intermediates(lambda _: True)
        for index, root in self.roots().items():
            if root.bytes_per_second is not None:
                self._route.change(partial(traffic_control.remove_bucket, index), tolerated=_GONE)

    def _remove_intermediates(self, wanted: Callable[[int], bool]) -> None:
        for index, name in socket.if_nameindex():
            if traffic_control.is_intermediate(name) and wanted(int(name.removeprefix(traffic_control.DEVICE_PREFIX))):
                self._route.change(partial(traffic_control.remove_link, index), tolerated=_GONE)
