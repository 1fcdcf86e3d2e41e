"""What a report rests on is still there when its month is closed."""

from stella import conf
from stella.conf.retention import DAY_SECONDS, Retention
from stella.engine.duties import retention
from stella.sla.periods import SETTLE_SECONDS


def test_minutes_of_the_first_day_of_the_longest_month_outlast_the_day_on_which_it_is_closed() -> None:
    kept = Retention.of(conf.load([], logging=False))
    closed_at = 31 * DAY_SECONDS + SETTLE_SECONDS
    assert retention.cutoffs(kept, closed_at + DAY_SECONDS).minutes <= 0, "minutes are what exclusions are counted by"
