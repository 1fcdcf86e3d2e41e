"""Live points that are too old."""

from stella.db import retention
from stella.engine.duty import Duty, Outcome, Work

KEPT_SECONDS = 15 * 60
_BATCH = 5000


def run(work: Work) -> Outcome:
    """Delete a batch of them."""
    before = int(work.clock()) - KEPT_SECONDS
    changed = work.store.write(lambda session: retention.delete_points(session, before=before, largest=_BATCH))
    return Outcome(changed=changed, more=changed >= _BATCH)


DUTY = Duty(name="points", interval_seconds=30.0, run=run)
