"""What users added beyond their flavors, kept in Placement as the database has it. Only under OpenStack.

Who changes an SLO writes Placement too (`stella.clouds.port.Ledger`); it may end between its two writes, and Nova may change its own
part. This duty compares, host by host, and mends what differs (`stella.control.ledger`). Placement is read before the database, and
every write carries the consumer's generation: a change that is made meanwhile is either seen, or it refuses the write.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack import allocations, nova, placement
from stella.clouds.openstack.allocations import Exceeded, Holdings, Migrations, PlacementLedger
from stella.clouds.openstack.placement import Changed, NoProvider, Providers, Root
from stella.clouds.openstack.session import OpenStack, Refused
from stella.clouds.port import Claim, Unanswered
from stella.control.ledger import Change, Consumer, Plan, Surplus, consumer_of, reconcile
from stella.db import claims, decisions, hosts
from stella.db.database import Session
from stella.db.slos import system_origin
from stella.engine.duty import Duty, Outcome, Work
from stella.model.resources import beyond, resources_of
from stella.model.slo import InvalidSlo

_LOG = logging.getLogger(__name__)
INTERVAL_SECONDS = 60.0
_BATCH = 20
_ATTEMPTS = 3
_ROUNDS_KNOWN = 10
"""After so many rounds a host is read again though the generation of its provider is still the same: ``DELETE /allocations``, with
which Nova deletes a server's allocation, does not move it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A provider of ours, and the host whose SLOs are held there; ``host_id`` is None where no host is known any more."""

    root: Root
    name: str
    host_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was read of a place that was in step, and in which round."""

    holdings: Holdings
    read_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim, and the database's number of its instance."""

    claim: Claim
    instance_id: int


@dataclass(slots=True)
class Round:
    """One round over all hosts: the providers as they were when it began, and what was met in it."""

    providers: Providers = field(default_factory=lambda: Providers(roots=(), generations={}))
    placed: set[str] = field(default_factory=set)
    unplaced: int = 0
    failed: int = 0


class Allocations:
    """The duty, with what it remembers: where the last run stopped, what was found too much, what was said already."""

    def __init__(self, adapter: Adapter, *, migrations: Migrations = lambda instance: ()) -> None:
        """``adapter`` asks Placement; ``migrations`` is asked for an instance that Nova may be moving."""
        self._adapter = adapter
        self._ledger = PlacementLedger(adapter, migrations=migrations)
        self._round = Round()
        self._number = 0
        self._after = ""
        self._known: dict[str, Known] = {}
        self._surplus: dict[str, Mapping[str, Surplus]] = {}
        self._said: dict[str, str] = {}
        self._short: dict[str, frozenset[str]] = {}

    def run(self, work: Work) -> Outcome:
        """The next hosts by name. Raises `stella.clouds.port.Unanswered` where Placement does not answer at all."""
        if not self._after:
            self._number += 1
            self._round = Round(providers=placement.list_providers(self._adapter))
        with work.store.reader() as session:
            batch = [
                (host.id, host.name, host.resource_provider) for host in hosts.after(session, self._after, limit=_BATCH)
            ]
        roots = {root.uuid: root for root in self._round.providers.roots}
        changed = 0
        for host_id, name, provider in batch:
            if provider is None:
                self._round.unplaced += 1
                continue
            self._round.placed.add(provider)
            root = roots.get(provider) or Root(uuid=provider, name=name)
            changed += self._try(work, Place(root=root, name=f"host {name}", host_id=host_id))
        more = len(batch) == _BATCH
        self._after = batch[-1][1] if more else ""
        if not more:
            changed += sum(self._try(work, place) for place in self._left_behind())
        return Outcome(changed=changed, more=more, backlog=self._round.failed)

    def _left_behind(self) -> Sequence[Place]:
        """Children of ours of which no host is known: what we hold there keeps them from being deleted.

        None while the provider of any host is unknown, or there is no host at all: a database that was emptied looks like that.
        """
        if self._round.unplaced or not self._round.placed:
            return ()
        known, generations = self._round.placed, self._round.providers.generations
        left = [one for one in self._round.providers.roots if one.uuid not in known and one.child_uuid in generations]
        return [Place(root=root, name=f"the resource provider {root.name} of no host") for root in left]

    def _try(self, work: Work, place: Place) -> int:
        try:
            changed = self._keep(work, place)
        except (NoProvider, Changed, Exceeded, Refused, InvalidSlo) as error:
            self._round.failed += 1
            if self._said.get(place.root.uuid) != str(error):
                self._said[place.root.uuid] = str(error)
                _LOG.warning("%s: what users added is not in step with Placement: %s", place.name, error)
            return 0
        if self._said.pop(place.root.uuid, None) is not None:
            _LOG.warning("%s: what users added is in step with Placement again", place.name)
        return changed

    def _keep(self, work: Work, place: Place) -> int:
        if self._is_in_step(work, place):
            return 0
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._once(work, place)
            except Changed:
                continue
        return self._once(work, place)

    def _is_in_step(self, work: Work, place: Place) -> bool:
        """Whether what was read of it before, if it has not changed since, is what the database says."""
        child = place.root.child_uuid
        known = self._known.get(child)
        if known is None or known.read_in + _ROUNDS_KNOWN <= self._number:
            return False
        if known.holdings.generation != self._round.providers.generations.get(child):
            return False
        wanted, _ = self._wanted(work, place, known.holdings.consumers)
        return reconcile(wanted, known.holdings.consumers, {}) == Plan()

    def _wanted(
        self, work: Work, place: Place, consumers: Mapping[str, Consumer]
    ) -> tuple[Mapping[str, Mapping[str, int]], Mapping[str, Claimed]]:
        """What our consumers are to hold at a place, and the claims that this is for, by consumer."""
        if place.host_id is None:
            return {}, {}
        with work.store.reader() as session:
            found = claims.in_force(session, place.host_id)
            coming = claims.coming(session, place.host_id)
        wanted: dict[str, Mapping[str, int]] = {}
        claimed: dict[str, Claimed] = {}
        for move in coming:
            consumer = consumer_of(move.instance, place.root.uuid)
            claim = Claim(
                instance=move.instance, project=move.project, provider=place.root.uuid, resources=move.resources
            )
            wanted[consumer], claimed[consumer] = move.resources, Claimed(claim=claim, instance_id=move.instance_id)
        for one in found:
            resources = resources_of(one.slo, one.reserved_cpu_cores)
            provider = place.root.uuid
            claim = Claim(instance=one.instance, project=one.project, provider=provider, resources=resources)
            consumer = consumer_of(one.instance, provider)
            wanted[consumer] = beyond(resources, self._ledger.part_of_nova(claim, consumers))
            claimed[consumer] = Claimed(claim=claim, instance_id=one.instance_id)
        return wanted, claimed

    def _once(self, work: Work, place: Place) -> int:
        child = place.root.child_uuid
        self._known.pop(child, None)
        before = self._surplus.pop(child, {})
        holdings = allocations.read(self._adapter, child)
        consumers = holdings.consumers if holdings else {}
        wanted, claimed = self._wanted(work, place, consumers)
        if holdings is None:
            if any(wanted.values()):
                raise NoProvider(f"Placement has no resource provider {place.root.child_name}")
            return 0
        plan = reconcile(wanted, consumers, before)
        try:
            changed = sum(
                self._raise(work, place, change, consumers, claimed[change.consumer]) for change in plan.raises
            )
            changed += sum(self._lower(work, place, change, claimed.get(change.consumer)) for change in plan.lowers)
        finally:
            self._surplus[child] = plan.surplus
        if plan == Plan():
            self._known[child] = Known(holdings=holdings, read_in=self._number)
        return changed

    def _raise(
        self, work: Work, place: Place, change: Change, consumers: Mapping[str, Consumer], claimed: Claimed
    ) -> int:
        """Hold what is missing; where there is not so much, what there is."""
        found = consumers.get(change.consumer)
        held = found.resources if found else {}
        try:
            self._write(work, place, change, claimed)
        except Exceeded:
            stock = placement.read(self._adapter, place.root)
            could = allocations.largest(stock, held) if stock else {}
            fits = {name: min(amount, could.get(name, 0)) for name, amount in change.resources.items()}
            fits = {name: amount for name, amount in fits.items() if amount > 0}
            if beyond(fits, held):
                self._write(
                    work, place, Change(consumer=change.consumer, resources=fits, generation=change.generation), claimed
                )
            self._round.failed += 1
            self._note(work, place, claimed, change.consumer, beyond(change.resources, fits))
            return int(bool(beyond(fits, held)))
        self._short.pop(change.consumer, None)
        return 1

    def _lower(self, work: Work, place: Place, change: Change, claimed: Claimed | None) -> int:
        if claimed is None and not allocations.is_ours(self._adapter, change.consumer):
            return 0
        self._write(work, place, change, claimed)
        self._short.pop(change.consumer, None)
        return 1

    def _write(self, work: Work, place: Place, change: Change, claimed: Claimed | None) -> None:
        work.store.write(lambda session: None)  # Placement does not know our lease: it is asked before each write
        project = claimed.claim.project if claimed else ""
        allocations.write(self._adapter, change, child=place.root.child_uuid, project=project)
        whose = f"instance {claimed.claim.instance}" if claimed else f"consumer {change.consumer}, of no SLO,"
        _LOG.info("%s: %s holds %s beyond its flavor in Placement", place.name, whose, dict(change.resources))

    def _note(self, work: Work, place: Place, claimed: Claimed, consumer: str, short: Mapping[str, int]) -> None:
        """A decision when a class becomes short for an SLO; once, not at every run."""
        fresh = frozenset(short) - self._short.get(consumer, frozenset())
        self._short[consumer] = frozenset(short)
        if not fresh:
            return
        reason = (
            f"{', '.join(sorted(fresh))}: Placement has no room for all that the SLO of {claimed.claim.instance} has in force; "
            "what fits is held"
        )
        detail = {"short": dict(sorted(short.items()))}  # the instance's owner sees it: no provider

        def record(session: Session) -> None:
            decisions.record(
                session,
                decisions.PLACEMENT_SHORT,
                origin=system_origin(work.clock()),
                reason=reason,
                host_id=place.host_id,
                instance_id=claimed.instance_id,
                detail=detail,
            )

        work.store.write(record)


def _migrations(openstack: OpenStack, instance: str) -> frozenset[str]:
    """As `Migrations`; a Nova that does not answer leaves out one host, not all."""
    try:
        return nova.migrations(openstack.nova, instance)
    except Unanswered as error:
        raise Refused(str(error)) from None


def duties(openstack: OpenStack) -> Sequence[Duty]:
    """The duty, for an engine under OpenStack."""
    run = Allocations(openstack.placement, migrations=partial(_migrations, openstack)).run
    return (Duty(name="ledger", interval_seconds=INTERVAL_SECONDS, run=run),)
