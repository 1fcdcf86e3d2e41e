"""Months of time zones, precedence of attachments, windows that overlap."""

from datetime import UTC

import pytest

from stella.sla import periods
from stella.sla.periods import InvalidPeriod, Period
from stella.sla.spans import Attachment, Scope, Window, excluded, under

DAY = 86_400


@pytest.mark.parametrize(
    ("zone", "name", "start", "end", "seconds"),
    [
        ("UTC", "2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", 30 * DAY),
        ("Asia/Seoul", "2026-11", "2026-10-31T15:00:00Z", "2026-11-30T15:00:00Z", 30 * DAY),
        ("Asia/Seoul", "2026-12", "2026-11-30T15:00:00Z", "2026-12-31T15:00:00Z", 31 * DAY),
        ("Europe/Berlin", "2026-03", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", 31 * DAY - 3600),
        ("Europe/Berlin", "2026-10", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", 31 * DAY + 3600),
        ("Asia/Kolkata", "2027-02", "2027-01-31T18:30:00Z", "2027-02-28T18:30:00Z", 28 * DAY),
        ("America/New_York", "2028-02", "2028-02-01T05:00:00Z", "2028-03-01T05:00:00Z", 29 * DAY),
    ],
)
def test_months(zone: str, name: str, start: str, end: str, seconds: int) -> None:
    found = periods.month(name, periods.zone(zone))
    assert (periods.show_time(found.start), periods.show_time(found.end)) == (start, end)
    assert found.end - found.start == seconds
    for at in (found.start, found.end - 1):
        assert periods.month_at(at, periods.zone(zone)) == found
    assert periods.month_at(found.end, periods.zone(zone)).start == found.end
    assert periods.parse_time(start) == found.start


@pytest.mark.parametrize("name", ["2026-13", "2026-1", "1999-12", "2100-01", "2026-11-01", "", "2026-11\n"])
def test_months_that_cannot_be(name: str) -> None:
    with pytest.raises(InvalidPeriod, match="is not a month"):
        periods.month(name, UTC)


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../etc/passwd", "/etc/passwd", "Asia", "Asia/Seoul ", "A" * 99, "Asia//Seoul"]
)
def test_time_zones_that_cannot_be(name: str) -> None:
    with pytest.raises(InvalidPeriod, match="is not a time zone"):
        periods.zone(name)


def test_the_day_of_a_time_is_that_of_its_zone() -> None:
    assert str(periods.day_at(periods.parse_time("2026-11-30T15:00:00Z"), periods.zone("Asia/Seoul"))) == "2026-12-01"
    assert periods.month("2099-12", UTC) == Period(name="2099-12", start=4_099_766_400, end=4_102_444_800)


def attached(sla: int, scope: Scope, start: int = 0, end: int | None = None) -> Attachment:
    return Attachment(sla_id=sla, scope=scope, start=start, end=end)


def test_the_most_specific_attachment_counts() -> None:
    project, flavor, own = (
        attached(1, Scope.PROJECT),
        attached(2, Scope.FLAVOR, 100),
        attached(3, Scope.INSTANCE, 200, 300),
    )
    found = {sla: under([flavor, own, project], sla, (0, 1000)) for sla in (1, 2, 3, 4)}
    assert found == {1: ((0, 100),), 2: ((100, 200), (300, 1000)), 3: ((200, 300),), 4: ()}
    assert under([], 1, (0, 1000)) == ()


def test_attachments_to_the_same_class_are_joined() -> None:
    parts = [attached(1, Scope.PROJECT, 0, 50), attached(1, Scope.INSTANCE, 50, 80), attached(1, Scope.PROJECT, 80)]
    assert under(parts, 1, (10, 100)) == ((10, 100),)


def test_each_second_is_excluded_once() -> None:
    windows = [Window(id=2, start=0, end=100), Window(id=1, start=50, end=150), Window(id=3, start=140, end=160)]
    assert [(w.id, w.start, w.end) for w in excluded(windows, [(0, 155)])] == [
        (2, 0, 50),
        (1, 50, 100),
        (1, 100, 140),
        (1, 140, 150),
        (3, 150, 155),
    ]
    assert excluded(windows, [(200, 300)]) == ()


def test_windows_of_hosts_stand_beside_one_another_but_behind_those_of_all() -> None:
    windows = [
        Window(id=1, start=0, end=100, host_id=7),
        Window(id=2, start=0, end=100, host_id=8),
        Window(id=3, start=0, end=100, host_id=7),
        Window(id=4, start=50, end=100),
    ]
    found = [(w.id, w.start, w.end, w.host_id) for w in excluded(windows, [(0, 100)])]
    assert found == [(1, 0, 50, 7), (2, 0, 50, 8), (4, 50, 100, None)]
