"""Reading what an SLO's admission rests on, and changing it by compare-and-swap on the host's generation.

All that `Present` holds was read in one state of the database; `change_slo` writes only if the host and the SLO are still what they
were.
"""

from dataclasses import dataclass

from stella.api import quotas
from stella.api.operation import Call
from stella.api.projects import visible_placed
from stella.db import decisions, hosts, projects, slos
from stella.db.database import Session
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import Holding, Origin, Terms
from stella.model.slo import Slo, show_slo


class _Moved(Exception):
    """The host, the project or the SLO changed after it was read: read and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What an answer rests on; `host.generation` guards all of it but ``quota``, which its own generation guards.

    ``quota`` None: nothing is to be counted.
    """

    host: Host
    instance: Instance
    row: SloRow | None
    holdings: tuple[Holding, ...]
    quota: quotas.Quota | None = None

    @property
    def in_force(self) -> SloRow | None:
        """The SLO, unless it was withdrawn."""
        return self.row if self.row is not None and self.row.objectives is not None else None

    def reserved_without(self) -> float:
        """What the host's other SLOs hold, in cores."""
        return sum(one.reserved_cpu_cores for one in self.holdings if one.instance_id != self.instance.id)


def read(call: Call, session: Session, rule: str, *, with_quota: bool = False) -> Present:
    """What an answer about the instance in the path rests on. Raises `ApiError` (404, 403) as `rule` has it."""
    instance, host, row = visible_placed(call, session, rule)
    quota = quotas.read(call.services.config, session, instance, row) if with_quota else None
    return Present(
        host=host, instance=instance, row=row, holdings=slos.holdings(session, [host.id])[host.id], quota=quota
    )


def _store(session: Session, present: Present, terms: Terms | None, origin: Origin) -> SloRow:
    """Set the SLO to ``terms`` (None: withdraw it) and swap the host's generation; the SLO as it is then. Raises `_Moved`."""
    host, revision = present.host, present.host.intent_revision + 1
    reserved = present.reserved_without() + (terms.reserved_cpu_cores if terms else 0.0)
    swapped = hosts.swap(
        session,
        host,
        intent_revision=revision,
        reserved_cpu_cores=reserved,
        free_cpu_cores=(host.capacity_cpu_cores or 0.0) - reserved,
    )
    quota = present.quota
    if swapped and quota is not None:
        swapped = projects.hold(session, quota.account, is_counted=quota.is_limited)
    if not swapped:
        raise _Moved
    instance, row, stored = present.instance, present.row, None
    if terms is not None:
        stored = slos.put(session, instance, row, terms, revision=revision, origin=origin)
    elif row is not None:
        stored = slos.withdraw(session, instance, row, revision=revision, origin=origin)
    if stored is None:
        raise _Moved
    return stored


def change_slo(call: Call, present: Present, terms: Terms | None) -> SloRow | None:
    """Set the SLO to ``terms`` (None: withdraw it). None when what it rests on changed since: read and decide again."""

    def write(session: Session) -> SloRow:
        origin = call.origin
        stored = _store(session, present, terms, origin)
        decisions.record(
            session,
            decisions.SLO_ACCEPTED if terms else decisions.SLO_WITHDRAWN,
            origin=origin,
            reason=f"{terms.reserved_cpu_cores:.3f} cores reserved" if terms else "withdrawn by its owner",
            host_id=present.host.id,
            instance_id=present.instance.id,
            detail={"objectives": terms.objectives} if terms else None,
        )
        return stored

    try:
        return call.services.database.write(write)
    except _Moved:
        return None


def record(call: Call, present: Present, kind: str, reason: str, slo: Slo) -> None:
    """Keep a decision about ``slo`` that changed nothing."""
    call.services.database.write(
        lambda session: decisions.record(
            session,
            kind,
            origin=call.origin,
            reason=reason,
            host_id=present.host.id,
            instance_id=present.instance.id,
            detail={"objectives": show_slo(slo)},
        )
    )
