"""Violations: closed when their instance, their SLO or their host is gone; merged when they are one."""

from functools import partial

from stella.control import episodes
from stella.db import open_violations, violations
from stella.engine.duty import Duty, Outcome, Work

_BATCH = 500
_RECENT_SECONDS = 3600.0
_LATE_SECONDS = 8 * 86_400.0
"""A host keeps what it could not report for 7 days."""


def run(work: Work) -> Outcome:
    """Close what has ended, then merge what was opened lately."""
    return Outcome(changed=_close(work) + _merge(work, _RECENT_SECONDS))


def run_late(work: Work) -> Outcome:
    """Merge what came late, and part what a later report made two."""
    return Outcome(changed=_merge(work, _LATE_SECONDS))


def _close(work: Work) -> int:
    changed, after_id = 0, 0
    silent_before = work.clock() - work.limits.violation_silent_seconds
    while True:
        with work.store.reader() as session:
            found = open_violations.read(session, after_id=after_id, largest=_BATCH, silent_before=silent_before)
        told = ((episode.id, episodes.ended_at(episode, circumstances)) for episode, circumstances in found)
        ends = {violation_id: at for violation_id, at in told if at is not None}
        if ends:
            changed += work.store.write(partial(violations.close, ends=ends))
        if len(found) < _BATCH:
            return changed
        after_id = found[-1][0].id


def _merge(work: Work, seconds: float) -> int:
    since = work.clock() - seconds
    with work.store.reader() as session:
        objectives = violations.to_merge(session, since=since, largest=_BATCH)
    return sum(work.store.write(partial(violations.merge, objective=objective)) for objective in objectives)


DUTY = Duty(name="violations", interval_seconds=10.0, run=run)
LATE_DUTY = Duty(name="violations_late", interval_seconds=600.0, run=run_late)
