"""What is kept no longer is deleted, a batch at a time."""

from functools import partial

from stella.conf.retention import Retention
from stella.db import retention
from stella.db.retention import POINT_SECONDS, Cutoffs, Kind
from stella.engine.duty import Duty, Outcome, Work

_BATCH = 2000
_BATCHES = 20
_MARGIN_SECONDS = 3600
"""The API refuses minutes by its own clock: those that it may still take are not deleted yet."""


def cutoffs(kept: Retention, now: int) -> Cutoffs:
    """What may go at that time (Unix seconds)."""
    return Cutoffs(
        points=now - POINT_SECONDS,
        minutes=now - kept.minute_seconds - _MARGIN_SECONDS,
        hours=now - kept.hour_seconds,
        days=now - kept.day_seconds,
        history=now - kept.history_seconds,
    )


def run_points(work: Work) -> Outcome:
    """Delete live points."""
    return _delete(work, ("points",))


def run(work: Work) -> Outcome:
    """Delete all else."""
    return _delete(work, ("minutes", "hours", "days", "violations", "decisions", "slo_history"))


def _delete(work: Work, names: tuple[str, ...]) -> Outcome:
    found = {kind.name: kind for kind in retention.kinds(cutoffs(work.limits.retention, int(work.clock())))}
    done = [_delete_kind(work, found[name]) for name in names]
    return Outcome(changed=sum(changed for changed, _ in done), more=any(more for _, more in done))


def _delete_kind(work: Work, kind: Kind) -> tuple[int, bool]:
    changed = 0
    for _ in range(_BATCHES):
        deleted = work.store.write(partial(kind.delete, largest=_BATCH))
        if not deleted:
            return changed, False
        changed += deleted
    return changed, True


POINTS_DUTY = Duty(name="points", interval_seconds=30.0, run=run_points)
DUTY = Duty(name="retention", interval_seconds=300.0, run=run)
