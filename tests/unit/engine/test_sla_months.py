"""Which months of an SLA class are to be closed."""

from stella.db.sla_models import Sla
from stella.engine.duties.slas import settled
from stella.sla import periods
from stella.sla.periods import SETTLE_SECONDS

UTC = periods.zone("UTC")


def test_a_month_is_closed_once_it_has_settled_however_old_the_class_is() -> None:
    row = Sla(time_zone="UTC", created_at=float(periods.month("2026-11", UTC).start))
    last = periods.month("2041-10", UTC)
    names = [period.name for period in settled(row, last.end + SETTLE_SECONDS)]
    assert names[0] == "2026-11" and names[-1] == "2041-10" and len(names) == 15 * 12
    assert settled(row, last.end + SETTLE_SECONDS - 1)[-1].name == "2041-09"
