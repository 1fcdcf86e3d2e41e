"""Hosts that fell silent or are back: noted once each, as decisions."""

from stella.db import host_silence
from stella.engine.duty import Duty, Outcome, Work

_BATCH = 200


def run(work: Work) -> Outcome:
    """Note those whose last report is too old, and those that report again."""
    now = work.clock()
    since = now - work.limits.host_silent_seconds
    with work.store.reader() as session:
        ids = host_silence.find(session, reported_since=since, largest=_BATCH)
    if not ids:
        return Outcome()
    changed = work.store.write(lambda session: host_silence.note(session, ids, reported_since=since, now=now))
    return Outcome(changed=changed, more=len(ids) >= _BATCH)


DUTY = Duty(name="hosts", interval_seconds=5.0, run=run)
