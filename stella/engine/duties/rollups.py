"""Minutes to hours to days, once they have ended."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from stella.db import rollups
from stella.db.database import Session
from stella.db.rollups import Group
from stella.engine.duty import Duty, Outcome, Work

SETTLE_SECONDS = 120
"""A minute comes some seconds after its end. What comes later still is no harm: its hour is computed again."""

_OBJECTIVES = 100
_GROUPS = 10


class _Roll(Protocol):
    def __call__(self, session: Session, group: Group) -> int: ...


def run(work: Work) -> Outcome:
    """Roll up what has ended: hours first; days when no hour waits."""
    before = int(work.clock()) - SETTLE_SECONDS
    with work.store.reader() as session:
        hours = rollups.hours_to_roll(session, before=before, largest=_OBJECTIVES)
        days = [] if hours else rollups.days_to_roll(session, before=before, largest=_OBJECTIVES)
        waiting = rollups.waiting(session, before=before) if hours else 0
    changed = _roll(work, hours, rollups.roll_hours) + _roll(work, days, rollups.roll_days)
    # what is left waits for something else (an instance that moves, a minute that came late) and is tried again later
    return Outcome(changed=changed, more=changed > 0, backlog=waiting)


def _roll(work: Work, groups: Sequence[Group], roll: _Roll) -> int:
    return sum(work.store.write(partial(roll, group=group)) for group in groups[:_GROUPS])


DUTY = Duty(name="rollups", interval_seconds=30.0, run=run)
