"""Reading what an SLO's admission rests on, and changing it by compare-and-swap on the host's generation.

All that `Present` holds was read in one state of the database; `change_slo` writes only if the host and the SLO are still what they
were.
"""

from dataclasses import dataclass

from stella.api import quotas
from stella.api.admission import Holding
from stella.api.operation import Call
from stella.api.projects import visible_instance
from stella.db import decisions, hosts, projects, slos
from stella.db.database import Session
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import Origin, Terms
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
        return sum(row.reserved_cpu_cores for instance, row in self.holdings if instance.id != self.instance.id)


def read(call: Call, session: Session, rule: str, *, with_quota: bool = False) -> Present:
    """What an answer about the instance in the path rests on. Raises `ApiError` (404, 403) as `rule` has it."""
    instance, _, row = visible_instance(call, session, rule)
    host = hosts.get(session, instance.host_id)
    quota = quotas.read(call.services.config, session, instance, row) if with_quota else None
    return Present(host=host, instance=instance, row=row, holdings=tuple(slos.on_host(session, host.id)), quota=quota)


def _store(session: Session, present: Present, terms: Terms | None, origin: Origin) -> None:
    """Set the SLO to ``terms`` (None: withdraw it) and swap the host's generation. Raises `_Moved`."""
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
    if terms is not None:
        stored = slos.put(session, present.instance, present.row, terms, revision=revision, origin=origin)
    else:
        stored = present.row is not None and slos.withdraw(
            session, present.instance, present.row, revision=revision, origin=origin
        )
    if not stored:
        raise _Moved


def change_slo(call: Call, present: Present, terms: Terms | None) -> bool:
    """Set the SLO to ``terms`` (None: withdraw it); False when the host or the SLO changed since: read and decide again."""

    def write(session: Session) -> None:
        origin = call.origin
        _store(session, present, terms, origin)
        decisions.record(
            session,
            decisions.SLO_ACCEPTED if terms else decisions.SLO_WITHDRAWN,
            origin=origin,
            reason=f"{terms.reserved_cpu_cores:.3f} cores reserved" if terms else "withdrawn by its owner",
            host_id=present.host.id,
            instance_id=present.instance.id,
            detail={"objectives": terms.objectives} if terms else None,
        )

    try:
        call.services.database.write(write)
    except _Moved:
        return False
    return True


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
