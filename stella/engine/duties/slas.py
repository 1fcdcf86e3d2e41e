"""The sums of periods that are over are stored, once what hosts could not report has had its time to come: they are final then."""

from functools import partial

from stella.db import sla_rows, slas
from stella.db.sla_models import Sla
from stella.engine.duty import Duty, Outcome, Work
from stella.sla import periods
from stella.sla.periods import SETTLE_SECONDS, Period

_AT_ONCE = 500


def settled(row: Sla, now: float) -> list[Period]:
    """The periods of a class that ended long enough before ``now`` (Unix seconds), the earliest first."""
    zone = periods.zone(row.time_zone)
    found: list[Period] = []
    period = periods.month_at(row.created_at, zone)
    while period.end + SETTLE_SECONDS <= now:
        found.append(period)
        period = periods.month_at(period.end, zone)
    return found


def run(work: Work) -> Outcome:
    """Store the sums of some instances of one period that is to be closed."""
    now = work.clock()
    with work.store.reader() as session:
        closed = {row: sla_rows.closed(session, row.id) for row in slas.ever_attached(session)}
        open_periods = [
            (row, period) for row, names in closed.items() for period in settled(row, now) if period.name not in names
        ]
    if not open_periods:
        return Outcome(backlog=0)
    row, period = open_periods[0]
    changed, is_closed = work.store.write(
        partial(sla_rows.store, sla_id=row.id, period=period, largest=_AT_ONCE, at=now)
    )
    left = len(open_periods) - is_closed
    return Outcome(changed=changed, more=left > 0, backlog=left)


DUTY = Duty(name="slas", interval_seconds=60.0, run=run)
