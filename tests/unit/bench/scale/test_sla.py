"""What the figure of SLAs is made of: months that add up, closed by the engine's own duty, and what is said of them."""

from pathlib import Path

import pytest

from stella.bench.scale import sla, sla_filling
from stella.bench.scale.sla import Took
from stella.control.rollup import DAY_SECONDS, HOUR_SECONDS
from stella.db import sla_rows, slas
from stella.db.database import Database
from stella.sla import periods

ZONE = periods.zone(sla.ZONE)
MONTH = periods.month("2026-10", ZONE)


def test_a_month_in_seoul_is_days_and_hours_at_both_ends() -> None:
    found = sla_filling.parts((MONTH.start, MONTH.end))
    assert [len(starts) for starts in found.values()] == [30, 24, 0]
    assert sum(seconds * len(starts) for seconds, starts in found.items()) == MONTH.end - MONTH.start
    under_way = sla_filling.parts((MONTH.end, MONTH.end + 2 * DAY_SECONDS + HOUR_SECONDS + 120))
    assert [len(starts) for starts in under_way.values()] == [1, 25, 2]


def test_what_is_filled_is_closed_to_the_second(tmp_path: Path) -> None:
    classes = sla_filling.classes((7, 120), reported=5)
    assert [one.first for one in classes] == [1, 8, 128] and len(classes[1].projects) == 2
    database = Database(f"sqlite:///{tmp_path}/stella.sqlite")
    sla_filling.prepare(database, classes, zone=sla.ZONE, since=MONTH.start, now=float(MONTH.end))
    rows = [sla_filling.fill(database, one, (MONTH.start, MONTH.end), step=lambda _: None) for one in classes]
    assert rows == [size * 2 * 54 for size in (7, 120, 5)]
    for one in classes:
        with database.reader() as session:
            row = slas.find(session, one.uuid)
        assert row is not None
        stored = database.write(
            lambda session, of=row.id: sla_rows.store(session, of, MONTH, largest=500, at=1.0)  # type: ignore[misc]
        )
        assert stored == (one.instances * 2, True)
        with database.reader() as session:
            found = sla_rows.stored(session, row.id, MONTH.name)
        assert sum(each.counts.violated for each in found) == sla_filling.missed_seconds(one, MONTH) > 0
        assert {each.counts.seconds for each in found} == {MONTH.end - MONTH.start}
    database.close()


@pytest.mark.parametrize(
    ("instances", "seconds", "kept", "seen"),
    [
        (20_000, 50.0, True, "500 s, extrapolated from the pace of 20000 (50.0 s)"),
        (20_000, 61.0, False, "610 s, extrapolated"),
        (200_000, 599.0, True, "599 s, measured"),
        (400_000, 1201.0, False, "600 s, measured"),
    ],
)
def test_a_month_that_was_not_filled_is_said_to_be_extrapolated(
    instances: int, seconds: float, kept: bool, seen: str
) -> None:
    must = sla.month_must([Took(instances=instances, seconds=seconds, cpu_seconds=1.0)])
    assert must.kept is kept and must.seen.startswith(seen)


def test_what_is_extrapolated_must_grow_with_the_instances_alone() -> None:
    took = [Took(instances=size, seconds=seconds, cpu_seconds=1.0) for size, seconds in ((100, 1.0), (400, 4.8))]
    assert sla.pace_must(took).kept and sla.pace_must(took).seen == "1.20 times, 10.00 ms, 12.00 ms"
    assert not sla.pace_must([took[0], Took(instances=400, seconds=6.0, cpu_seconds=1.0)]).kept
