"""Each host's inventory in Placement, kept in step with what the host has to guarantee. Only under OpenStack.

Placement does not know our lease. It needs none: what is written follows from the hosts alone, and every write carries the
generation of what it was decided on, so that a leader that was frozen meanwhile is refused, or writes what is right. Before each write
the lease is asked all the same.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack import placement
from stella.clouds.openstack.nova import compute_nodes
from stella.clouds.openstack.placement import Changed, Inventory, NoProvider, Providers, Root, Stock
from stella.clouds.openstack.session import OpenStack, Refused
from stella.control.capacity import sellable_cores
from stella.control.inventory import Settled, settle, totals_of
from stella.db import decisions, hosts
from stella.db.database import Session
from stella.db.models import Host
from stella.db.slos import system_origin
from stella.engine.duty import Duty, Outcome, Work
from stella.model.slo import Metric

_LOG = logging.getLogger(__name__)
INTERVAL_SECONDS = 60.0
_BATCH = 20
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A host as the database has it. ``open``: it may take more. ``provider``: the uuid of its compute node's own, once found."""

    id: int
    name: str
    provider: str | None
    guaranteed_cores: float
    open: bool


def known(host: Host) -> Known:
    """What matters of a host. One that does not enforce, or is enrolled no longer, takes nothing more."""
    return Known(
        id=host.id,
        name=host.name,
        provider=host.resource_provider,
        guaranteed_cores=sellable_cores(host.capacity_cpu_cores or 0.0),
        open=host.mode == "enforce" and host.credential_sha256 is not None,
    )


class Nodes:
    """The compute nodes as Placement and Nova had them when a round over all hosts began."""

    def __init__(self, providers: Providers | None = None) -> None:
        """Nova is asked only where Placement has no provider of a host's name."""
        self.providers = providers or Providers(roots=(), generations={})
        self._by_name = {root.name: root for root in self.providers.roots}
        self._by_uuid = {root.uuid: root for root in self.providers.roots}
        self._uuids: Mapping[str, str] | None = None

    def find(self, name: str, compute_nodes: Callable[[], Mapping[str, str]]) -> Root:
        """The provider of a host's compute node. Raises `NoProvider`, and what ``compute_nodes`` raises."""
        found = self._by_name.get(name)
        if found is None:
            if self._uuids is None:
                self._uuids = compute_nodes()
            found = self._by_uuid.get(self._uuids.get(name, ""))
        if found is None:
            raise NoProvider(f"Placement has no resource provider of the compute node {name}: is its nova-compute up?")
        return found


class Inventories:
    """The duty, with what it remembers of hosts: where the last run stopped, and what was said already."""

    def __init__(
        self,
        adapter: Adapter,
        *,
        limits: Mapping[Metric, float],
        compute_nodes: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """``limits`` are what the devices of each host can do, in base units, where that is configured.

        ``compute_nodes`` tells the uuid of the compute node of each host, for those whose provider has another name than the host.
        """
        self._adapter = adapter
        self._limits = limits
        self._compute_nodes = compute_nodes
        self._nodes = Nodes()
        self._stocks: dict[str, Stock] = {}
        self._after = ""
        self._failed = 0
        self._said: dict[str, str] = {}
        self._short: dict[str, frozenset[str]] = {}

    def run(self, work: Work) -> Outcome:
        """The next hosts by name. Raises `stella.clouds.port.Unanswered` where Placement does not answer at all."""
        with work.store.reader() as session:
            batch = [known(host) for host in hosts.after(session, self._after, limit=_BATCH)]
        if not self._after:
            self._failed = 0
            placement.ensure_classes(self._adapter)
            self._nodes = Nodes(placement.list_providers(self._adapter))
        changed = sum(self._try(work, host) for host in batch)
        more = len(batch) == _BATCH
        self._after = batch[-1].name if more else ""
        return Outcome(changed=changed, more=more, backlog=self._failed)

    def _try(self, work: Work, host: Known) -> int:
        try:
            changed = self._keep(work, host)
        except (NoProvider, Changed, Refused) as error:
            self._failed += 1
            if self._said.get(host.name) != str(error):
                self._said[host.name] = str(error)
                _LOG.warning("host %s is not in step with Placement: %s", host.name, error)
            return 0
        if self._said.pop(host.name, None) is not None:
            _LOG.warning("host %s is in step with Placement again", host.name)
        return changed

    def _keep(self, work: Work, host: Known) -> int:
        root = self._nodes.find(host.name, self._compute_nodes)
        if host.provider != root.uuid:
            work.store.write(lambda session: hosts.keep_provider(session, host.id, root.uuid))
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._once(work, host, root)
            except Changed:
                self._stocks.pop(root.child_uuid, None)
        return self._once(work, host, root)

    def _once(self, work: Work, host: Known, root: Root) -> int:
        if self._short.get(
            host.name
        ):  # Nova deletes without moving the generation; what is short is to be cured at once
            self._stocks.pop(root.child_uuid, None)
        stock = self._stock(work, root)
        current = {name: one.total for name, one in stock.inventories.items()}
        wanted = totals_of(host.guaranteed_cores, limits=self._limits)
        settled = settle(wanted, current=current, used=stock.used)
        inventories = {
            name: Inventory(total=total, reserved=0 if host.open else total) for name, total in settled.totals.items()
        }
        changed = inventories != stock.inventories
        if changed:
            self._check_lease(work)
            del self._stocks[root.child_uuid]
            placement.write(self._adapter, root, inventories, generation=stock.generation)
            _LOG.info("host %s: %s in Placement", host.name, inventories)
        self._note(work, host, root, settled)
        return int(changed)

    def _stock(self, work: Work, root: Root) -> Stock:
        """What the child has; as it was read before, where its generation is still the same."""
        stock = self._stocks.get(root.child_uuid)
        if stock is not None and stock.generation == self._nodes.providers.generations.get(root.child_uuid):
            return stock
        stock = placement.read(self._adapter, root)
        if stock is None:
            self._check_lease(work)
            placement.ensure_child(self._adapter, root)
            stock = placement.read(self._adapter, root)
            if stock is None:
                raise Changed(f"the resource provider {root.child_name} is gone again")
        self._stocks[root.child_uuid] = stock
        return stock

    @staticmethod
    def _check_lease(work: Work) -> None:
        work.store.write(lambda session: None)

    def _note(self, work: Work, host: Known, root: Root, settled: Settled) -> None:
        """A decision when a class becomes short; once, not at every run."""
        short = frozenset(settled.short)
        fresh = short - self._short.get(host.name, frozenset())
        if fresh:
            reason = (
                f"{', '.join(sorted(fresh))}: more is allocated in Placement than the host has; "
                "the total stays at what is allocated"
            )
            detail = {"resource_provider": root.child_uuid, "short": dict(sorted(settled.short.items()))}

            def record(session: Session) -> None:
                decisions.record(
                    session,
                    decisions.PLACEMENT_SHORT,
                    origin=system_origin(work.clock()),
                    reason=reason,
                    host_id=host.id,
                    detail=detail,
                )

            work.store.write(record)
        self._short[host.name] = short


def duties(openstack: OpenStack, *, limits: Mapping[Metric, float]) -> Sequence[Duty]:
    """The duty, for an engine under OpenStack."""
    run = Inventories(openstack.placement, limits=limits, compute_nodes=partial(compute_nodes, openstack.nova)).run
    return (Duty(name="placement", interval_seconds=INTERVAL_SECONDS, run=run),)
