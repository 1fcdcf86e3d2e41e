"""Instances that are gone: once the cloud says so too, their SLO is withdrawn. Never on a silent host, whose QEMU may live."""

import logging

from stella.admission import changes
from stella.admission.changes import Why
from stella.clouds.port import Missing, Unanswered
from stella.db import decisions, gone_instances
from stella.db.database import Session
from stella.db.slos import system_origin
from stella.engine.duty import Duty, Outcome, Work

_LOG = logging.getLogger(__name__)
_BATCH = 100
_LOOKED_AT = 1000
"""More than a batch: under OpenStack, those that exist stay missing, and must not hide the others."""


def run(work: Work) -> Outcome:
    """Withdraw a batch of them."""
    now = work.clock()
    gone_before = now - work.limits.instance_gone_seconds
    reported_since = now - work.limits.host_silent_seconds
    with work.store.reader() as session:
        found = gone_instances.find(session, gone_before=gone_before, reported_since=reported_since, largest=_LOOKED_AT)
    if not found:
        return Outcome()
    try:
        gone = work.cloud.gone([Missing(uuid=uuid, host=host, gone_at=at) for uuid, host, at in found])
    except Unanswered as error:
        _LOG.warning("the cloud does not tell which instances are gone: %s", error)
        return Outcome(backlog=len(found))
    changed = sum(
        _withdraw(work, uuid, gone_before=gone_before, reported_since=reported_since, now=now)
        for uuid in [uuid for uuid, _, _ in found if uuid in gone][:_BATCH]
    )
    return Outcome(
        changed=changed,
        more=changed > 0 and (len(gone) > _BATCH or len(found) == _LOOKED_AT),
        backlog=len(found) - changed,
    )


def _withdraw(work: Work, uuid: str, *, gone_before: float, reported_since: float, now: float) -> bool:
    """Withdraw the SLO of an instance that is still gone. False when it is not, or was changed meanwhile: the next run looks again."""

    def still(session: Session) -> bool:
        present = changes.read(session, uuid)
        return present is not None and gone_instances.is_gone(
            present.instance, present.host, present.kept, gone_before=gone_before, reported_since=reported_since
        )

    with work.store.reader() as session:
        present = changes.read(session, uuid)
        if present is None or not still(session):
            return False
    row, gone_at = present.kept, present.instance.gone_at
    assert row is not None and gone_at is not None
    reason = f"gone from its host for {now - gone_at:.0f} s; its SLO is withdrawn, {row.reserved_cpu_cores:.3f} cores are free"
    why = Why(kind=decisions.INSTANCE_GONE, reason=reason, detail={"freed_cpu_cores": row.reserved_cpu_cores})
    try:
        stored = changes.change(work.store, work.ledger, present, None, system_origin(now), why, also=still)
    except Unanswered as error:
        _LOG.warning("the SLO of instance %s, which is gone, is not withdrawn yet: %s", uuid, error)
        return False
    return stored is not None


DUTY = Duty(name="instances", interval_seconds=5.0, run=run)
