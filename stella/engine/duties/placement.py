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
from stella.clouds.openstack.placement import Changed, Inventory, NoProvider, Root
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
    """A host as the database has it. ``open``: it may take more."""

    id: int
    name: str
    guaranteed_cores: float
    open: bool


def known(host: Host) -> Known:
    """What matters of a host. One that does not enforce, or is enrolled no longer, takes nothing more."""
    return Known(
        id=host.id,
        name=host.name,
        guaranteed_cores=sellable_cores(host.capacity_cpu_cores or 0.0),
        open=host.mode == "enforce" and host.credential_sha256 is not None,
    )


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
        self._uuids: Mapping[str, str] | None = None
        self._after = ""
        self._failed = 0
        self._said: dict[str, str] = {}
        self._short: dict[str, frozenset[str]] = {}

    def run(self, work: Work) -> Outcome:
        """The next hosts by name. Raises `stella.clouds.port.Unanswered` where Placement does not answer at all."""
        with work.store.reader() as session:
            batch = [known(host) for host in hosts.after(session, self._after, limit=_BATCH)]
        if not self._after:
            self._failed, self._uuids = 0, None
            placement.ensure_classes(self._adapter)
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
        for attempt in range(_ATTEMPTS):
            try:
                return self._once(work, host)
            except Changed:
                if attempt == _ATTEMPTS - 1:
                    raise
        return 0

    def _once(self, work: Work, host: Known) -> int:
        root = self._root(host.name)
        stock = placement.read(self._adapter, root)
        if stock is None:
            self._check_lease(work)
            placement.ensure_child(self._adapter, root)
            stock = placement.read(self._adapter, root)
            if stock is None:
                raise Changed(f"the resource provider {root.child_name} is gone again")
        current = {name: one.total for name, one in stock.inventories.items()}
        settled = settle(totals_of(host.guaranteed_cores, limits=self._limits), current=current, used=stock.used)
        inventories = {
            name: Inventory(total=total, reserved=0 if host.open else total) for name, total in settled.totals.items()
        }
        changed = inventories != stock.inventories
        if changed:
            self._check_lease(work)
            placement.write(self._adapter, root, inventories, generation=stock.generation)
            _LOG.info("host %s: %s in Placement", host.name, inventories)
        self._note(work, host, root, settled)
        return int(changed)

    def _root(self, name: str) -> Root:
        """By its name; where there is none, by what Nova says, which is asked once for all hosts."""
        try:
            return placement.find_root(self._adapter, name)
        except NoProvider:
            if self._uuids is None:
                self._uuids = self._compute_nodes()
            if name not in self._uuids:
                raise
            return placement.root_of(self._adapter, self._uuids[name])

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
