"""Instances that are gone: once the cloud says so too, their SLO is withdrawn. Never on a silent host, whose QEMU may live."""

import logging
from functools import partial

from stella.clouds.port import Missing, Unanswered
from stella.db import gone_instances
from stella.db.gone_instances import Moved
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
    changed = 0
    for uuid in [uuid for uuid, _, _ in found if uuid in gone][:_BATCH]:
        change = partial(
            gone_instances.withdraw, uuid=uuid, gone_before=gone_before, reported_since=reported_since, now=now
        )
        try:
            changed += work.store.write(change)
        except Moved:  # the host was changed by a report or a request: the next run looks again
            continue
    return Outcome(
        changed=changed,
        more=changed > 0 and (len(gone) > _BATCH or len(found) == _LOOKED_AT),
        backlog=len(found) - changed,
    )


DUTY = Duty(name="instances", interval_seconds=5.0, run=run)
