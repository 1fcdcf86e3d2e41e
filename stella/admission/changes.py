"""Changing an SLO by compare-and-swap on the host's generation, with the cloud's ledger kept beside the database.

The ledger never holds less than the database: it is raised before the database's commit and lowered after it. What dies in between
leaves too much in the ledger, which stella-engine's duty `ledger` finds. All that `Present` holds was read in one state of the
database; `change` writes only if the host and the SLO are still what they were.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from stella.admission.verdicts import Verdict
from stella.clouds.port import Claim, Ledger, NoRoom, Unanswered
from stella.db import decisions, hosts, instances, slos
from stella.db.database import Session
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import SUSPENDED, Holding, Origin, Terms
from stella.model.resources import at_least, resources_of
from stella.model.slo import Slo, parse_slo, show_slo
from stella.model.slo_union import together

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


class Store(Protocol):
    """A database that is written to in transactions."""

    def write(self, change: Callable[[Session], T]) -> T:
        """Run ``change`` in one transaction, perhaps more than once."""


class Moved(Exception):
    """The host, the project or the SLO changed after it was read: read and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What an answer about an instance rests on; `host.generation` guards all of it."""

    host: Host
    instance: Instance
    row: SloRow | None
    holdings: tuple[Holding, ...]

    @property
    def kept(self) -> SloRow | None:
        """The SLO, in force or suspended, unless it was withdrawn."""
        return self.row if self.row is not None and self.row.objectives is not None else None

    @property
    def flavor(self) -> Slo | None:
        """What the instance's flavor sells."""
        return _parsed(self.instance.flavor_objectives)

    @property
    def added(self) -> Slo | None:
        """What its user asked for beside that."""
        return _parsed(self.row.added) if self.row is not None else None

    @property
    def all(self) -> Slo | None:
        """The SLO in whole, in force or suspended."""
        return _parsed(self.row.objectives) if self.row is not None else None

    def reserved_without(self) -> float:
        """What the host's other SLOs hold, in cores."""
        return sum(one.reserved_cpu_cores for one in self.holdings if one.instance_id != self.instance.id)


def _parsed(objectives: str | None) -> Slo | None:
    return parse_slo(json.loads(objectives)) if objectives is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why an SLO is changed: the kind of decision (`stella.db.decisions`), one line for a person, and more for programs."""

    kind: str
    reason: str
    detail: Mapping[str, object] | None = None


def read(session: Session, uuid: str) -> Present | None:
    """What an answer about this instance rests on; None: there is no such instance."""
    found = instances.find_placed(session, uuid)
    return beside(session, *found) if found is not None else None


def beside(session: Session, instance: Instance, host: Host, row: SloRow | None) -> Present:
    """The instance with what its host holds beside it."""
    return Present(host=host, instance=instance, row=row, holdings=slos.holdings(session, [host.id])[host.id])


def union(flavor: Slo | None, added: Slo | None) -> Slo | None:
    """What is in force where a flavor sells ``flavor`` and its user asks for ``added``; None where there is neither.

    Raises `stella.model.slo.InvalidSlo` where they contradict one another.
    """
    if flavor is None or added is None:
        return flavor or added
    return together(flavor, added)


def terms(slo: Slo, *, added: Slo | None, verdict: Verdict, priority: int = 0) -> Terms:
    """An SLO that admission accepted. ``priority`` is what is shown as that of the whole SLO."""
    return Terms(
        objectives=show_slo(slo),
        added=show_slo(added) if added is not None else None,
        priority=priority,
        reserved_cpu_cores=verdict.reserved_cpu_cores,
        reserved_io_ratio=verdict.reserved_io_ratio,
        estimated=verdict.estimated,
    )


def suspended(slo: Slo, *, added: Slo | None, because: str, priority: int = 0) -> Terms:
    """An SLO that is kept and not in force; ``because`` is one line for a person."""
    return Terms(
        objectives=show_slo(slo),
        added=show_slo(added) if added is not None else None,
        priority=priority,
        reserved_cpu_cores=0.0,
        reserved_io_ratio=0.0,
        estimated=False,
        suspended_because=because,
    )


def change(
    store: Store,
    ledger: Ledger,
    present: Present,
    wanted: Terms | None,
    origin: Origin,
    why: Why,
    *,
    also: Callable[[Session], bool] = lambda session: True,
    then: Callable[[Session], None] = lambda session: None,
) -> SloRow | None:
    """Set the SLO to ``wanted`` (None: withdraw it). None when what it rests on changed since: read and decide again.

    ``also`` runs in the same transaction before, ``then`` after it is set; False, or `Moved`, is one more reason to decide again.
    Raises `NoRoom` and `Unanswered`, with the SLO as it was, and `stella.model.slo.InvalidSlo` for more than the ledger can count.
    """
    before, after = _held(present), _wanted(wanted)
    both = at_least(before, after)
    if both != before:
        ledger.hold(replace(_claim(present, both), at_least=True))

    def write(session: Session) -> SloRow:
        if not also(session):
            raise Moved
        stored = _store(session, present, wanted, origin)
        then(session)
        decisions.record(
            session,
            why.kind,
            origin=origin,
            reason=why.reason,
            host_id=present.host.id,
            instance_id=present.instance.id,
            detail=why.detail,
        )
        return stored

    try:
        stored = store.write(write)
    except Moved:
        return None
    if both != after:
        try:
            ledger.hold(_claim(present, after))
        except (NoRoom, Unanswered) as error:  # too much is held until the duty `ledger` looks
            _LOG.warning("instance %s holds too much in Placement for now: %s", present.instance.uuid, error)
    return stored


def _claim(present: Present, resources: Mapping[str, int]) -> Claim:
    return Claim(
        instance=present.instance.uuid,
        project=present.instance.project_id,
        provider=present.host.resource_provider or "",
        resources=resources,
    )


def _held(present: Present) -> Mapping[str, int]:
    row, slo = present.kept, present.all
    if row is None or slo is None or row.state == SUSPENDED:
        return {}
    return resources_of(slo, row.reserved_cpu_cores)


def _wanted(wanted: Terms | None) -> Mapping[str, int]:
    if wanted is None or wanted.suspended_because:
        return {}
    return resources_of(parse_slo(wanted.objectives), wanted.reserved_cpu_cores)


def _store(session: Session, present: Present, wanted: Terms | None, origin: Origin) -> SloRow:
    """Write the SLO and swap the host's generation; the SLO as it is then. Raises `Moved`."""
    host, revision = present.host, present.host.intent_revision + 1
    reserved = present.reserved_without() + (wanted.reserved_cpu_cores if wanted else 0.0)
    swapped = hosts.swap(
        session,
        host,
        intent_revision=revision,
        reserved_cpu_cores=reserved,
        free_cpu_cores=(host.capacity_cpu_cores or 0.0) - reserved,
    )
    stored = None
    if swapped and wanted is not None:
        stored = slos.put(session, present.instance, present.row, wanted, revision=revision, origin=origin)
    elif swapped and present.row is not None:
        stored = slos.withdraw(session, present.instance, present.row, revision=revision, origin=origin)
    if stored is None:
        raise Moved
    return stored
